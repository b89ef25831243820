"""Calls over RabbitMQ through the adapter alone: `rpc.py server|client URL`.

The server publishes what it was sent, and acknowledges once that is confirmed. The client is told
loads in a conversation (`benchmarks.loads`); a call has ended when its publication is confirmed
and its answer is there.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable

from benchmarks.loads import conversation, run_load
from brokers.rabbitmq import RabbitBroker
from flow.ports import Delivery, Envelope, Publication, Queue, Settlement, Topology
from flow.runtime.tasks import TaskGroup

__all__ = ["BODY", "Pump", "main"]

QUEUE = "rpc.requests"
PREFETCH = 500
LANES = 4
BODY = b'"' + b"x" * 254 + b'"'


class Pump:
    """Publishes in one call whatever waits, in a few calls at the same time.

    Args:
        broker: The broker.
    """

    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker
        self._waiting: deque[tuple[Publication, Callable[[], None]]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()

    def send(self, publication: Publication, confirmed: Callable[[], None]) -> None:
        """Publish soon, and call back when the broker has it."""
        self._waiting.append((publication, confirmed))
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    async def run(self) -> None:
        """Publish until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                idle: asyncio.Future[None] = loop.create_future()
                self._idle.append(idle)
                await idle
                continue
            batch, self._waiting = self._waiting, deque()
            settlements = await self._broker.publish([publication for publication, _ in batch])
            for settlement, (_, confirmed) in zip(settlements, batch, strict=True):
                if settlement is not Settlement.CONFIRMED:
                    raise RuntimeError(f"the broker has settled it as {settlement}")
                confirmed()


async def serve(broker: RabbitBroker, pump: Pump) -> None:
    """Answer for ever."""
    await broker.declare(Topology(queues=(Queue(QUEUE),)))

    def receive(delivery: Delivery) -> None:
        request = delivery.envelope
        answer = Envelope("rpc.answer", request.body, correlation_id=request.correlation_id)
        pump.send(Publication("", request.reply_to, answer), delivery.ack)

    await broker.consume(QUEUE, PREFETCH, receive)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def call_for_ever(broker: RabbitBroker, pump: Pump) -> None:
    """Call as it is told to."""
    answers = "rpc.answers"
    await broker.declare(Topology(queues=(Queue(answers, exclusive=True),)))
    waiting: dict[str, asyncio.Future[None]] = {}
    loop = asyncio.get_running_loop()

    def receive(delivery: Delivery) -> None:
        delivery.ack()
        waiting.pop(delivery.envelope.correlation_id).set_result(None)

    async def call(number: int) -> None:
        name = str(number)
        answered = waiting[name] = loop.create_future()
        confirmed: asyncio.Future[None] = loop.create_future()
        envelope = Envelope("rpc.request", BODY, correlation_id=name, reply_to=answers)
        pump.send(Publication("", QUEUE, envelope), lambda: confirmed.set_result(None))
        await confirmed
        await answered

    await broker.consume(answers, PREFETCH, receive)
    await conversation(lambda count, at_once: run_load(call, count, at_once))


async def main(role: str, url: str) -> None:
    """Play a role.

    Args:
        role: `server` or `client`.
        url: The broker.
    """
    broker = RabbitBroker(url)
    await broker.open()
    pump = Pump(broker)
    try:
        async with TaskGroup() as tasks:
            for number in range(LANES):
                tasks.start(pump.run(), f"pump {number}")
            await (serve if role == "server" else call_for_ever)(broker, pump)
    finally:
        await broker.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
