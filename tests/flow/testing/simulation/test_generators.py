"""Tests of `flow.testing.simulation.generators`: asynchronous generators that were left open."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from flow.testing.simulation.generators import OpenGenerators


async def count(closed: list[str], name: str) -> AsyncGenerator[int, None]:
    """Count, and say when it is over."""
    try:
        for number in range(10):
            yield number
    finally:
        closed.append(name)


def step(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def begun(closed: list[str], name: str) -> AsyncGenerator[int, None]:
    """Return a generator that has begun."""
    generator = count(closed, name)
    step(generator.asend(None))
    return generator


def test_dropped_generators_are_closed() -> None:
    """Who is dropped is closed at once, and who was read to the end needs nothing."""
    closed: list[str] = []
    generators = OpenGenerators(step, lambda: True)
    with generators.watched():
        kept = begun(closed, "kept")
        begun(closed, "dropped")
        assert closed == ["dropped"]
    step(kept.aclose())
    del kept
    assert closed == ["dropped", "kept"]


def test_the_rest_is_closed_in_order() -> None:
    """Those that are held are closed in the order in which they began, once."""
    closed: list[str] = []
    generators = OpenGenerators(step, lambda: True)
    with generators.watched():
        kept = [begun(closed, str(number)) for number in range(50)]
        assert generators.close_all()
        assert not generators.close_all()
    assert closed == list(map(str, range(50)))
    assert len(kept) == 50


def test_nothing_is_started_without_a_loop() -> None:
    """A generator that is dropped after the run starts nothing, and does not complain."""
    closed: list[str] = []
    started: list[object] = []
    generators = OpenGenerators(started.append, lambda: False)
    with generators.watched():
        begun(closed, "dropped")
    gc.collect()
    assert (closed, started) == ([], [])


def test_the_hooks_are_put_back() -> None:
    """Afterwards the thread's hooks are those of before."""
    before = sys.get_asyncgen_hooks()
    generators = OpenGenerators(step, lambda: True)
    with generators.watched():
        assert sys.get_asyncgen_hooks() != before
    assert sys.get_asyncgen_hooks() == before
