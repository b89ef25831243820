"""A worker, a trigger and control with nothing but an AMQP client, by `docs/protocol.md`.

    python python_client.py URL

It prints one JSON object that tells what it saw. There is not one import of flowmq in it.
"""

import asyncio
import json
import sys
import uuid
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

NAMESPACE = "plain"
QUEUE: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 100_000,
    "x-dead-letter-exchange": f"{NAMESPACE}.dead",
}
TEXT = "application/json"


class PlainClient:
    """Speaks to a flow by messages alone."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._reply_to = f"{NAMESPACE}.reply.{uuid.uuid4().hex}"
        self._answers: dict[str, asyncio.Future[AbstractIncomingMessage]] = {}
        self.attempts: list[str] = []
        self.gate = asyncio.Event()

    async def open(self) -> None:
        """Receive answers in a queue of its own."""
        queue = await self._channel.declare_queue(self._reply_to, exclusive=True)
        await queue.consume(self._take_answer)

    async def _take_answer(self, message: AbstractIncomingMessage) -> None:
        await message.ack()
        future = self._answers.get(message.correlation_id or "")
        if future is not None and not future.done():
            future.set_result(message)

    async def publish(self, exchange: str, key: str, message: aio_pika.Message) -> None:
        """Publish a message, and wait until the broker has it."""
        target = (
            await self._channel.get_exchange(exchange, ensure=False)
            if exchange
            else self._channel.default_exchange
        )
        await target.publish(message, key)

    # ------------------------------------------------------------------------- the worker

    async def serve(self, endpoint: str) -> None:
        """Take the requests of an endpoint; several workers share the queue of its service."""
        service = endpoint.split(".", maxsplit=1)[0]
        queue = await self._channel.declare_queue(
            f"{NAMESPACE}.steps.{service}", durable=True, arguments=QUEUE
        )
        await queue.bind(f"{NAMESPACE}.steps", endpoint)
        await queue.consume(self._work)

    async def _work(self, request: AbstractIncomingMessage) -> None:
        endpoint = str(request.headers["flow-endpoint"])
        attempt = int(str(request.headers["flow-attempt"]))
        self.attempts.append(f"{endpoint} {attempt}")
        if endpoint == "inventory.reserve":
            await self.gate.wait()
        body = json.loads(request.body)
        result, outcome = self._handle(endpoint, attempt, body)
        reply = aio_pika.Message(
            json.dumps(result).encode(),
            type="step.reply",
            message_id=uuid.uuid4().hex,
            correlation_id=request.correlation_id,
            content_type=TEXT,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers={"flow-outcome": outcome, "tenant": str(request.headers.get("tenant", ""))},
        )
        # First the reply is confirmed, then the request is acknowledged.
        await self.publish("", request.reply_to or "", reply)
        await request.ack()

    def _handle(self, endpoint: str, attempt: int, body: Any) -> tuple[Any, str]:
        if endpoint == "inventory.reserve":
            return {"hold": f"h-{body['total']}", "total": body["total"]}, "success"
        if attempt == 1:
            return {"type": "BankError", "message": "the bank is away"}, "failure"
        return {"receipt": f"{body['hold']}/{body['total']}"}, "success"

    # -------------------------------------------------------------------- whoever asks

    async def trigger(self, workflow: str, body: Any, headers: dict[str, str]) -> Any:
        """Start a workflow, and return the answer: that it began, or how it ended."""
        return await self._ask(f"{NAMESPACE}.trigger", workflow, "", body, headers)

    async def request(self, verb: str, execution: str, body: Any) -> Any:
        """Ask for something; it is not known which orchestrator owns the execution."""
        headers = {"flow-execution": execution, "flow-actor": "a plain client"}
        return await self._ask(f"{NAMESPACE}.control", "", f"request.{verb}", body, headers)

    async def _ask(
        self, exchange: str, key: str, kind: str, body: Any, headers: dict[str, str]
    ) -> Any:
        correlation = uuid.uuid4().hex
        answered: asyncio.Future[AbstractIncomingMessage] = asyncio.Future()
        self._answers[correlation] = answered
        message = aio_pika.Message(
            json.dumps(body).encode(),
            type=kind or None,
            message_id=uuid.uuid4().hex,
            correlation_id=correlation,
            reply_to=self._reply_to,
            content_type=TEXT,
            headers=dict(headers),
        )
        await self.publish(exchange, key, message)
        answer = await asyncio.wait_for(answered, 30)
        document = json.loads(answer.body)
        if answer.headers["flow-outcome"] == "failure":
            return {"error": document["type"]}
        return document


async def until_suspended(client: PlainClient, execution: str) -> str:
    """Ask again until an execution is suspended; return its status."""
    for _ in range(500):
        status = str((await client.request("show", execution, {}))["status"])
        if status != "SUSPENDING":
            return status
        await asyncio.sleep(0.02)
    return "never"


async def play(client: PlainClient) -> dict[str, Any]:
    """Do what a plain client can do, and return what came of it."""
    await client.open()
    for endpoint in ("inventory.reserve", "payments.charge"):
        await client.serve(endpoint)
    client.gate.set()
    waits = {"flow-id": "first", "flow-wait": "result", "tenant": "t1"}
    seen: dict[str, Any] = {"result": await client.trigger("order", {"total": 5}, waits)}
    seen["again"] = await client.trigger("order", {"total": 5}, waits)
    seen["conflict"] = await client.trigger("order", {"total": 6}, waits)
    seen["unknown"] = await client.trigger("odrer", {}, {"flow-id": "third"})
    client.gate.clear()
    before = len(client.attempts)
    seen["accepted"] = await client.trigger("order", {"total": 7}, {"flow-id": "second"})
    suspend = {"command": "s-1", "reason": "stocktaking"}
    seen["suspend"] = await client.request("suspend", "second", suspend)
    client.gate.set()
    seen["suspended"] = await until_suspended(client, "second")
    seen["attempts while suspended"] = client.attempts[before:]
    seen["resume"] = await client.request("resume", "second", {"command": "r-1"})
    seen["late"] = await client.request("suspend", "second", suspend)
    seen["second"] = await client.request("result", "second", {"durable": True})
    seen["nobody"] = await client.request("abort", "nobody", {"command": "a-1"})
    seen["attempts"] = client.attempts
    return seen


async def main(url: str) -> None:
    """Connect, play, and print what was seen."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.set_qos(prefetch_count=10)
        seen = await play(PlainClient(channel))
    sys.stdout.write(f"seen {json.dumps(seen)}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
