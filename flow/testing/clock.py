"""Time that passes only when it is told to.

A `VirtualClock` knows who set each timer. The parts of the flow that runs in the harness, and the
handlers that it calls, have an `Owner` in their context; whatever is set elsewhere is a deadline
of somebody who awaits the flow: the test. That is how the harness can tell that somebody waits
for time to pass, and that a handler only waits for time.
"""

import contextvars
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

__all__ = ["OWNER", "Owner", "VirtualClock", "VirtualTimer", "owned"]

START_MS: Final = 1_700_000_000_000
"""When virtual time begins: in November 2023."""

_COMPACT_ABOVE: Final = 1_000
# Seconds are added up as floats; what they lose is far less than this part of a millisecond.
_ROUNDING: Final = 0.001


class Owner:
    """Who sets timers, where it is not the test.

    Attributes:
        timers: How many of its timers wait.
    """

    __slots__ = ("timers",)

    def __init__(self) -> None:
        """Begin without a timer."""
        self.timers = 0


OWNER: Final[ContextVar[Owner | None]] = ContextVar("flow.testing.owner", default=None)
"""The owner of the timers that are set in this context; None in a test."""


class VirtualTimer:
    """A callback that waits for its time; satisfies `flow.ports.Timer`.

    Args:
        clock: The clock that it was set on.
        callback: What is called, in the context that the timer was set in.
        owner: Who set it; None is the test.
    """

    __slots__ = ("_callback", "_clock", "_context", "is_waiting", "owner")

    def __init__(
        self, clock: "VirtualClock", callback: Callable[[], None], owner: Owner | None
    ) -> None:
        """Keep the callback."""
        self._clock = clock
        self._callback = callback
        self._context = contextvars.copy_context()
        self.owner = owner
        self.is_waiting = True

    def cancel(self) -> None:
        """Do not call it any more."""
        if self.is_waiting:
            self.is_waiting = False
            self._clock.count(self.owner, -1)

    def ring(self) -> None:
        """Call it, unless it was cancelled."""
        if self.is_waiting:
            self.cancel()
            self._clock.fired += 1
            self._context.run(self._callback)


class VirtualClock:
    """A clock that stands still until it is moved; satisfies `flow.ports.Clock`.

    Args:
        start_ms: The wall time at which it begins.

    Attributes:
        fired: How many timers have rung.
        waiting: How many timers wait.
        awaited: How many of them are a test's: deadlines of whoever awaits the flow.
        on_set: Called whenever a timer is set.
    """

    def __init__(self, start_ms: int = START_MS) -> None:
        """Begin without a timer."""
        self.fired = 0
        self.waiting = 0
        self.awaited = 0
        self.on_set: Callable[[], None] = _nothing
        self._start_ms = start_ms
        self._elapsed_s = 0.0
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._last_number = 0

    # ---------------------------------------------------------------------- for whoever runs

    def now_ms(self) -> int:
        """Return the wall time in milliseconds since 1970, UTC."""
        return self._start_ms + int(self._elapsed_s * 1000 + _ROUNDING)

    def monotonic(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        return self._elapsed_s

    def call_at(self, when: float, callback: Callable[[], None]) -> VirtualTimer:
        """Call *callback* once the clock has been moved to *when*.

        Args:
            when: Seconds, on the scale of `monotonic`.
            callback: What to call.
        """
        owner = OWNER.get()
        timer = VirtualTimer(self, callback, owner)
        self._last_number += 1
        heappush(self._timers, (when, self._last_number, timer))
        self.count(owner, 1)
        if len(self._timers) > 2 * self.waiting + _COMPACT_ABOVE:
            self._timers = [entry for entry in self._timers if entry[2].is_waiting]
            heapify(self._timers)
        self.on_set()
        return timer

    # ------------------------------------------------------------------- for whoever moves it

    def next_s(self) -> float | None:
        """Return when the next timer is due, or None if none ever is."""
        while self._timers and not self._timers[0][2].is_waiting:
            heappop(self._timers)
        if not self._timers or self._timers[0][0] == inf:
            return None
        return self._timers[0][0]

    def move_to(self, when: float) -> None:
        """Let time pass until *when*, and ring what is due by then, in order.

        Timers that are set meanwhile wait for the next call, even if they are due.

        Args:
            when: Seconds, on the scale of `monotonic`. The clock never goes back.
        """
        due: list[tuple[float, VirtualTimer]] = []
        while (first := self.next_s()) is not None and first <= when:
            due.append((first, heappop(self._timers)[2]))
        for time_s, timer in due:
            self._elapsed_s = max(self._elapsed_s, time_s)
            timer.ring()
        self._elapsed_s = max(self._elapsed_s, when)

    def waits_for(self, owners: Collection[Owner]) -> bool:
        """Return whether some of the timers that will ring belong to certain owners.

        Args:
            owners: Which.
        """
        return any(
            timer.is_waiting and timer.owner in owners and when < inf
            for when, _, timer in self._timers
        )

    def drop(self) -> None:
        """Forget every timer that has an owner: the flow that set it is gone."""
        for _, _, timer in self._timers:
            if timer.owner is not None:
                timer.cancel()

    def count(self, owner: Owner | None, change: int) -> None:
        """Take note that one more, or one less, timer of somebody waits.

        Args:
            owner: Who set it; None is the test.
            change: 1 or -1.
        """
        self.waiting += change
        if owner is None:
            self.awaited += change
        else:
            owner.timers += change


@contextmanager
def owned(clock: VirtualClock, owner: Owner) -> Generator[None]:
    """Have the timers that are set in the block belong to an owner, while the test awaits it.

    Args:
        clock: The time.
        owner: Who owns them.
    """
    # It never rings. It is the test's, so that time moves if what is in the block needs that.
    awaited = clock.call_at(inf, _nothing)
    token = OWNER.set(owner)
    try:
        yield
    finally:
        OWNER.reset(token)
        awaited.cancel()


def _nothing() -> None:
    """Nobody wants to know."""
