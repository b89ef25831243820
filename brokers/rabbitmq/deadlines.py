"""The deadlines of calls that wait for confirms.

Theory of operation
-------------------
A timer for each call would cost as much as the call. All calls get about the same time, and nearly
all are over long before, so one timer for all of them does: it is set to the earliest deadline
that there was when it was set. When it goes off, whatever is due is ended, and it is set again for
what is left. So there is one look around in the time that a call may take, and none if nothing is
published.
"""

import asyncio
import math

from brokers.rabbitmq.confirms import Call

__all__ = ["Deadlines"]


class Deadlines:
    """Ends calls that take too long.

    Args:
        loop: The event loop, whose time counts.
    """

    __slots__ = ("_due", "_loop", "_spared", "_timer", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Call, float] = {}
        self._spared: dict[Call, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._when = math.inf

    def __len__(self) -> int:
        """Return how many calls are under way."""
        return len(self._due)

    def add(self, call: Call, when: float) -> None:
        """End a call at a time, unless it is taken back before.

        Args:
            call: The call.
            when: The time.
        """
        self._due[call] = when
        if when < self._when:
            self._set_timer(when)

    def discard(self, call: Call) -> None:
        """Do not end a call: it is over.

        Args:
            call: The call.
        """
        self._due.pop(call, None)

    def hurry(self, when: float) -> None:
        """End all calls that are under way at a time, unless they are due before.

        Args:
            when: The time.
        """
        for call, due in self._due.items():
            if when < due:
                self._spared.setdefault(call, due)
                self._due[call] = when
        if self._due and when < self._when:
            self._set_timer(when)

    def relax(self) -> None:
        """Give calls that were hurried the time back that they had."""
        for call, due in self._spared.items():
            if call in self._due:
                self._due[call] = due
        self._spared.clear()

    def expire(self) -> None:
        """End all calls at once."""
        for call in self._due:
            call.end()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._when = when
        self._timer = self._loop.call_at(when, self._look_around)

    def _look_around(self) -> None:
        now = self._loop.time()
        self._timer, self._when = None, math.inf
        earliest = math.inf
        for call, due in self._due.items():
            if due <= now:
                call.end()
            else:
                earliest = min(earliest, due)
        if earliest < math.inf:
            self._set_timer(earliest)
