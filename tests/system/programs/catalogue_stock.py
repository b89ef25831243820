"""A service that reserves and charges, and knows no workflow: `catalogue_stock.py [VERSION]`."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

import anyio

from flow import Flow, RetryPolicy

VERSION = sys.argv[1] if len(sys.argv) > 1 else "1"
app = Flow("bazaar")
stock = app.service("stock")


@dataclass
class Hold:
    """What is reserved."""

    goods: str
    pid: int


@stock.step(timeout=float(VERSION))
async def reserve(order: str) -> Hold:
    """Reserve what was ordered."""
    return Hold(goods=order, pid=os.getpid())


@app.service("payments").step(requires=[reserve], retry=RetryPolicy(max_attempts=2))
def charge(reserve: Hold) -> int:
    """Charge for what is reserved."""
    return len(reserve.goods)


async def main() -> None:
    """Work until it is asked to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with app.play("worker"):
            sys.stdout.write("ready\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    asyncio.run(main())
