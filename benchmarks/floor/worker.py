"""The floor's worker: adds one, publishes the reply, and acknowledges once that is confirmed.

`python -m benchmarks.floor.worker URL` goes on until it is ended.
"""

import asyncio
import sys

import orjson

from benchmarks.floor.wire import Message, connect, consume, declare, route_to

__all__ = ["INBOX", "STEPS", "work"]

STEPS = "floor.steps"
INBOX = "floor.inbox"
PREFETCH = 500


async def work(url: str) -> None:
    """Answer requests for ever.

    Args:
        url: The broker.
    """
    publishing, consuming = await connect(url), await connect(url)
    for queue in (STEPS, INBOX):
        await declare(consuming, queue)
    routes: dict[str, bytes] = {}

    def receive(message: Message) -> None:
        tag, correlation_id, reply_to, body = message
        route = routes.get(reply_to) or routes.setdefault(reply_to, route_to(reply_to))
        output = orjson.dumps({"output": orjson.loads(body)["input"] + 1})
        publishing.publish(route, output, correlation_id, b"", lambda: consuming.ack(tag))

    await consume(consuming, STEPS, PREFETCH, receive)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
