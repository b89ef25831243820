"""Tests of `flow.testing.simulation.cancelling`: what anyio cancels at once has an order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import permutations

import anyio
import pytest

from flow.testing import Simulation, simulate
from flow.testing.simulation import LoopSettings
from flow.testing.simulation.cancelling import CancelOrder, is_of_a_scope


def cancelling(ready: list[object], *handles: object) -> Callable[[], bool]:
    """Return a cancellation that makes some handles ready."""

    def cancel() -> bool:
        ready.extend(handles)
        return bool(handles)

    return cancel


@pytest.mark.parametrize("numbers", [*permutations([1, 2, 3])])
def test_the_order_is_that_of_the_tasks(numbers: tuple[int, ...]) -> None:
    """In whatever order tasks are cancelled, they are ready in the order of their numbers."""
    ready: list[object] = ["before"]
    order = CancelOrder(ready, lambda: 1)
    for number in numbers:
        assert order.run(number, cancelling(ready, f"{number}a", f"{number}b"))
    assert ready == ["before", "1a", "1b", "2a", "2b", "3a", "3b"]


def test_only_neighbours_are_sorted() -> None:
    """What became ready in between, or in another step, keeps its place."""
    ready: list[object] = []
    step = 1
    order = CancelOrder(ready, lambda: step)
    order.run(3, cancelling(ready, 3))
    order.run(2, cancelling(ready, 2))
    ready.append("between")
    order.run(1, cancelling(ready, 1))
    assert ready == [2, 3, "between", 1]
    step = 2
    del ready[0]
    ready.append("new")
    order.run(0, cancelling(ready, 0))
    assert ready == [3, "between", 1, "new", 0]


def test_another_step_begins_anew() -> None:
    """A list that has the same length again in a later step is not taken for the same."""
    ready: list[object] = []
    step = 1
    order = CancelOrder(ready, lambda: step)
    order.run(3, cancelling(ready, 3))
    ready[:] = ["other"]
    step = 2
    order.run(1, cancelling(ready, 1))
    assert ready == ["other", 1]


def test_a_cancellation_may_cancel_others() -> None:
    """What a task waits for goes with it, and a cancellation without effect changes nothing."""
    ready: list[object] = []
    order = CancelOrder(ready, lambda: 1)
    order.run(5, cancelling(ready, 5))
    assert order.run(2, lambda: order.run(9, cancelling(ready, 9)))
    assert not order.run(1, cancelling(ready))
    assert ready == [9, 5]


def test_scopes_are_recognised() -> None:
    """Anyio's cancellations are told from others by their message."""
    told: list[object] = []

    async def main(_: Simulation) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as error:
                told.extend(error.args)
                raise

    simulate(main)
    assert list(map(is_of_a_scope, told)) == [True]
    assert not is_of_a_scope(None)
    assert not is_of_a_scope("stopped")


@pytest.mark.parametrize("how", ["anyio", "asyncio"])
def test_groups_are_cancelled_in_order(how: str) -> None:
    """A group of a hundred tasks is cancelled in the order of their start."""
    ended: list[int] = []

    async def sleep(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(number)

    async def in_anyio() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(sleep, number)

    async def in_asyncio() -> None:
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - users use it
            for number in range(100):
                tasks.create_task(sleep(number))

    async def main(_: Simulation) -> None:
        with anyio.move_on_after(1):
            await (in_anyio() if how == "anyio" else in_asyncio())

    simulate(main, settings=LoopSettings(disorder=0))
    assert ended == list(range(100))
