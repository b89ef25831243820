"""Calls over RabbitMQ by the floor: `python -m benchmarks.floor.rpc server|client URL`.

It does the same as `benchmarks/programs/rpc.py`, with as little as possible.
"""

import asyncio
import sys

from benchmarks.floor.wire import Message, Wire, connect, consume, declare, route_to, short
from benchmarks.loads import conversation, run_load

__all__ = ["main"]

QUEUE = "floor.requests"
ANSWERS = "floor.answers"
PREFETCH = 500
BODY = b'"' + b"x" * 254 + b'"'


async def serve(wire: Wire) -> None:
    """Answer for ever."""
    await declare(wire, QUEUE)
    routes: dict[str, bytes] = {}

    def receive(message: Message) -> None:
        tag, correlation_id, reply_to, body = message
        route = routes.get(reply_to) or routes.setdefault(reply_to, route_to(reply_to))
        wire.publish(route, body, correlation_id, b"", lambda: wire.ack(tag))

    await consume(wire, QUEUE, PREFETCH, receive)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def call_for_ever(wire: Wire) -> None:
    """Call as it is told to."""
    await declare(wire, ANSWERS, exclusive=True)
    waiting: dict[str, asyncio.Future[None]] = {}
    loop = asyncio.get_running_loop()
    route, reply_to = route_to(QUEUE), short(ANSWERS)

    def receive(message: Message) -> None:
        wire.ack(message[0])
        waiting.pop(message[1]).set_result(None)

    async def call(number: int) -> None:
        name = str(number)
        answered = waiting[name] = loop.create_future()
        confirmed: asyncio.Future[None] = loop.create_future()
        wire.publish(route, BODY, name, reply_to, lambda: confirmed.set_result(None))
        await confirmed
        await answered

    await consume(wire, ANSWERS, PREFETCH, receive)
    await conversation(lambda count, at_once: run_load(call, count, at_once))


async def main(role: str, url: str) -> None:
    """Play a role.

    Args:
        role: `server` or `client`.
        url: The broker.
    """
    wire = await connect(url)
    await (serve if role == "server" else call_for_ever)(wire)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
