"""What the processes of a test say about themselves, by way of `flow … --health-port 0`."""

import asyncio
import re
from typing import Any

import anyio

from flow.cli.web import fetch
from tests.system.processes import Child, Crew

WITHIN_S = 10.0
PAUSE_S = 0.05


def play(crew: Crew, role: str, program: str) -> Child:
    """Start a program with the command line, and have it tell how it is.

    Args:
        crew: Where to start it.
        role: What it plays: `orchestrator` or `worker`.
        program: Which, as `module.path:app`.
    """
    return crew.run("-m", "flow", role, program, "--health-port", "0")


async def worker_of(child: Child) -> dict[str, Any]:
    """Return what the worker of a process does, and has done: see `WorkerSnapshot`.

    Args:
        child: A process that `play` has started.
    """
    line = await child.says("health:")
    found = re.search(r":(\d+)/health", line)
    assert found is not None, line
    answer = await fetch("127.0.0.1", int(found[1]), "/health", WITHIN_S)
    document: dict[str, Any] = answer.document["worker"]
    return document


async def worker_counts(child: Child, what: str, count: int, within_s: float) -> dict[str, Any]:
    """Wait until a worker has counted so much of something; return all that it counts.

    Args:
        child: A process that `play` has started.
        what: What it counts.
        count: So much, at least.
        within_s: Seconds until the test fails.
    """
    with anyio.fail_after(within_s):
        while True:
            found = await worker_of(child)
            if found[what] >= count:
                return found
            await asyncio.sleep(PAUSE_S)
