"""The orchestrator that plain clients talk to: it knows one workflow, and serves nothing."""

import asyncio
import signal
import sys

import anyio

from flow import Flow, RetryPolicy, Step

app = Flow("plain")
reserve = Step.call("inventory.reserve")
charge = Step.call(
    "payments.charge",
    input={"hold": reserve.output.hold, "total": reserve.output.total},
    requires=[reserve],
    retry=RetryPolicy(max_attempts=3, initial=0.1),
)
app.workflow("order", reserve, charge, output=charge)


async def main() -> None:
    """Take part until it is asked to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with app.play("orchestrator"):
            sys.stdout.write("ready\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    asyncio.run(main())
