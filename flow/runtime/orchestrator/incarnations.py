"""Incarnations: how it is noticed that the broker has lost everything it had.

Theory of operation
-------------------
The store has an id, and on the broker is an exchange named after it, which nobody declares a second
time. If it is not there, the broker is another one: somebody makes an exchange of a fresh id, and
then puts that id in the place of the old one, if it is the old one still. Of several who do it
one wins, and the others take over what the winner has put there. The exchange is made before the
id is known to anybody, so that an id whose exchange is missing always means a loss.

It is looked at when a process starts, and whenever its connection is another one. That is enough.
A broker cannot lose everything and keep a connection, so each process that was there looks after
each loss, and sweeps the partitions that it has by then. What it takes later carries in its lease
the incarnation that everything was sent to, and is compared with the one that this process knows.
If that is an old one, because the process has not looked yet, then it still has to look, and will
compare all its partitions again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from flow.clock import sleep
from flow.errors import UnavailableError
from flow.ports import Broker, BrokerEvent, Chance, Clock, Exchange, Store, Topology
from flow.runtime.addresses import Addresses

__all__ = ["Incarnations"]

_log = logging.getLogger("flow.incarnations")

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0


class Incarnations:
    """Looks whether the broker is the one that everything was sent to.

    Args:
        broker: The broker.
        store: The store.
        addresses: The names of the namespace.
        clock: The time.
        chance: Ids, and jitter.
        found: Told of the incarnation each time that it was looked at.
    """

    def __init__(
        self,
        broker: Broker,
        store: Store,
        addresses: Addresses,
        clock: Clock,
        chance: Chance,
        found: Callable[[str], None],
    ) -> None:
        """Begin without having looked."""
        self._broker = broker
        self._store = store
        self._addresses = addresses
        self._clock = clock
        self._chance = chance
        self._found = found
        self._is_due = asyncio.Event()

    def hear(self, event: BrokerEvent) -> None:
        """Look again once the connection is another one.

        Args:
            event: What happened to the connection.
        """
        if event is BrokerEvent.CONNECTED:
            self._is_due.set()

    async def run(self) -> None:
        """Look whenever it is due, until cancelled."""
        tries = 0
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                await self.look()
            except UnavailableError as error:
                _log.warning("cannot tell yet whether the broker has lost anything: %s", error)
                self._is_due.set()
                limit = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 10))
                tries += 1
                await sleep(self._clock, limit * (0.5 + 0.5 * self._chance.random()))
            else:
                tries = 0

    async def look(self) -> None:
        """Find out which incarnation the broker is, and tell.

        Raises:
            UnavailableError: The broker or the store cannot be asked.
        """
        present = await self._store.incarnate("", "")
        while not present or not await self._has(present):
            new = self._chance.new_id()
            exchange = Exchange(self._addresses.incarnation(new), "fanout")
            await self._broker.declare(Topology(exchanges=(exchange,)), keep=False)
            standing = await self._store.incarnate(present, new)
            if standing == new:
                _log.info("the broker is a new one: %s", new)
            present = standing
        self._found(present)

    async def _has(self, incarnation: str) -> bool:
        return await self._broker.has_exchange(self._addresses.incarnation(incarnation))
