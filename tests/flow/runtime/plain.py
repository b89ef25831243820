"""A plain client: somebody who speaks to the broker of a harness with messages alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from brokers.memory.broker import MemoryBroker
from flow import codec
from flow.ports import Delivery, Envelope, Publication, Queue, Settlement, Topology
from flow.testing import FlowHarness

NAMESPACE = "world"
REPLY_TO = f"{NAMESPACE}.reply.plain"


class PlainClient:
    """Publishes messages and keeps the answers, newest last."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.answers: list[Envelope] = []
        self.dead: list[Delivery] = []
        self._numbers = count(1)

    async def publish(self, exchange: str, key: str, envelope: Envelope) -> Settlement:
        """Publish one message."""
        (settlement,) = await self.broker.publish([Publication(exchange, key, envelope)])
        return settlement

    async def trigger(
        self,
        workflow: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        reply_to: str = REPLY_TO,
        message_id: str = "",
    ) -> str:
        """Trigger a workflow; return the correlation id."""
        correlation = f"c-{next(self._numbers)}"
        envelope = Envelope("", body, message_id, correlation, reply_to, dict(headers or {}))
        await self.publish(f"{NAMESPACE}.trigger", workflow, envelope)
        return correlation

    async def ask(
        self,
        verb: str,
        /,
        execution: str = "",
        reply_to: str = REPLY_TO,
        **arguments: Any,
    ) -> str:
        """Ask for something by way of the control queue; return the correlation id."""
        correlation = f"c-{next(self._numbers)}"
        headers = {"flow-execution": execution} if execution else {}
        body = codec.dumps(arguments)
        message = f"m-{correlation}"
        envelope = Envelope(f"request.{verb}", body, message, correlation, reply_to, headers)
        await self.publish(f"{NAMESPACE}.control", "", envelope)
        return correlation

    def answers_to(self, correlation: str) -> list[tuple[str, Any]]:
        """Return the outcomes and bodies of the answers to one question."""
        return [
            (answer.headers["flow-outcome"], codec.loads(answer.body))
            for answer in self.answers
            if answer.correlation_id == correlation
        ]

    def reasons(self) -> list[str]:
        """Return why messages are dead."""
        return [letter.envelope.headers["flow-reason"] for letter in self.dead]


@asynccontextmanager
async def plain_client(test: FlowHarness) -> AsyncGenerator[PlainClient]:
    """Connect a plain client to the broker of a harness."""
    client = PlainClient(MemoryBroker(test._hub))

    def receive(delivery: Delivery) -> None:
        delivery.ack()
        client.answers.append(delivery.envelope)

    def bury(delivery: Delivery) -> None:
        delivery.ack()
        client.dead.append(delivery)

    await client.broker.open()
    await client.broker.declare(Topology(queues=(Queue(REPLY_TO, exclusive=True),)))
    await client.broker.consume(REPLY_TO, 100, receive)
    await client.broker.consume(f"{NAMESPACE}.dead", 100, bury)
    yield client
    await client.broker.close()
