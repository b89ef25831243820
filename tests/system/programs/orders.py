"""Two hundred executions of three steps each, until it is stopped: `orders.py`.

It starts all of them each time, which is idempotent. `orders.py:app` is the application itself.
"""

import asyncio
import os
import signal
import sys

import anyio

from flow import Flow, StepContext
from tests.system import effects

EXECUTIONS = [f"order-{number:03}" for number in range(200)]

app = Flow("orders")


async def act(context: StepContext) -> str:
    """Have one effect, and take a moment until it is told."""
    effect = {"execution": context.execution_id, "step": context.step_id, "pid": os.getpid()}
    effects.append(effects.effects_file(), effect)
    await asyncio.sleep(0.003)
    return context.idempotency_key


@app.step
async def reserve(number: int, context: StepContext) -> str:
    """Do the first thing."""
    return await act(context)


@app.step(requires=[reserve])
async def charge(number: int, context: StepContext) -> str:
    """Do the second thing."""
    return await act(context)


@app.step(requires=[charge])
async def ship(number: int, context: StepContext) -> str:
    """Do the last thing."""
    return await act(context)


order = app.workflow("order", reserve, charge, ship, output=ship)


async def place(number: int, name: str) -> None:
    """Start one execution, tell when that is durable, and wait for its end."""
    execution = await order.execute(number, id=name)
    sys.stdout.write(f"accepted {name}\n")
    await execution.result()


async def place_all() -> None:
    """Start all executions, and tell when all have ended."""
    async with anyio.create_task_group() as group:
        for number, name in enumerate(EXECUTIONS):
            group.start_soon(place, number, name)
    sys.stdout.write("finished\n")


async def main() -> None:
    """Do all of it, and leave in order when it is asked to."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        sys.stdout.write("ready\n")
        async with app, anyio.create_task_group() as group:
            group.start_soon(place_all)
            async for _ in signals:
                break
            group.cancel_scope.cancel()


if __name__ == "__main__":
    asyncio.run(main())
