"""Idleness: how the harness knows that nothing can happen any more unless time passes.

Theory of operation
-------------------
The event loop belongs to somebody else. Whatever the flow does ends in a call of a port: it
publishes, receives, reads or writes the store, sets a timer, begins or ends a handler. Each of
these *stirs*. After `CALM_PASSES` passes of the event loop in which nothing stirred, the flow is
*calm*; between two calls of ports it never needs that many. Where the loop is asyncio's own, its
list of what is ready is looked at too: two passes with nothing on it are enough.

When it is calm,

* those who asked for that (`settle`, `advance`) are told;
* else, if a test awaits the flow, and no handler is at something of the outside world, time moves
  on to the next timer;
* else nothing is done until something stirs again. No pass is watched meanwhile, so that waiting
  for the outside world costs nothing.

No decision depends on the real time, so the same test does the same every time.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from flow.testing.clock import OWNER, Owner, VirtualClock

__all__ = ["Idleness"]

CALM_PASSES: Final = 26
EMPTY_PASS: Final = 13
"""What a pass counts for with nothing else to do in it."""


class Idleness:
    """Watches for calm, and moves the clock when only time can help.

    Args:
        clock: The time.
        patience: How often time may move on by itself without any progress.
        stuck: Called when it was moved so often in vain.

    Attributes:
        automatic: Whether time moves on by itself at all.
    """

    def __init__(self, clock: VirtualClock, patience: int, stuck: Callable[[], None]) -> None:
        """Begin calm."""
        self.automatic = True
        self._clock = clock
        self._patience = patience
        self._stuck = stuck
        self._moves = 0
        self._calm = 0
        self._is_watching = False
        self._busy = 0
        self._handlers: dict[Owner, None] = {}
        self._waiters: list[asyncio.Future[None]] = []

    def stir(self) -> None:
        """Take note that something happens."""
        self._calm = 0
        if not self._is_watching:
            self._is_watching = True
            asyncio.get_running_loop().call_soon(self._pass)

    def progress(self) -> None:
        """Take note that something happens that is not done merely because time has passed."""
        self._moves = 0

    @contextmanager
    def busy(self) -> Generator[None]:
        """Count the block as something that goes on, and that needs no virtual time."""
        self._busy += 1
        self.stir()
        try:
            yield
        finally:
            self._busy -= 1
            self.stir()

    @contextmanager
    def handling(self) -> Generator[None]:
        """Count the block as a handler: at something of the outside world, or waiting for time.

        It waits for time while a timer waits that was set in the block: by `FlowHarness.sleep`,
        or because the handler itself asks the flow for something.
        """
        owner = Owner()
        token = OWNER.set(owner)
        self._handlers[owner] = None
        self.progress()
        self.stir()
        try:
            yield
        finally:
            del self._handlers[owner]
            OWNER.reset(token)
            self.stir()

    async def calm(self) -> None:
        """Wait until nothing happens any more unless time passes."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(told)
        self.stir()
        await told

    # ----------------------------------------------------------------------- privately

    def _pass(self) -> None:
        loop = asyncio.get_running_loop()
        # Nobody but us is on the list: what is left comes from outside, or from time.
        is_empty = not getattr(loop, "_ready", True)
        self._calm += EMPTY_PASS if is_empty else 1
        if self._calm < CALM_PASSES:
            loop.call_soon(self._pass)
            return
        self._is_watching = False
        if not self._busy:
            self._be_calm()

    def _be_calm(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for told in waiters:
                if not told.done():
                    told.set_result(None)
            # They may do nothing more, and then it is time that has to move.
            self.stir()
            return
        when = self._clock.next_s()
        if when is None or not self._may_move():
            return
        # A handler that takes its time is not stuck, however often something else is due meanwhile.
        self._moves += not self._clock.waits_for(self._handlers)
        if self._moves > self._patience:
            self._moves = 0
            self._stuck()
        else:
            self._clock.move_to(when)
        self.stir()

    def _may_move(self) -> bool:
        waits = self.automatic and self._clock.awaited
        return bool(waits) and all(owner.timers for owner in self._handlers)
