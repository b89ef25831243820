"""Starts many executions that do not end, and says what memory each takes: `crowd.py KIND COUNT`.

`live`: an attempt of each is out, and its handler waits. `waiting`: each waits for a day for its
next attempt.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path

import orjson

from flow import Flow, RetryPolicy, Workflow

_AT_ONCE = 500
_PAGE = os.sysconf("SC_PAGE_SIZE")

COUNT = int(sys.argv[2])
app = Flow("crowd", concurrency=COUNT + _AT_ONCE)
begun = asyncio.Semaphore(0)


@app.step
async def live() -> None:
    """Begin, and wait for ever."""
    begun.release()
    await asyncio.Event().wait()


@app.step(retry=RetryPolicy(max_attempts=2, initial=86_400, maximum=86_400, jitter=0))
async def waiting() -> None:
    """Fail, to be tried again in a day."""
    begun.release()
    raise ValueError("later")


live_workflow = app.workflow("live", live)
waiting_workflow = app.workflow("waiting", waiting)


async def crowd(workflow: Workflow[None], count: int) -> None:
    """Start executions, and wait until each has begun its step and what followed is written."""
    for first in range(0, count, _AT_ONCE):
        size = min(_AT_ONCE, count - first)
        await asyncio.gather(*(workflow.execute() for _ in range(size)))
        for _ in range(size):
            await begun.acquire()
    await app.executions.list(limit=1)


def resident_bytes() -> int:
    """Return the memory of this process that is in use."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


async def main(kind: str) -> None:
    """Measure, print, and end without waiting for what does not end."""
    workflow = live_workflow if kind == "live" else waiting_workflow
    async with app:
        await crowd(workflow, _AT_ONCE)
        before = resident_bytes()
        await crowd(workflow, COUNT)
        found = {"bytes each": (resident_bytes() - before) / COUNT}
        sys.stdout.buffer.write(orjson.dumps(found) + b"\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
