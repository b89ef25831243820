"""Revisions: reads definitions and the like again, once somebody else has changed them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from flow.clock import sleep
from flow.errors import UnavailableError
from flow.ports import Chance, Clock

__all__ = ["Revisions"]

_log = logging.getLogger("flow.revisions")

RETRY_S: Final = 1.0

Refresh = Callable[[], Awaitable[None]]


class Revisions:
    """Keeps copies of what is in the store up to date.

    The store has a number that changes whenever definitions, steps of the catalogue or pauses
    do. Every renewal of the leases brings it, and others tell when they have changed it.

    Args:
        clock: The time.
        chance: Jitter.
    """

    def __init__(self, clock: Clock, chance: Chance) -> None:
        """Begin with nothing to read."""
        self._clock = clock
        self._chance = chance
        self._refreshers: list[Refresh] = []
        self._known: int | None = None
        self._is_due = asyncio.Event()
        self._lock = asyncio.Lock()
        # How many readings were begun, and which was the last that ended well.
        self._begun = 0
        self._done = 0

    def refresh_with(self, refresh: Refresh) -> None:
        """Call something whenever the store holds something new.

        Args:
            refresh: Reads it. It may raise UnavailableError, and is called again then.
        """
        self._refreshers.append(refresh)

    def note(self, revision: int) -> None:
        """Take note of the store's number.

        Args:
            revision: The number.
        """
        if self._known is None:
            # What was read at the start is at least as new as this.
            self._known = revision
        if self._known != revision:
            self._known = revision
            self._is_due.set()

    def hear(self) -> None:
        """Read again: somebody tells that there is something new."""
        self._is_due.set()

    async def refresh(self) -> None:
        """Read everything again now, or be content with what others have begun to read since.

        One after the other: what was read before must not replace what was read later, and a crowd
        that asks for the same must not ask the store again for each of them.

        Raises:
            UnavailableError: The store cannot be asked.
        """
        asked = self._begun
        async with self._lock:
            if self._done > asked:
                return
            self._begun += 1
            for refresh in self._refreshers:
                await refresh()
            self._done = self._begun

    async def run(self) -> None:
        """Read again whenever it is due, until cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                await self.refresh()
            except UnavailableError as error:
                _log.warning("what is new cannot be read yet: %s", error)
                self._is_due.set()
                await sleep(self._clock, RETRY_S * (0.5 + self._chance.random()))
