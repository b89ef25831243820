"""Ports that a test owns: a clock that moves when told, ids that count, threads that are none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeVar

from flow.runtime.service import WorkerPorts

T = TypeVar("T")

TURNS = 40
"""Turns of the event loop in which everything that can happen without time has happened."""


async def settle(turns: int = TURNS) -> None:
    """Let everything happen that needs no time."""
    for _ in range(turns):
        await asyncio.sleep(0)


class ManualTimer:
    """A callback that waits for its time."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not call it any more."""
        self.is_cancelled = True


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._elapsed_s = 0.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._numbers = itertools.count()

    @property
    def armed(self) -> int:
        """How many timers wait."""
        return sum(not timer.is_cancelled for _, _, timer in self._timers)

    def now_ms(self) -> int:
        """Return the wall time in milliseconds."""
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic(self) -> float:
        """Return the seconds that the test has let pass."""
        return self._elapsed_s

    def call_at(self, when: float, callback: Callable[[], None]) -> ManualTimer:
        """Call *callback* once the test has moved the clock to *when*."""
        timer = ManualTimer(callback)
        heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due meanwhile."""
        await settle()
        end = self._elapsed_s + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heappop(self._timers)
            if timer.is_cancelled:
                continue
            self._elapsed_s = max(self._elapsed_s, when)
            timer.callback()
            await settle()
        self._elapsed_s = end
        await settle()

    def block(self, seconds: float) -> None:
        """Let time pass as if the event loop were blocked: timers ring late."""
        self._elapsed_s += seconds
        asyncio.get_running_loop().call_soon(self._ring)

    def _ring(self) -> None:
        while self._timers and self._timers[0][0] <= self._elapsed_s:
            _, _, timer = heappop(self._timers)
            if not timer.is_cancelled:
                timer.callback()


class CountingChance:
    """Ids that count, and the same random number again and again."""

    def __init__(self, random: float = 0.5, first: int = 1) -> None:
        self._numbers = itertools.count(first)
        self._random = random

    def new_id(self) -> str:
        """Return the next id."""
        return f"{next(self._numbers):032x}"

    def random(self) -> float:
        """Return the random number."""
        return self._random


class InlineThreads:
    """Runs functions where they are called."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run *function*."""
        return function()


def make_ports(clock: ManualClock | None = None) -> WorkerPorts:
    """Return ports that a test owns."""
    return WorkerPorts(clock or ManualClock(), CountingChance(), InlineThreads())
