"""A flow in one process whose store is full: `stored.py three|later|soon|takeover`.

`three` runs executions of three steps, as it is told; `later` and `soon` leave an execution that
waits for its next attempt, for a day or for a second; `takeover` begins, and says when it was
ready and when the execution of `soon` went on.
"""

import asyncio
import sys
import time

import orjson

from benchmarks.loads import conversation, run_load
from flow import Flow, RetryPolicy, Status, StepContext

app = Flow("stored")
went_on = asyncio.Event()


@app.step
async def first(start: int) -> int:
    """Return one more than the input."""
    return start + 1


@app.step(requires=[first])
async def second(first: int) -> int:
    """Return one more than the first step."""
    return first + 1


@app.step(requires=[second])
async def third(second: int) -> int:
    """Return one more than the second step."""
    return second + 1


@app.step(retry=RetryPolicy(max_attempts=2, initial=86_400, maximum=86_400, jitter=0))
async def later() -> None:
    """Fail, to be tried again in a day."""
    raise ValueError("later")


@app.step(retry=RetryPolicy(max_attempts=2, initial=1, jitter=0))
async def soon(context: StepContext) -> None:
    """Fail, to be tried again in a second; then succeed."""
    if context.attempt == 1:
        raise ValueError("soon")
    went_on.set()


three_workflow = app.workflow("three", first, second, third, output=third)
later_workflow = app.workflow("later", later)
soon_workflow = app.workflow("soon", soon)


async def run() -> None:
    """Run executions of three steps, as many as are asked for."""

    async def one(number: int) -> None:
        await three_workflow.run(number)

    async with app:
        await conversation(lambda count, at_once: run_load(one, count, at_once))


async def leave(kind: str) -> None:
    """Leave an execution that waits."""
    workflow = later_workflow if kind == "later" else soon_workflow
    async with app:
        execution = await workflow.execute(id=kind)
        async for _ in execution:
            if (await execution.steps())[kind] is Status.RETRYING:
                break
    print(orjson.dumps({"left": 1}).decode(), flush=True)


async def take_over() -> None:
    """Begin, and say how long it took."""
    began = time.perf_counter()
    async with app:
        ready = time.perf_counter() - began
        await went_on.wait()
        due = time.perf_counter() - began
        print(orjson.dumps({"ready ms": ready * 1e3, "due ms": due * 1e3}).decode(), flush=True)


if __name__ == "__main__":
    kind = sys.argv[1]
    mains = {"three": run, "takeover": take_over}
    asyncio.run(mains[kind]() if kind in mains else leave(kind))
