"""One process of a laboratory that is spread over several: `cluster.py ROLE`.

The broker and the store are those of the environment. Workers know no workflow.
"""

import asyncio
import signal
import sys

import anyio

from flow import Flow
from tests.system import wfinstances
from tests.system.programs.science import Laboratory


def application(role: str) -> Flow:
    """Return what a role runs.

    Args:
        role: `worker` or `orchestrator`.
    """
    app = Flow("science")
    if role == "worker":
        nothing = wfinstances.Graph("any", {})
        app.service("science").endpoint(Laboratory(nothing, 0).run)
        return app.play("worker")
    for name in wfinstances.names():
        wfinstances.define(app, wfinstances.load(name))
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
