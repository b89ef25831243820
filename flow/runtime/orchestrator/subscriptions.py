"""Subscriptions: which queues an orchestrator receives from.

What cannot be consumed at the moment, because the broker is away, is tried again until it can. An
adapter that connects anew consumes by itself what was consumed before.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Final

from flow.clock import sleep
from flow.errors import CorruptRecord, UnavailableError
from flow.ports import Chance, Clock, Delivery, Subscription
from flow.runtime.addresses import Addresses
from flow.runtime.bundles import BUNDLE, unpacked
from flow.runtime.orchestrator.inbox import Received, Source

__all__ = ["Consume", "Subscriptions"]

_log = logging.getLogger("flow.subscriptions")

Receive = Callable[[Received], None]
Consume = Callable[[str, int, Callable[[Delivery], None]], Coroutine[Any, Any, Subscription]]

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0


class Subscriptions:
    """Receives from the queues of the partitions that are owned, and from those that all share.

    Args:
        consume: Starts to receive from a queue of the broker.
        addresses: The names of the namespace.
        prefetch: How many messages are taken from a queue before they are settled.
        receive: What takes them.
        clock: The time.
        chance: Jitter.
    """

    def __init__(
        self,
        consume: Consume,
        addresses: Addresses,
        prefetch: int,
        receive: Receive,
        clock: Clock,
        chance: Chance,
    ) -> None:
        """Begin with none."""
        self._consume = consume
        self._addresses = addresses
        self._prefetch = prefetch
        self._receive = receive
        self._clock = clock
        self._chance = chance
        # By queue: the partition that it belongs to, if it does, and what kind of queue it is.
        self._wanted: dict[str, tuple[Source, int | None]] = {}
        self._running: dict[str, Subscription] = {}
        self._missing = asyncio.Event()
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Try again what could not be consumed, until cancelled."""
        tries = 0
        while True:
            await self._missing.wait()
            limit = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 10))
            await sleep(self._clock, limit * (0.5 + 0.5 * self._chance.random()))
            tries = tries + 1 if await self._fill() else 0

    async def open_shared(self) -> None:
        """Receive what is addressed to whichever orchestrator."""
        addresses = self._addresses
        self._wanted |= {
            addresses.control: (Source.CONTROL, None),
            addresses.trigger: (Source.TRIGGER, None),
            addresses.announce: (Source.ANNOUNCE, None),
        }
        await self._fill()

    async def open(self, partitions: Iterable[int]) -> None:
        """Receive from the queues of partitions.

        Args:
            partitions: Which; those that are received from already stay as they are.
        """
        for partition in partitions:
            self._wanted |= dict.fromkeys(self._queues(partition), (Source.PARTITION, partition))
        await self._fill()

    def receives(self, partition: int) -> bool:
        """Return whether messages of a partition may come.

        Args:
            partition: Which.
        """
        names = self._queues(partition)
        return any(name in self._wanted or name in self._running for name in names)

    async def close(self, partitions: Collection[int]) -> None:
        """Stop to receive from the queues of partitions.

        Args:
            partitions: Which; those that are not received from are passed over.
        """
        names = [name for partition in partitions for name in self._queues(partition)]
        await self._end(names)

    async def end(self) -> None:
        """Receive nothing more."""
        await self._end([*self._wanted, *self._running])

    def _queues(self, partition: int) -> tuple[str, str]:
        addresses = self._addresses
        return addresses.mailbox_queue(partition), addresses.start_queue(partition)

    async def _fill(self) -> bool:
        """Consume what is wanted and not consumed; return whether something is missing still."""
        self._missing.clear()
        async with self._lock:
            for name, origin in list(self._wanted.items()):
                if name in self._running or name not in self._wanted:
                    continue
                try:
                    self._running[name] = await self._open(name, *origin)
                except UnavailableError as error:
                    _log.warning("cannot receive from %s yet: %s", name, error)
                    self._missing.set()
                    return True
        return False

    async def _open(self, name: str, source: Source, partition: int | None) -> Subscription:
        def receive(delivery: Delivery) -> None:
            if partition is not None and delivery.envelope.type == BUNDLE:
                for part in _messages(delivery):
                    self._receive(Received(part, source, partition))
            else:
                self._receive(Received(delivery, source, partition))

        return await self._consume(name, self._prefetch, receive)

    async def _end(self, names: Iterable[str]) -> None:
        ending = list(dict.fromkeys(names))
        for name in ending:
            self._wanted.pop(name, None)
        async with self._lock:
            for name in ending:
                # What is wanted again by now was opened anew behind our back: it stays.
                subscription = self._running.get(name)
                if subscription is None or name in self._wanted:
                    continue
                try:
                    await subscription.cancel()
                except UnavailableError as error:
                    # It belongs to a connection that is gone, and so is the consumer.
                    _log.debug("a consumer was gone already: %s", error)
                del self._running[name]


def _messages(bundle: Delivery) -> Sequence[Delivery]:
    """Return the messages of a bundle; it itself if it is none: whoever takes it, says so."""
    try:
        return unpacked(bundle)
    except CorruptRecord:
        return (bundle,)
