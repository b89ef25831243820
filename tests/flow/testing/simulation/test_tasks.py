"""Tasks of servers and of simulated adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flow.errors import SimulationFailed
from flow.testing.simulation import Simulation, simulate, simulated
from flow.testing.simulation.processes import OUTSIDE, present_process
from flow.testing.simulation.tasks import Tasks, Turns, start_outside


@simulated(seed=1)
async def test_tasks_run_where_they_are_told(simulation: Simulation) -> None:
    """A task runs in the context that it is started with, not in that of whoever starts it."""
    process = simulation.process("process")
    tasks = Tasks(simulation.loop)
    found: list[object] = []

    async def look() -> None:
        found.append(present_process())

    tasks.start(look(), "inside", process.context)
    await asyncio.sleep(1)
    process.context.run(tasks.start, look(), "outside", OUTSIDE.copy())
    await asyncio.sleep(1)
    assert found == [process, None]


@simulated(seed=2)
async def test_stopped_tasks_are_cancelled(simulation: Simulation) -> None:
    """All tasks are cancelled but the one that stops them."""
    tasks = Tasks(simulation.loop)
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def stop() -> None:
        tasks.stop()
        await asyncio.sleep(1)
        ended.append("stopper")

    tasks.start(wait("a"), "a", OUTSIDE.copy())
    tasks.start(wait("b"), "b", OUTSIDE.copy())
    await asyncio.sleep(1)
    tasks.start(stop(), "stopper", OUTSIDE.copy())
    await asyncio.sleep(5)
    assert sorted(ended) == ["a", "b", "stopper"]


def test_a_failure_ends_the_simulation() -> None:
    """A task that fails is no secret, although nobody waits for it."""

    async def main(simulation: Simulation) -> None:
        async def fail() -> None:
            raise ValueError("no")

        Tasks(simulation.loop).start(fail(), "the failing one", OUTSIDE.copy())
        await asyncio.sleep(1)

    with pytest.raises(SimulationFailed, match="the failing one failed"):
        simulate(main)


@simulated(seed=3)
async def test_a_task_that_is_made_can_be_looked_at(simulation: Simulation) -> None:
    """What starts a task and wants to know when it is over gets the task."""
    process, over = simulation.process("process"), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(1)

    task = Tasks(simulation.loop).make(work(), "work", process.context)
    task.add_done_callback(lambda _: over.set())
    await over.wait()
    assert task.get_name() == "work"
    assert simulation.loop.time() >= 1


@simulated(seed=4)
async def test_tasks_of_the_outside_outlive_processes(simulation: Simulation) -> None:
    """What a process starts in the outside world goes on after the process was killed."""
    process = simulation.process("process")
    found: list[object] = []

    async def look() -> None:
        await asyncio.sleep(1)
        found.append(present_process())

    process.context.run(start_outside, simulation.loop, look(), "look")
    process.kill()
    await asyncio.sleep(2)
    assert found == [None]


def test_a_failure_outside_ends_the_simulation() -> None:
    """A task of the outside world that fails is no secret either."""

    async def main(simulation: Simulation) -> None:
        async def fail() -> None:
            raise ValueError("no")

        start_outside(simulation.loop, fail(), "the failing one")
        await asyncio.sleep(1)

    with pytest.raises(SimulationFailed, match="the failing one"):
        simulate(main)


@simulated(seed=3)
async def test_turns_come_one_after_the_other(simulation: Simulation) -> None:
    """What is added is done in that order, and what is cleared before its turn is not done."""
    turns, done = Turns(Tasks(simulation.loop)), list[int]()

    def work(number: int) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            await asyncio.sleep(simulation.random.random())
            done.append(number)

        return do

    for number in range(5):
        turns.add(work(number))
    await asyncio.sleep(10)
    assert done == [0, 1, 2, 3, 4]
    turns.add(work(5))
    turns.add(work(6))
    await asyncio.sleep(0.01)
    turns.clear()
    await asyncio.sleep(10)
    turns.add(work(7))
    await asyncio.sleep(10)
    assert done[5:] == [5, 7]
