"""The intake: declares and consumes a worker's queues, and stops in order.

Until that has succeeded it is tried again. From then on it is the broker's adapter that declares
and consumes all of it again whenever the connection is another one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flow.clock import sleep
from flow.errors import UnavailableError
from flow.ports import Broker, Chance, Clock, Delivery, Subscription, Topology

__all__ = ["Intake", "Source"]

_log = logging.getLogger("flow.worker")

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Source:
    """A queue to consume.

    Args:
        queue: Its name.
        prefetch: How many unsettled messages it may hand out.
        receive: Called with each delivery.
        until_end: Whether it is consumed on after `close`, until `end`.
    """

    queue: str
    prefetch: int
    receive: Callable[[Delivery], None]
    until_end: bool = False


class Intake:
    """Starts and stops the consumers of some queues.

    Args:
        broker: The broker.
        clock: Time.
        chance: Jitter.
        topology: What is declared before.
        sources: What is consumed, in this order.

    Attributes:
        is_open: Whether messages are being received.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        chance: Chance,
        topology: tuple[Topology, ...],
        sources: tuple[Source, ...],
    ) -> None:
        """Prepare; nothing is received before `run`."""
        self._broker = broker
        self._clock = clock
        self._chance = chance
        self._topology = topology
        self._sources = sources
        self._is_closing = False
        self._subscriptions: list[tuple[Source, Subscription]] = []
        self.is_open = asyncio.Event()

    async def run(self) -> None:
        """Begin to receive, however often that has to be tried."""
        limit = FIRST_BACKOFF_S
        while not self._is_closing:
            try:
                await self._connect()
            except UnavailableError as error:
                _log.warning("cannot receive requests yet: %s", error)
                await sleep(self._clock, limit * (0.5 + 0.5 * self._chance.random()))
                limit = min(LONGEST_BACKOFF_S, limit * 2)
            else:
                return

    async def close(self) -> None:
        """Stop to receive requests. What was received stays its receiver's to settle."""
        self._is_closing = True
        self.is_open.clear()
        await self._cancel([pair for pair in self._subscriptions if not pair[0].until_end])

    async def end(self) -> None:
        """Stop to receive anything."""
        await self.close()
        await self._cancel(self._subscriptions)

    async def _connect(self) -> None:
        await self._cancel(self._subscriptions)
        for topology in self._topology:
            await self._broker.declare(topology)
        for source in self._sources:
            subscription = await self._broker.consume(source.queue, source.prefetch, source.receive)
            self._subscriptions.append((source, subscription))
            if self._is_closing:
                await self._cancel(self._subscriptions)
                return
        self.is_open.set()

    async def _cancel(self, pairs: Sequence[tuple[Source, Subscription]]) -> None:
        for pair in list(pairs):
            self._subscriptions.remove(pair)
            try:
                await pair[1].cancel()
            except UnavailableError as error:
                # It belongs to a connection that is gone, and so is the consumer.
                _log.debug("a consumer was gone already: %s", error)
