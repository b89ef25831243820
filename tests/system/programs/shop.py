"""The owner of a flow that has a workflow and serves nothing: `shop.py`."""

import asyncio
import signal
import sys

import anyio

from flow import Flow, Step

app = Flow("shop")
charge = Step.call("payments.charge")
deliver = Step.call("shipping.deliver", requires=[charge], input={"receipt": charge.output})
purchase = app.workflow("purchase", charge, deliver, output=deliver)
payment = app.workflow("payment", charge, output=charge)


async def main() -> None:
    """Orchestrate until it is asked to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with app:
            sys.stdout.write("owner\n" if not app.joined else "joined\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    asyncio.run(main())
