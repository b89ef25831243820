"""Callbacks in virtual time, and a seeded choice of which of them runs next.

This is the lower half of the simulated event loop; `loop` is the upper one, and tells the idea.
"""

import asyncio
import heapq
import math
import random
from asyncio import events
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Final, TypeVarTuple

from flow.errors import SimulationRefused
from flow.testing.simulation.processes import PROCESS, SimulatedProcess
from flow.testing.simulation.refusing_loop import RefusingLoop

__all__ = ["CallbackLoop", "LoopSettings"]

Ts = TypeVarTuple("Ts")

_COMPACT_ABOVE: Final = 1_000
_PRIME: Final = 1_000_003
_64_BITS: Final = (1 << 64) - 1


class LoopSettings:
    """How wild a loop is.

    Args:
        disorder: How often it is not the oldest callback that runs next, from 0 to 1. With 0 the
            order is exactly that of asyncio, if no step takes any time either.
        step_s: How many virtual seconds a step takes at most.
        steps_max: After so many steps the run counts as stuck.
    """

    __slots__ = ("disorder", "step_s", "steps_max")

    def __init__(
        self, *, disorder: float = 0.5, step_s: float = 0.0002, steps_max: int = 500_000
    ) -> None:
        """Keep the settings."""
        self.disorder = disorder
        self.step_s = step_s
        self.steps_max = steps_max


class _Handle(asyncio.Handle):
    """A callback that is ready, with the process that it belongs to."""

    __slots__ = ("process",)

    process: SimulatedProcess | None


class _TimerHandle(asyncio.TimerHandle):
    """A callback that waits for its time, with the process that it belongs to."""

    __slots__ = ("process",)

    process: SimulatedProcess | None


class CallbackLoop(RefusingLoop):
    """Runs callbacks in an order that follows from a seed, in virtual time.

    Args:
        seed: What the order follows from.
        settings: How wild it is.

    Attributes:
        settings: How wild it is.
        steps: How many callbacks were run.
    """

    def __init__(self, seed: int = 0, settings: LoopSettings | None = None) -> None:
        """Begin at the time 0, with nothing to do."""
        self.steps = 0
        self.settings = settings or LoopSettings()
        self._random = random.Random(seed).random  # noqa: S311 - it has to repeat
        self._now = 0.0
        self._digest = 0
        self._number = 0
        self._ready: list[_Handle | _TimerHandle] = []
        self._timers: list[tuple[float, int, _TimerHandle]] = []
        self._cancelled = 0
        self._batch = 0
        self._holders: dict[SimulatedProcess, None] = {}
        self._is_burying = False

    @property
    def digest(self) -> int:
        """A number that follows from every choice that was made so far."""
        return self._digest

    @property
    def is_burying(self) -> bool:
        """Whether the run is over, and what is left is being cancelled."""
        return self._is_burying

    # ----------------------------------------------------------------- time and callbacks

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have a callback run in one of the next steps. See `asyncio.loop.call_soon`."""
        if context is None:
            context = copy_context()
        handle = _Handle(callback, args, self, context)
        handle.process = context.get(PROCESS)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do the same as `call_soon`; other threads are refused.

        Raises:
            SimulationRefused: It is called while the loop does not run in this thread.
        """
        if events._get_running_loop() is not self:  # noqa: SLF001 - there is no other way to ask
            raise SimulationRefused(
                "call_soon_threadsafe", "another thread calls whenever it likes"
            )
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run after some virtual seconds. See `asyncio.loop.call_later`."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run at a virtual time. See `asyncio.loop.call_at`.

        Raises:
            ValueError: The time is not a number. An infinite one is possible, and never comes.
        """
        if math.isnan(when):
            raise ValueError("a timer cannot ring at a time that is not a number")
        if context is None:
            context = copy_context()
        handle = _TimerHandle(when, callback, args, self, context)
        handle.process = context.get(PROCESS)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, handle))
        return handle

    def _timer_handle_cancelled(self, _: asyncio.TimerHandle) -> None:
        """Take note of a cancelled timer; asyncio's handles call this."""
        self._cancelled += 1
        if self._cancelled > _COMPACT_ABOVE and 2 * self._cancelled > len(self._timers):
            # In place: a step may be looking at the list.
            self._timers[:] = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0

    # ------------------------------------------------------------------------- stepping

    def step(self) -> bool:
        """Run one callback; return whether there was any, or time has moved."""
        ready = self._ready
        if not ready and not self._move_time():
            return False
        settings = self.settings
        if self._batch:
            self._batch -= 1
        else:
            self._ring()
            if not settings.disorder:
                # asyncio looks at its timers only when it has run what was ready before.
                self._batch = len(ready) - 1
        count = len(ready)
        index = 0
        if count > 1 and self._random() < settings.disorder:
            index = int(self._random() * count)
        handle = ready.pop(index)
        self._now += self._random() * settings.step_s
        if handle.cancelled():
            return True
        process = handle.process
        if process is not None and not process.is_running:
            process.hold(handle)
            self._holders[process] = None
            return True
        self.steps += 1
        self._digest = (self._digest * _PRIME + (count << 20) + index + 1) & _64_BITS
        handle._run()  # noqa: SLF001 - what every event loop does
        return True

    def _move_time(self) -> bool:
        """Let time pass until the next timer rings; return whether there is any."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._cancelled -= 1
        if not timers or timers[0][0] == math.inf:
            return False
        self._now = max(self._now, timers[0][0])
        return True

    def _ring(self) -> None:
        """Make ready what is due."""
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if handle.cancelled():
                self._cancelled -= 1
            else:
                self._ready.append(handle)

    def wake(self, handles: list[Any]) -> None:
        """Make ready what a process has held up.

        Args:
            handles: Callbacks of this loop.
        """
        self._ready.extend(handles)

    def _run_what_is_ready(self, steps: int) -> None:
        """Run what is ready, oldest first, of killed processes too; no timer rings any more."""
        self._timers.clear()
        for process in self._holders:
            self.wake(process.release())
        self._holders.clear()
        while self._ready and steps > 0:
            steps -= 1
            handle = self._ready.pop(0)
            if not handle.cancelled():
                # Whoever wants to leave the interpreter now is only told that it is over.
                with suppress(SystemExit):
                    handle._run()  # noqa: SLF001 - what every event loop does
