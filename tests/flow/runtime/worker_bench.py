"""A worker on an in-process broker, with a clock that a test owns, and somebody who asks it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from brokers.memory.broker import MemoryBroker
from brokers.memory.hub import Hub
from flow import codec
from flow.context import StepContext
from flow.ports import (
    Binding,
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Envelope,
    Finding,
    Inbox,
    Publication,
    Queue,
    Settlement,
    Subscription,
    Threads,
    Topology,
)
from flow.runtime.addresses import Addresses
from flow.runtime.protocol import StepReply, StepRequest
from flow.runtime.publisher import Publisher, PublisherSettings
from flow.runtime.service import Endpoint, WorkerPorts, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.worker import Worker
from tests.flow.runtime.clocks import CountingChance, InlineThreads, ManualClock, settle

MAILBOX = "shop.mailbox.0"
REQUESTS = "shop.steps.pay"


@dataclass
class FakeHandler:
    """A handler that takes the decoded body and, if wanted, the context."""

    function: Callable[..., Any]
    is_async: bool = True
    wants_context: bool = False

    def arguments(
        self, body: bytes, headers: Mapping[str, str], context: StepContext | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the body's value, and the context by name."""
        value = codec.loads(codec.check_body(body, "the input"), "the input")
        return (value,), {"context": context} if self.wants_context else {}

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the result as JSON."""
        return codec.check_body(codec.dumps(result), "the result"), {"made-by": "fake"}


def step(function: Callable[..., Any], name: str = "pay.charge") -> Endpoint:
    """Return an endpoint whose handler takes the body's value."""
    return Endpoint(name, FakeHandler(function, inspect.iscoroutinefunction(function)))


def step_with_context(function: Callable[..., Any], name: str = "pay.charge") -> Endpoint:
    """Return an endpoint whose handler takes the body's value and the context."""
    return Endpoint(name, FakeHandler(function, inspect.iscoroutinefunction(function), True))


def request(number: int = 1, **fields: Any) -> StepRequest:
    """Return the request for the first attempt of a step of an execution."""
    values: dict[str, Any] = {
        "endpoint": "pay.charge",
        "body": b"5",
        "correlation": f"order-{number}/1/2/1",
        "reply_to": MAILBOX,
        "execution": f"order-{number}",
        "path": "steps/charge",
        **fields,
    }
    return StepRequest(**values)


class Line(MemoryBroker):
    """A connection that, once it is lost, comes back when it is opened, and no sooner."""

    def lost(self) -> None:
        """Take note, and stay away."""
        super().lost()
        if self._renewal is not None:
            self._renewal.cancel()


@dataclass
class OddBroker:
    """A connection that fails, waits or loses as a test says.

    Args:
        inner: The connection behind it.
        down: Whether publishing fails.
        settlements: What the next publications are answered with, instead of being published.
        gate: What publishing waits for after the message was passed on.
    """

    inner: MemoryBroker
    down: bool = False
    settlements: list[Settlement] = field(default_factory=list[Settlement])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        """Open the gate."""
        self.gate.set()

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self.inner.url

    async def open(self) -> None:
        """Connect."""
        await self.inner.open()

    async def close(self) -> None:
        """Disconnect."""
        await self.inner.close()

    @property
    def health(self) -> BrokerHealth:
        """How the connection is."""
        return self.inner.health

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Pass it on."""
        return self.inner.watch(notify)

    async def examine(self) -> Sequence[Finding]:
        """Pass it on."""
        return await self.inner.examine()

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Pass it on."""
        await self.inner.declare(topology, keep=keep)

    async def has_exchange(self, name: str) -> bool:
        """Pass it on."""
        return await self.inner.has_exchange(name)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, or do as the test says."""
        self.batches.append(len(publications))
        if self.down:
            closed = MemoryBroker(url=self.url)
            return await closed.publish(publications)
        if self.settlements:
            return [self.settlements.pop(0) for _ in publications]
        settlements = await self.inner.publish(publications)
        await self.gate.wait()
        return settlements

    async def consume(
        self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
    ) -> Subscription:
        """Pass it on."""
        return await self.inner.consume(queue, prefetch, receive)


class Shop:
    """A worker that runs, and its surroundings.

    Args:
        endpoints: What it serves.
        settings: How much it takes on.
        threads: Where synchronous handlers run.
        hub: The broker's server.
        inbox: Where effects happen exactly once.
    """

    def __init__(
        self,
        *endpoints: Endpoint,
        settings: WorkerSettings | None = None,
        threads: Threads | None = None,
        hub: Hub | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        self.hub = hub or Hub()
        self.clock = ManualClock()
        self.chance = CountingChance(first=10_000 if hub else 1)
        self.served = [endpoint.name for endpoint in endpoints]
        self.addresses = Addresses("shop")
        self.client = MemoryBroker(self.hub)
        self.broker = OddBroker(Line(self.hub))
        self.arrived: list[Envelope] = []
        self.publisher = Publisher(self.broker, self.clock, PublisherSettings(deadline_s=1000))
        self.worker = Worker(
            self.broker,
            self.publisher,
            self.addresses,
            {endpoint.name: endpoint for endpoint in endpoints},
            WorkerPorts(self.clock, self.chance, threads or InlineThreads(), inbox),
            settings,
        )

    @asynccontextmanager
    async def open(self, *, with_broker: bool = True) -> AsyncGenerator[Shop]:
        """Run the worker for as long as the block lasts, at first perhaps without a broker."""
        await self.client.open()
        if with_broker:
            await self.broker.open()
        await self.client.declare(self.addresses.exchanges())
        await self.listen(MAILBOX)
        async with TaskGroup() as group:
            group.start(self.publisher.run(), "publisher")
            group.start(self.worker.run(), "worker")
            if with_broker:
                await self.worker.wait_open()
            yield self
        await self.broker.close()
        await self.client.close()

    async def listen(self, queue: str) -> None:
        """Declare a queue and collect what arrives there."""
        exchange, key = self.addresses.route_to(queue)
        bindings = (Binding(queue, exchange, key),) if exchange else ()
        await self.client.declare(Topology(queues=(Queue(queue),), bindings=bindings))

        def receive(delivery: Delivery) -> None:
            self.arrived.append(delivery.envelope)
            delivery.ack()

        await self.client.consume(queue, 1000, receive)

    async def ask(self, *requests: StepRequest) -> None:
        """Send requests, and let happen what needs no time."""
        for each in requests:
            key = each.endpoint if each.endpoint in self.served else "pay.charge"
            await self._publish(key, each.envelope(self.chance.new_id()))
        await settle()

    async def put(self, *envelopes: Envelope) -> None:
        """Send messages as they are, and let happen what needs no time."""
        for each in envelopes:
            await self._publish("pay.charge", each)
        await settle()

    async def _publish(self, key: str, envelope: Envelope) -> None:
        publication = Publication(self.addresses.steps, key, envelope)
        assert await self.client.publish([publication]) == [Settlement.CONFIRMED]

    async def cancel(self, envelope: Envelope) -> None:
        """Tell the workers that something is not wanted any more."""
        await self.client.publish([Publication(self.addresses.cancel, "", envelope)])
        await settle()

    async def publish(self, topic: str, body: bytes = b"5", **headers: str) -> None:
        """Publish to a topic, as a step does."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        envelope = Envelope("topic", body, self.chance.new_id(), "", "", named)
        await self.client.publish(
            [Publication(self.addresses.topics, topic, envelope, mandatory=False)]
        )
        await settle()

    async def allow(self, asked: Envelope, *, is_granted: bool = True) -> None:
        """Answer a worker that has asked for a permit."""
        kind = "step.permit" if is_granted else "step.denied"
        permit = {"flow-permit": asked.headers["flow-permit"]}
        answer = Envelope(kind, b"null", self.chance.new_id(), asked.correlation_id, "", permit)
        queue = self.addresses.cancel_queue(asked.headers["flow-worker"])
        await self.client.publish([Publication("", queue, answer)])
        await settle()

    async def reconnect(self) -> None:
        """Lose the connection, and get another one."""
        self.hub.cut()
        await settle()
        await self.broker.open()
        await settle()

    def replies(self) -> list[StepReply]:
        """Return the replies that have arrived."""
        return [StepReply.read(each) for each in self.arrived if each.type == "step.reply"]

    def types(self) -> list[str]:
        """Return the types of the messages that have arrived."""
        return [each.type for each in self.arrived]

    def in_queue(self, queue: str = REQUESTS) -> tuple[int, int]:
        """Return how many messages of a queue wait, and how many are unsettled."""
        for stats in self.hub.stats().queues:
            if stats.name == queue:
                return stats.ready, stats.unsettled
        raise AssertionError(f"there is no queue {queue!r}")


class Noted:
    """A delivery that notes how it is settled.

    Args:
        envelope: The message.
        redelivered: Whether it came before.
    """

    def __init__(self, envelope: Envelope | None = None, *, redelivered: bool = False) -> None:
        self.envelope = envelope or request().envelope("m1")
        self.routing_key = "pay.charge"
        self.redelivered = redelivered
        self.settled: list[str] = []

    def ack(self) -> None:
        """Note it."""
        self.settled.append("ack")

    def requeue(self) -> None:
        """Note it."""
        self.settled.append("requeue")

    def reject(self) -> None:
        """Note it."""
        self.settled.append("reject")
