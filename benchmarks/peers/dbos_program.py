"""Both workflows on DBOS: `dbos_program.py URL three|fan threads|coroutines`.

Its steps are functions of its one process, and each is recorded in the database when it has ended.
"""

# Its packages are in an environment of their own, which the checkers do not see.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false

import asyncio
import sys
import time

from dbos import DBOS

from benchmarks.loads import Told, conversation, run_load, summary

LEGS = 10


@DBOS.step()
def add(number: int) -> int:
    """Return one more than a number."""
    return number + 1


@DBOS.workflow()
def three(number: int) -> int:
    """Run three steps in a row, on a thread."""
    return add(add(add(number)))


@DBOS.step()
async def increase(number: int) -> int:
    """Return one more than a number."""
    return number + 1


@DBOS.step()
async def add_up(numbers: list[int]) -> int:
    """Return the sum of numbers."""
    return sum(numbers)


@DBOS.workflow()
async def three_coroutines(number: int) -> int:
    """Run three steps in a row, on the event loop."""
    return await increase(await increase(await increase(number)))


@DBOS.workflow()
async def fan(number: int) -> int:
    """Run ten steps side by side, and one that adds up what they return."""
    return await add_up(await asyncio.gather(*(increase(number) for _ in range(LEGS))))


def run_threads(count: int, at_once: int) -> Told:
    """Run workflows on threads: all are started, then all are waited for."""
    began = time.perf_counter()
    waits = []
    if at_once == 1:
        for number in range(count):
            start = time.perf_counter()
            check(three(number), number + 3)
            waits.append(time.perf_counter() - start)
    else:
        handles = [DBOS.start_workflow(three, number) for number in range(count)]
        for number, handle in enumerate(handles):
            check(handle.get_result(), number + 3)
            waits.append(time.perf_counter() - began)
    return summary(time.perf_counter() - began, waits)


def check(result: int, expected: int) -> None:
    """Fail if a result is wrong."""
    if result != expected:
        raise AssertionError(f"{result} instead of {expected}")


async def main(url: str, kind: str, style: str) -> None:
    """Run what is asked for."""
    # What is asked for in production: nothing is recovered from other runs, and it logs errors.
    config = {
        "name": "benchmark",
        "system_database_url": url,
        "log_level": "ERROR",
        "application_version": "1",
        "executor_id": "benchmark",
    }
    DBOS(config=config)
    DBOS.launch()
    workflow = fan if kind == "fan" else three_coroutines

    async def call(number: int) -> None:
        expected = LEGS * (number + 1) if kind == "fan" else number + 3
        handle = await DBOS.start_workflow_async(workflow, number)
        check(await handle.get_result(), expected)

    async def run(count: int, at_once: int) -> Told:
        if style == "threads":
            return await asyncio.to_thread(run_threads, count, at_once)
        return await run_load(call, count, at_once)

    await conversation(run)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
