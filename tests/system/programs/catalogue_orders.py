"""An orchestrator whose workflow names steps of services that it knows nothing of."""

import asyncio
import logging
import signal
import sys

import anyio

from flow import Flow

app = Flow("bazaar")
checkout = app.workflow("checkout", "ship", output="ship")


async def main() -> None:
    """Orchestrate until it is asked to stop."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with app.play("orchestrator"):
            sys.stdout.write("ready\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    asyncio.run(main())
