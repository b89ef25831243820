"""Loads: how many calls are made, how many at once, and what is said of them."""

import asyncio

import pytest

from benchmarks.loads import WAITS, percentile, run_load, summary


async def test_so_many_calls_so_many_at_once() -> None:
    """A load makes each call once, and never more at the same time than it may."""
    made: list[int] = []
    running = most = 0

    async def call(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        made.append(number)
        running -= 1

    found = await run_load(call, 25, 4)
    assert sorted(made) == list(range(25))
    assert most == 4
    assert len(found["waits_ms"]) == 25
    assert 0 < found["p99_ms"] <= found["seconds"] * 1e3


async def test_a_failed_call_fails_the_load() -> None:
    """A load of which a call fails has no result."""

    async def call(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        await run_load(call, 3, 1)


def test_percentiles_are_of_what_was_measured() -> None:
    """The value of a percentile is one that was measured, the largest one for all of them."""
    waits = [float(n) for n in range(100, 0, -1)]
    assert percentile(waits, 0.5) == 51.0
    assert percentile(waits, 0.99) == 100.0
    assert percentile([3.0], 1.0) == 3.0


def test_a_summary_is_in_milliseconds() -> None:
    """A load is described by two percentiles and by its waits, all in milliseconds."""
    assert summary(2.0, [0.001, 0.002, 0.5]) == {
        "p50_ms": 2.0,
        "p99_ms": 500.0,
        "seconds": 2.0,
        "waits_ms": [1.0, 2.0, 500.0],
    }


def test_many_waits_are_not_told() -> None:
    """Of thousands of calls the percentiles are told, and not each wait."""
    assert summary(2.0, [0.001] * (WAITS + 1))["waits_ms"] == []
