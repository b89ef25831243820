"""The watchdog: reports handlers that block the event loop.

A handler that computes, or that calls something that waits, keeps every other one from running;
so do heartbeats and acknowledgements wait. The watchdog sets an alarm while attempts run, and looks
how late it rings. While nothing runs it has no alarm.
"""

import asyncio
import logging

from flow.clock import sleep_until
from flow.errors import listed
from flow.ports import Clock

__all__ = ["Watchdog"]

_log = logging.getLogger("flow.watchdog")


class Watchdog:
    """Watches the event loop while attempts run.

    Args:
        clock: The time.
        loop_lag_s: Seconds that the event loop may be blocked before a warning.

    Attributes:
        warnings: How often it has warned.
    """

    def __init__(self, clock: Clock, loop_lag_s: float) -> None:
        """Begin with nothing to watch."""
        self._clock = clock
        self._loop_lag_s = loop_lag_s
        self._running: dict[str, int] = {}
        self._ended: dict[str, None] = {}
        self._busy = asyncio.Event()
        self.warnings = 0

    def enter(self, name: str) -> None:
        """Take note that an attempt begins.

        Args:
            name: The endpoint.
        """
        if not self._running:
            self._busy.set()
        self._running[name] = self._running.get(name, 0) + 1

    def leave(self, name: str) -> None:
        """Take note that an attempt has ended.

        Args:
            name: The endpoint.
        """
        if self._running[name] > 1:
            self._running[name] -= 1
            return
        del self._running[name]
        # It may be the one that blocks the loop at this very moment.
        self._ended[name] = None

    async def run(self) -> None:
        """Watch until it is cancelled."""
        while True:
            await self._busy.wait()
            due = self._clock.monotonic() + self._loop_lag_s
            await sleep_until(self._clock, due)
            self._report(self._clock.monotonic() - due)
            self._ended.clear()
            if not self._running:
                self._busy.clear()

    def _report(self, lag_s: float) -> None:
        if lag_s < self._loop_lag_s:
            return
        self.warnings += 1
        names = dict.fromkeys((*self._ended, *self._running))
        _log.warning(
            "the event loop was blocked for %.1f s while these ran: %s. "
            "Let a handler await what takes long, or make it a plain function, "
            "which runs in a thread",
            lag_s,
            listed(names),
        )
