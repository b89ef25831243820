"""What the conformance suite of brokers works with: connections, names and inboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flow.ports import (
    Broker,
    BrokerEvent,
    Delivery,
    Envelope,
    Exchange,
    Publication,
    Queue,
    Settlement,
    Topology,
)

DEADLINE_S: Final = 20.0
"""Seconds after which what was expected is given up: long, for it is spent on failure only."""


class Inbox:
    """Keeps what a consumer receives, for a test to take."""

    def __init__(self) -> None:
        self._waiting: list[Delivery] = []
        self._arrived = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        """Keep *delivery*."""
        self._waiting.append(delivery)
        self._arrived.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def take(self, count: int = 1) -> list[Delivery]:
        """Return the next *count* deliveries, waiting for those that have not come yet."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self._waiting) < count:
                self._arrived.clear()
                await self._arrived.wait()
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def take_one(self) -> Delivery:
        """Return the next delivery."""
        return (await self.take())[0]


@dataclass(frozen=True, slots=True)
class Features:
    """What can be done to a server while it is used. What cannot be done is None.

    Args:
        cut: Ends every connection, from the server's side. Connections are made again.
        block: Has the server take no messages, for a reason; or take them again for no reason.
    """

    cut: Callable[[], Awaitable[None]] | None = None
    block: Callable[[str], Awaitable[None]] | None = None


class Ear:
    """Keeps what a watcher is told, for a test to take."""

    def __init__(self) -> None:
        self.heard: list[BrokerEvent] = []
        self._arrived = asyncio.Event()

    def __call__(self, event: BrokerEvent) -> None:
        """Keep *event*."""
        self.heard.append(event)
        self._arrived.set()

    async def hear(self, event: BrokerEvent, count: int = 1) -> None:
        """Wait until *event* was told so many times."""
        async with asyncio.timeout(DEADLINE_S):
            while self.heard.count(event) < count:
                self._arrived.clear()
                await self._arrived.wait()


class Bench:
    """Connections to one broker server, and names that nobody else uses.

    Args:
        make: Returns a connection that is not open yet.
        prefix: What names begin with; another one for each test if the server outlives it.
        features: What can be done to the server.
    """

    def __init__(
        self,
        make: Callable[[], Broker],
        prefix: str = "bench",
        features: Features | None = None,
    ) -> None:
        self.make = make
        self.features = features or Features()
        self._prefix = prefix
        self._names = 0
        self._brokers: list[Broker] = []

    def name(self, kind: str) -> str:
        """Return a name that was never used."""
        self._names += 1
        return f"{self._prefix}.{kind}.{self._names}"

    async def open(self) -> Broker:
        """Return an open connection, which is closed after the test."""
        broker = self.make()
        self._brokers.append(broker)
        await broker.open()
        return broker

    async def queue(self, broker: Broker, dead_letter: str = "") -> str:
        """Declare a queue and return its name."""
        name = self.name("queue")
        await broker.declare(Topology(queues=(Queue(name, dead_letter=dead_letter),)))
        return name

    async def exchange(self, broker: Broker, kind: str = "direct") -> str:
        """Declare an exchange and return its name."""
        name = self.name(kind)
        kinds: dict[str, Exchange] = {
            "direct": Exchange(name, "direct"),
            "topic": Exchange(name, "topic"),
            "fanout": Exchange(name, "fanout"),
        }
        await broker.declare(Topology(exchanges=(kinds[kind],)))
        return name

    async def settled(self, broker: Broker) -> None:
        """Wait until everything that was on its way to *broker* had time to arrive.

        A message that is sent around after the others is received before this returns.
        """
        queue = await self.queue(broker)
        inbox = Inbox()
        subscription = await broker.consume(queue, 1, inbox)
        for _ in range(2):
            await send(broker, queue, b"probe")
            (await inbox.take_one()).ack()
        await subscription.cancel()

    async def cut(self, *brokers: Broker) -> None:
        """End every connection, and wait until *brokers* have made theirs again."""
        assert self.features.cut is not None
        ears = [Ear() for _ in brokers]
        for broker, ear in zip(brokers, ears, strict=True):
            broker.watch(ear)
        await self.features.cut()
        for ear in ears:
            await ear.hear(BrokerEvent.CONNECTED)

    async def close(self) -> None:
        """Close every connection."""
        for broker in reversed(self._brokers):
            await broker.close()


def message(body: bytes = b"{}") -> Envelope:
    """Return a message of which only the body matters."""
    return Envelope("test", body)


async def send(broker: Broker, queue: str, *bodies: bytes) -> None:
    """Publish messages to a queue by its name, and insist on the broker's confirms."""
    outcome = await broker.publish([Publication("", queue, message(body)) for body in bodies])
    assert list(outcome) == [Settlement.CONFIRMED] * len(bodies)


def bodies_of(deliveries: Sequence[Delivery]) -> list[bytes]:
    """Return the bodies of deliveries, in their order."""
    return [delivery.envelope.body for delivery in deliveries]
