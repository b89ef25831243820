"""Time, ids and threads as the operating system has them, and the hybrid logical clock.

`SystemClock`, `SystemChance` and `SystemThreads` satisfy the ports of the same names; this is the
only file that asks the machine for the time. `HybridClock` is pure: it is told what time it is.
"""

import asyncio
import math
import os
import random
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import anyio
from anyio import to_thread

from flow.errors import CorruptRecord
from flow.ports import Clock, Timer

__all__ = [
    "Deadline",
    "HybridClock",
    "StoreClock",
    "SystemChance",
    "SystemClock",
    "SystemThreads",
    "cancel_after",
    "sleep",
    "sleep_until",
]

_T = TypeVar("_T")

_COUNTER_BITS: Final = 16
_COUNTER_MASK: Final = (1 << _COUNTER_BITS) - 1
_STAMP: Final = re.compile(r"[0-7][0-9a-f]{15}\Z")
_LAST_STAMP: Final = (1 << 63) - 1
_RANDOM_BYTES: Final = 10
_TAILS: Final = 256
_AGAIN_S: Final = 0.1
"""Seconds until a block is cancelled once more that goes on after its deadline."""
_TICK_S: Final = 0.001
# Event loops count in integers of their own; a timer for later than this is set again then.
_LONGEST_S: Final = 86_400.0


# ------------------------------------------------------------------------------- waiting


async def sleep_until(clock: Clock, when: float) -> None:
    """Wait until the clock has reached *when*; not at all if it has.

    Args:
        clock: The time.
        when: Seconds, on the clock's monotonic scale.
    """
    if clock.monotonic() >= when:
        return
    reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ring() -> None:
        if not reached.done():
            reached.set_result(None)

    timer = clock.call_at(when, ring)
    try:
        await reached
    finally:
        timer.cancel()


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait for a while.

    Args:
        clock: The time.
        seconds: How long.
    """
    await sleep_until(clock, clock.monotonic() + seconds)


class Deadline:
    """A block that is cancelled if it takes too long; see `cancel_after`.

    The task itself counts who wants it cancelled. So whoever else does so at the same moment, from
    outside or as a timeout inside of the block, gets his way as well.

    Args:
        clock: The time.
        seconds: How long the block may take.

    Attributes:
        cancelled_caught: Whether the block was cut short.
    """

    __slots__ = ("_clock", "_requests", "_rings", "_seconds", "_task", "_timer", "cancelled_caught")

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Begin with a block that was not cut short."""
        self.cancelled_caught = False
        self._clock = clock
        self._seconds = seconds
        self._rings = 0

    def __enter__(self) -> Self:
        """Let the time run."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be cancelled")
        self._task = task
        self._requests = task.cancelling()
        self._timer = self._clock.call_at(self._clock.monotonic() + self._seconds, self._ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the block in peace if nobody else has cancelled it."""
        self._timer.cancel()
        if not self._rings:
            return False
        for _ in range(self._rings):
            self._task.uncancel()
        is_ours = self._task.cancelling() <= self._requests
        self.cancelled_caught = is_ours and kind is asyncio.CancelledError
        return self.cancelled_caught

    def _ring(self) -> None:
        # Whoever swallows it and goes on is cancelled again.
        self._rings += 1
        self._timer = self._clock.call_at(self._clock.monotonic() + _AGAIN_S, self._ring)
        self._task.cancel()


def cancel_after(clock: Clock, seconds: float) -> Deadline:
    """Cancel the block if it takes longer than *seconds*; the deadline then says so.

    Args:
        clock: The time.
        seconds: How long the block may take.

    Returns:
        The deadline, to be entered: `cancelled_caught` is true once the block was cut short.
    """
    return Deadline(clock, seconds)


# -------------------------------------------------------------------------------- system


class SystemClock:
    """The machine's time and the event loop's timers; satisfies `flow.ports.Clock`."""

    def now_ms(self) -> int:
        """Return the wall time in milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    # As it is, without a call around it: it is asked for 50 times in an execution of three steps.
    monotonic = staticmethod(time.monotonic)
    """Return seconds that only grow, from an arbitrary beginning."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* on the running event loop once `monotonic()` has reached *when*.

        Args:
            when: Seconds, on the scale of `monotonic`.
            callback: What to call.
        """
        return _Alarm(when, callback)


class _Alarm:
    """A timer that never rings early, however coarse the event loop's own clock is."""

    __slots__ = ("_callback", "_handle", "_when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self._when = when
        self._callback = callback
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(min(when - time.monotonic(), _LONGEST_S), self._ring)

    def cancel(self) -> None:
        """Do not ring any more."""
        self._handle.cancel()
        # Whoever is called often holds the timer, a cycle that only the collector would undo.
        self._callback = _nothing

    def _ring(self) -> None:
        early = self._when - time.monotonic()
        if early > 0:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(min(early, _LONGEST_S) + _TICK_S, self._ring)
            return
        self._callback()


def _nothing() -> None:
    """Do nothing."""


# Random ends of ids, drawn many at a time: to ask the system for each took most of the time that
# an id takes. A child process draws its own, or it would give out the same ids as its parent.
_tails: Final[list[str]] = []
os.register_at_fork(after_in_child=_tails.clear)


def _draw_tails() -> str:
    """Draw random ends of ids; return one of them, and keep the others."""
    digits = os.urandom(_RANDOM_BYTES * _TAILS).hex()
    width = 2 * _RANDOM_BYTES
    tail, *others = [digits[at : at + width] for at in range(0, len(digits), width)]
    _tails.extend(others)
    return tail


class SystemChance:
    """The machine's randomness; satisfies `flow.ports.Chance`, also after a fork."""

    def new_id(self) -> str:
        """Return 32 hexadecimal digits: 12 of the time in milliseconds, and 20 random ones."""
        try:
            tail = _tails.pop()
        except IndexError:
            tail = _draw_tails()
        return f"{time.time_ns() // 1_000_000:012x}{tail}"

    random = staticmethod(random.random)
    """Return a random number, 0 <= random < 1. It spreads load, it keeps no secret."""


class SystemThreads:
    """Worker threads, at most so many; satisfies `flow.ports.Threads`.

    Whoever awaits a run may be cancelled. The thread cannot be: it goes on, its result is
    dropped, and it counts against the limit until it ends.

    Args:
        limit: How many threads may run. At least as many as handlers may run at a time, so that
            no handler waits for a thread while its own time runs.
    """

    def __init__(self, limit: int = 100) -> None:
        """Begin without a thread."""
        self._free = asyncio.Semaphore(limit)
        # The semaphore counts; anyio would stop counting a thread that nobody waits for any more.
        self._unlimited = anyio.CapacityLimiter(math.inf)

    async def run(self, function: Callable[[], _T]) -> _T:
        """Run *function* in a thread with a copy of the context variables.

        Args:
            function: What to run.
        """
        await self._free.acquire()
        job = _Job(function, self._free)
        try:
            return await to_thread.run_sync(
                job.run, abandon_on_cancel=True, limiter=self._unlimited
            )
        finally:
            job.leave()


class _Job(Generic[_T]):
    """A run in a thread, and who gives its place back: its caller, or the thread.

    Popping from a list is atomic, and that is how each side learns which of them came first.
    """

    __slots__ = ("_beginning", "_end", "_free", "_function", "_loop")

    def __init__(self, function: Callable[[], _T], free: asyncio.Semaphore) -> None:
        self._function = function
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._beginning = [None]
        self._end = [None]

    def run(self) -> _T:
        """Run the function, in the thread."""
        if not _is_first(self._beginning):
            raise RuntimeError("nobody waits for it any more")
        try:
            return self._function()
        finally:
            if not _is_first(self._end):
                self._give_back()

    def leave(self) -> None:
        """Wait for it no longer, on the event loop: it has ended, or was cancelled."""
        never_began = _is_first(self._beginning)
        goes_on = not never_began and _is_first(self._end)
        if not goes_on:
            self._free.release()

    def _give_back(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._free.release)
        except RuntimeError:
            # The event loop was closed meanwhile: nobody is left to wait for the place.
            return


def _is_first(marker: list[None]) -> bool:
    try:
        marker.pop()
    except IndexError:
        return False
    return True


# ------------------------------------------------------------------------ the store's time


class StoreClock:
    """The time by the store's clock, which all orchestrators share; satisfies `flow.ports.Clock`.

    Deadlines are kept in the store and fire in whichever process owns their execution at the
    time, so that a machine whose clock is wrong must not fire them early or late. Until it is
    told the store's time, and for good with a store that has no clock of its own, it is the
    machine's.

    Args:
        clock: The machine's clock. Of it only the monotonic time is used after the first `set`.

    Attributes:
        monotonic: Returns seconds that only grow, from an arbitrary beginning: the machine's.
        call_at: Calls something once `monotonic()` has reached a time: the machine's.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with the machine's time."""
        self._clock = clock
        self._store_ms: int | None = None
        self._at_s = 0.0
        self.monotonic = clock.monotonic
        self.call_at = clock.call_at

    def set(self, store_ms: int, asked_s: float) -> int:
        """Go by the store's clock from now on.

        Args:
            store_ms: The store's time, in milliseconds since 1970.
            asked_s: When it was asked for (monotonic); it is right at some moment since.

        Returns:
            By how many milliseconds the time has changed.
        """
        before = self.now_ms()
        self._at_s = (asked_s + self._clock.monotonic()) / 2
        self._store_ms = store_ms
        return self.now_ms() - before

    def now_ms(self) -> int:
        """Return the wall time in milliseconds since 1970, UTC."""
        if self._store_ms is None:
            return self._clock.now_ms()
        return self._store_ms + round((self.monotonic() - self._at_s) * 1000)


# -------------------------------------------------------------------- hybrid logical clock


class HybridClock:
    """Stamps that order like time and never go back, whatever the wall clock does.

    A stamp is 64 bits: the wall time in milliseconds in the upper 48, a counter in the lower 16.
    When the counter is full it carries into the milliseconds, so that the clock runs ahead of the
    wall for a moment and not back. Written as 16 hexadecimal digits, stamps sort as text.

    After Kulkarni, Demirbas, Madappa, Avva and Leone: Logical Physical Clocks (2014).
    """

    def __init__(self) -> None:
        """Begin before all stamps."""
        self._last = 0

    def stamp(self, now_ms: int) -> str:
        """Return a stamp later than all that this clock has made or seen.

        Args:
            now_ms: The wall time in milliseconds since 1970.
        """
        self._last = max(self._last + 1, now_ms << _COUNTER_BITS)
        return self.from_int(self._last)

    def witness(self, stamp: str) -> None:
        """Make all stamps to come later than one that somebody else made.

        Args:
            stamp: The other stamp.

        Raises:
            CorruptRecord: It is not a stamp.
        """
        self._last = max(self._last, self.to_int(stamp))

    @classmethod
    def parse(cls, stamp: str) -> tuple[int, int]:
        """Return the milliseconds and the counter of a stamp.

        Args:
            stamp: The stamp.

        Raises:
            CorruptRecord: It is not a stamp.
        """
        number = cls.to_int(stamp)
        return number >> _COUNTER_BITS, number & _COUNTER_MASK

    @staticmethod
    def to_int(stamp: str) -> int:
        """Return a stamp as a number of 63 bits.

        Args:
            stamp: The stamp.

        Raises:
            CorruptRecord: It is not a stamp, or lies after the year 6429.
        """
        if not _STAMP.match(stamp):
            raise CorruptRecord("the stamp", f"{stamp[:100]!r} is not 16 hexadecimal digits")
        return int(stamp, 16)

    @staticmethod
    def from_int(number: int) -> str:
        """Return the stamp that a number stands for.

        Args:
            number: What `to_int` returned.

        Raises:
            CorruptRecord: It is negative, or has more than 63 bits.
        """
        if not 0 <= number <= _LAST_STAMP:
            raise CorruptRecord("the stamp", f"{number} does not have at most 63 bits")
        return f"{number:016x}"
