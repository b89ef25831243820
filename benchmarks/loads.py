"""Loads: so many calls, so many at once; and the conversation in which a process is told which.

Programs of other systems use it too, in environments of their own, so that it needs nothing but
the standard library.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypedDict

__all__ = ["Told", "conversation", "percentile", "run_load", "summary"]

WAITS = 1_000
"""Up to so many calls, each wait is told."""


class Told(TypedDict):
    """What a process tells of a load: times, and each wait if they are few."""

    p50_ms: float
    p99_ms: float
    seconds: float
    waits_ms: list[float]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of all values do not exceed.

    Args:
        values: The values, of which there is at least one.
        share: The share, such as 0.99.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def summary(seconds: float, waits: Sequence[float]) -> Told:
    """Return what a load is described by.

    Args:
        seconds: How long all of its calls took together.
        waits: How long each one took.
    """
    return {
        "p50_ms": percentile(waits, 0.5) * 1e3,
        "p99_ms": percentile(waits, 0.99) * 1e3,
        "seconds": seconds,
        "waits_ms": [wait * 1e3 for wait in waits] if len(waits) <= WAITS else [],
    }


async def run_load(call: Callable[[int], Awaitable[None]], count: int, at_once: int) -> Told:
    """Make calls, a new one as soon as one has ended.

    Args:
        call: Makes the call of a number.
        count: How many.
        at_once: How many at the same time, at most.

    Returns:
        What `summary` says of them.
    """
    waits: list[float] = []
    numbers = itertools.count()

    async def caller() -> None:
        while (number := next(numbers)) < count:
            began = time.perf_counter()
            await call(number)
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(min(at_once, count))))
    return summary(time.perf_counter() - began, waits)


async def conversation(run: Callable[[int, int], Awaitable[Told]]) -> None:
    """Say that it is ready, then run each load that is asked for, until nothing more comes.

    Args:
        run: Runs a load, given how many calls and how many at once.
    """
    _answer({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        load = json.loads(line)
        _answer(await run(load["count"], load["at_once"]))


def _answer(told: Told | dict[str, bool]) -> None:
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()
