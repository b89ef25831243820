"""A service that ships what others have reserved and charged for; it knows them by name only."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

import anyio

from flow import Flow

app = Flow("bazaar")


@dataclass
class Reserved:
    """What this service reads of what is reserved."""

    goods: str
    pid: int


@app.service("shipping").step(requires=["reserve", "charge"])
async def ship(order: str, reserve: Reserved, charge: int) -> list[object]:
    """Ship."""
    return [order, reserve.goods, charge, reserve.pid, os.getpid()]


async def main() -> None:
    """Work until it is asked to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with app.play("worker"):
            sys.stdout.write("ready\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    asyncio.run(main())
