"""Tests of `flow.testing.simulation.numbered_tasks`: tasks with a number and a process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from flow.testing import Simulation, simulate
from flow.testing.simulation import SimulatedProcess
from flow.testing.simulation.numbered_tasks import SimulatedTask, end_by_force, waiting_tasks
from flow.testing.simulation.processes import OUTSIDE


def make(
    simulation: Simulation,
    coroutine: Coroutine[Any, Any, Any],
    number: int,
    process: SimulatedProcess | None = None,
) -> SimulatedTask[Any]:
    """Return a task, of a process if one is given."""
    context = process.context if process else OUTSIDE.copy()
    return SimulatedTask(coroutine, loop=simulation.loop, number=number, context=context)


async def fail() -> None:
    """Fail in the next step."""
    await asyncio.sleep(0)
    raise ZeroDivisionError


def test_a_set_of_tasks_has_an_order() -> None:
    """A set of tasks is gone through in the same order, whatever their addresses are."""

    async def main(simulation: Simulation) -> list[int]:
        tasks = [make(simulation, asyncio.sleep(0), number) for number in range(5, 0, -1)]
        assert list(map(hash, tasks)) == [5, 4, 3, 2, 1]
        await asyncio.gather(*tasks)
        return [task.number for task in {*tasks}]

    assert simulate(main) == [1, 2, 3, 4, 5]


def test_tasks_are_equal_to_themselves_only() -> None:
    """Two tasks of the same number, of two loops, are two."""

    async def main(simulation: Simulation) -> None:
        one, other = (make(simulation, asyncio.sleep(0), 7) for _ in range(2))
        assert one != other
        assert len({one, other}) == 2
        await asyncio.gather(one, other)

    simulate(main)


def test_names_do_not_count_through_the_interpreter() -> None:
    """A task without a name is named after its number."""

    async def main(simulation: Simulation) -> str:
        task = make(simulation, asyncio.sleep(0), 12)
        await task
        return task.get_name()

    assert simulate(main) == simulate(main) == "task 12"


def test_failures_are_noticed_or_not() -> None:
    """A failure counts as unnoticed until somebody looks, unless its process was killed."""

    async def main(simulation: Simulation) -> None:
        dead, living = simulation.process("dead"), simulation.process("living")
        tasks = [make(simulation, fail(), *each) for each in enumerate((None, dead, living))]
        tasks.append(make(simulation, asyncio.sleep(0), 3))
        assert not any(task.is_unnoticed for task in tasks)
        await asyncio.sleep(1)
        assert [task.is_unnoticed for task in tasks] == [True, True, True, False]
        dead.kill()
        assert [task.is_unnoticed for task in tasks] == [True, False, True, False]
        assert all(task.exception() for task in tasks[:3])
        assert not any(task.is_unnoticed for task in tasks)

    simulate(main)


def test_tasks_say_where_they_wait() -> None:
    """A description names process, task, coroutine and what is awaited; the dead are left out."""

    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    async def main(simulation: Simulation) -> list[str]:
        processes = [simulation.process(name) for name in ("a", "b", "c")]
        tasks = [make(simulation, outer(), n, each) for n, each in enumerate(processes)]
        tasks.append(make(simulation, asyncio.sleep(0), 9))
        await asyncio.sleep(1)
        processes[1].pause()
        processes[2].kill()
        return waiting_tasks(tasks)

    first, second = simulate(main)
    assert first.startswith("a: task 0 in test_tasks_say_where_they_wait.<locals>.outer line ")
    assert ", awaiting Event.wait line " in first
    assert not first.endswith(" (paused)")
    assert second.startswith("b: task 1 in ")
    assert second.endswith(" (paused)")


def test_the_stubborn_are_ended_by_force() -> None:
    """A coroutine that ignores its end is told again, and its clean-up runs."""
    said: list[str] = []

    async def resist() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            said.append("first")
            try:
                await asyncio.Event().wait()
            finally:
                said.append("second")

    async def main(simulation: Simulation) -> None:
        task = make(simulation, resist(), 1)
        await asyncio.sleep(1)
        end_by_force(task)
        assert said == ["first", "second"]
        task.cancel()
        with pytest.raises(RuntimeError, match="reuse"):
            await task

    simulate(main)
    assert said == ["first", "second"]
