"""One process of a flow whose servers come and go: `outage.py orchestrator` or `outage.py worker`.

The workflow is a chain of eight steps that take their time, so that whatever breaks, something is
in the middle of it. The broker and the store are those of the environment.
"""

import asyncio
import os
import signal
import sys
from typing import Any

import anyio

from flow import Flow, Step, StepContext
from tests.system import effects

NAMESPACE = "outage"
WORKFLOW = "chain"
STEPS = tuple(f"step-{number}" for number in range(1, 9))
TAKES_S = float(os.environ.get("FLOW_TEST_TAKES_S", "3"))
CONCURRENCY = 150


async def act(request: dict[str, str], context: StepContext) -> str:
    """Take a moment, then have one effect."""
    await asyncio.sleep(TAKES_S)
    effect = {"execution": context.execution_id, "step": request["step"], "pid": os.getpid()}
    effects.append(effects.effects_file(), effect)
    return context.idempotency_key


def application(role: str) -> Flow:
    """Return what a role runs.

    Args:
        role: `worker` or `orchestrator`.
    """
    app = Flow(NAMESPACE, concurrency=CONCURRENCY)
    if role == "worker":
        app.service("chain").endpoint(act)
        return app.play("worker")
    steps: list[Step[Any]] = []
    for name in STEPS:
        steps.append(Step.call("chain.act", id=name, requires=steps[-1:], input={"step": name}))
    app.workflow(WORKFLOW, *steps, output=steps[-1])
    return app.play("orchestrator")


async def main(role: str) -> None:
    """Take part until it is asked to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with application(role):
            sys.stdout.write("ready\n")
            async for _ in signals:
                break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
