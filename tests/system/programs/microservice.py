"""A microservice that joins a flow: `microservice.py SERVICE METHOD [stuck]`.

It knows the names of the flow and of the service, and nothing of any workflow. When the owner of
the flow is gone it waits for the next one. A stuck one never ends what it has begun.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio

from flow import Flow, StepContext, UnavailableError

EFFECTS = Path(os.environ["FLOW_TEST_EFFECTS"])
PAUSE_S = 0.02


def append(effect: dict[str, Any]) -> None:
    """Write one effect."""
    with EFFECTS.open("a") as file:
        file.write(f"{json.dumps(effect)}\n")


def serve(service: str, method: str, *, is_stuck: bool) -> Flow:
    """Return an application that serves one endpoint, and nothing else."""
    app = Flow("shop").play("worker")

    async def work(request: Any, context: StepContext) -> dict[str, Any]:
        """Have one effect, and say who had it."""
        who = {"execution": context.execution_id, "attempt": context.attempt, "pid": os.getpid()}
        append({"endpoint": context.endpoint, **who})
        if is_stuck:
            await asyncio.Event().wait()
        return {"pid": os.getpid(), "request": request}

    work.__name__ = method
    app.service(service).endpoint(work)
    return app


async def work_on(app: Flow) -> None:
    """Take part for as long as there is somebody to take part with; then look for the next."""
    while True:
        try:
            async with app:
                sys.stdout.write("joined\n" if app.joined else "owner\n")
                await app.lost()
        except UnavailableError as error:
            sys.stdout.write(f"waits {error}\n")
            await asyncio.sleep(PAUSE_S)


async def main(service: str, method: str, *, is_stuck: bool) -> None:
    """Work until it is asked to stop."""
    app = serve(service, method, is_stuck=is_stuck)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(work_on, app)
            async for _ in signals:
                break
            group.cancel_scope.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], is_stuck="stuck" in sys.argv[3:]))
