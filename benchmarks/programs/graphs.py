"""Runs a workflow of no-op steps once, and says what each step took: `graphs.py SHAPE SIZE`."""

import asyncio
import sys
import time

import orjson

from benchmarks.subjects.planning import requirements
from flow import Flow, Step

app = Flow("bench")


@app.endpoint
async def work() -> None:
    """Do nothing."""


async def main(shape: str, size: int) -> None:
    """Run the workflow, and print its numbers."""
    steps = [
        Step.call("bench.work", id=name, requires=before, input={})
        for name, before in requirements(shape, size)
    ]
    workflow = app.workflow("graph", *steps, output=steps[-1])
    async with app:
        began, cpu = time.perf_counter(), time.process_time()
        await workflow.run()
        seconds = time.perf_counter() - began
        spent = time.process_time() - cpu
    found = {"CPU µs a step": spent / size * 1e6, "µs a step": seconds / size * 1e6}
    sys.stdout.buffer.write(orjson.dumps(found) + b"\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
