"""Starts RabbitMQ and PostgreSQL in temporary folders, until Ctrl-C: `python -m tests.servers`.

What it prints can be pasted into another terminal. Nothing of it is kept.
"""

import asyncio
import contextlib
import signal
import sys

from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer


async def start(rabbitmq: RabbitServer, postgres: PostgresServer) -> None:
    """Start both, and say where they are."""
    await asyncio.gather(rabbitmq.start(), postgres.start())
    lines = (
        f"export FLOW_BROKER={rabbitmq.url}",
        f"export FLOW_STORE={postgres.url}",
        "",
        "Paste these two lines into other terminals. Ctrl-C stops both servers, and forgets all.",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Start both servers, and stop them at Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rabbitmq, postgres = RabbitServer(), PostgresServer()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(start(rabbitmq, postgres))
            signal.pause()
    finally:
        rabbitmq.close()
        postgres.close()


if __name__ == "__main__":
    main()
