"""A service that declares a step of an id which another service has: it must not go on."""

import asyncio
import sys

from flow import Flow

app = Flow("bazaar")


@app.service("depot").step
async def reserve(order: str) -> str:
    """Reserve something else."""
    return order


async def main() -> None:
    """Work for ever, if it may."""
    async with app.play("worker"):
        sys.stdout.write("ready\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
