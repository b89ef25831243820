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
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

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
    """What `cancel_after` gives.

    Attributes:
        cancelled_caught: Whether the block was cut short.
    """

    __slots__ = ("cancelled_caught",)

    def __init__(self) -> None:
        """Begin with a block that was not cut short."""
        self.cancelled_caught = False


@contextmanager
def cancel_after(clock: Clock, seconds: float) -> Generator[Deadline]:
    """Cancel the block if it takes longer than *seconds*; the deadline then says so.

    Args:
        clock: The time.
        seconds: How long the block may take.

    Returns:
        The deadline: `cancelled_caught` is true once the block was cut short.
    """
    deadline = Deadline()
    requests = _cancel_requests()
    scope = anyio.CancelScope()
    try:
        with scope:
            timer = clock.call_at(clock.monotonic() + seconds, scope.cancel)
            try:
                yield deadline
            finally:
                timer.cancel()
        deadline.cancelled_caught = scope.cancelled_caught
    except asyncio.CancelledError:
        # A scope knows its own cancellation by a mark on the error. If a timeout of asyncio inside
        # of the block is over at the same moment the mark may be lost, and the error would end the
        # task although nobody wants that. The task itself counts who wants what.
        if not scope.cancel_called or _cancel_requests() > requests:
            raise
        deadline.cancelled_caught = True


def _cancel_requests() -> int:
    """Return how often somebody has cancelled the running task and has not taken it back."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


# -------------------------------------------------------------------------------- system


class SystemClock:
    """The machine's time and the event loop's timers; satisfies `flow.ports.Clock`."""

    def now_ms(self) -> int:
        """Return the wall time in milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that only grow, from an arbitrary beginning."""
        return time.monotonic()

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
        wait = min(max(0.0, when - time.monotonic()), _LONGEST_S)
        self._handle = loop.call_later(wait, self._ring)

    def cancel(self) -> None:
        """Do not ring any more."""
        self._handle.cancel()

    def _ring(self) -> None:
        early = self._when - time.monotonic()
        if early > 0:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(min(early, _LONGEST_S) + _TICK_S, self._ring)
            return
        self._callback()


class SystemChance:
    """The machine's randomness; satisfies `flow.ports.Chance`, also after a fork."""

    def new_id(self) -> str:
        """Return 32 hexadecimal digits: 12 of the time in milliseconds, and 20 random ones."""
        return f"{time.time_ns() // 1_000_000:012x}{os.urandom(_RANDOM_BYTES).hex()}"

    def random(self) -> float:
        """Return a random number, 0 <= random < 1."""
        return random.random()  # noqa: S311 - it spreads load, it keeps no secret


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
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with the machine's time."""
        self._clock = clock
        self._store_ms: int | None = None
        self._at_s = 0.0

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
        return self._store_ms + round((self._clock.monotonic() - self._at_s) * 1000)

    def monotonic(self) -> float:
        """Return seconds that only grow, from an arbitrary beginning."""
        return self._clock.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* on the running event loop once `monotonic()` has reached *when*.

        Args:
            when: Seconds, on the scale of `monotonic`.
            callback: What to call.
        """
        return self._clock.call_at(when, callback)


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
