"""A program whose order shows, for `test_loop_repeating.py`; run, it prints hashes of its runs."""

from __future__ import annotations

import asyncio
import sys

import anyio

from flow.testing import Simulation
from flow.testing.simulation.tasks import Tasks

NAMES = [f"name {number}" for number in range(12)]


async def play(simulation: Simulation) -> None:
    """Use what keeps sets and weak references inside, and note all that happens.

    Args:
        simulation: Where the notes go.
    """
    note = simulation.note
    for game in (_cancel_groups, _cancel_scopes, _wait, _gather, _kill):
        note("game", game.__name__)
        await game(simulation)


async def _sleep(simulation: Simulation, name: str, seconds: float) -> str:
    simulation.note("begin", name)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        simulation.note("cancelled", name)
        raise
    simulation.note("end", name)
    return name


async def _cancel_groups(simulation: Simulation) -> None:
    """Cancel the tasks of groups of anyio and of asyncio, which keep them in sets."""
    async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
        for group in (outer, inner):
            for name in NAMES:
                group.start_soon(_sleep, simulation, name, 100)
        await asyncio.sleep(1)
        outer.cancel_scope.cancel()
    try:
        async with asyncio.timeout(1), asyncio.TaskGroup() as tasks:  # noqa: TID251 - users use it
            for name in NAMES:
                tasks.create_task(_sleep(simulation, name, 100))
    except TimeoutError:
        simulation.note("timeout")


async def _cancel_scopes(simulation: Simulation) -> None:
    """Run into the limits of scopes, one in the other and side by side."""

    async def limited(name: str, seconds: float) -> None:
        with anyio.move_on_after(seconds), anyio.move_on_after(2 * seconds):
            await _sleep(simulation, name, 3)

    async with anyio.create_task_group() as tasks:
        for number, name in enumerate(NAMES):
            tasks.start_soon(limited, name, number / 2)


async def _wait(simulation: Simulation) -> None:
    """Go through the sets that `asyncio.wait` returns, and through those of all tasks."""
    owner = Tasks(simulation.loop)
    context = simulation.process("waiting").context

    async def run(name: str, seconds: float) -> None:
        await _sleep(simulation, name, seconds)

    tasks = {owner.make(run(name, len(name) % 2), name, context) for name in NAMES}
    done, left = await asyncio.wait(tasks, timeout=0.5)
    for task in (*done, *left, *(asyncio.all_tasks() & tasks)):
        simulation.note("found", task.get_name())
        task.cancel()
    await asyncio.wait(tasks)


async def _gather(simulation: Simulation) -> None:
    """Gather results, one after the other, and all of them while some are cancelled."""
    names = await asyncio.gather(*(_sleep(simulation, name, 1) for name in NAMES))
    simulation.note("gathered", ", ".join(names))
    gathered = asyncio.gather(
        *(_sleep(simulation, name, 5) for name in NAMES), return_exceptions=True
    )
    try:
        await asyncio.wait_for(gathered, 2)
    except TimeoutError:
        simulation.note("timeout")


async def _kill(simulation: Simulation) -> None:
    """Kill and pause processes that do all of it at the same time."""
    owner = Tasks(simulation.loop)
    chance = simulation.chance("kill")

    async def repeat() -> None:
        while True:
            await _cancel_scopes(simulation)
            await _gather(simulation)

    for _ in range(5):
        process = simulation.process("player")
        owner.start(repeat(), chance.new_id(), process.context)
        await asyncio.sleep(chance.random() * 5)
        process.pause()
        await asyncio.sleep(chance.random())
        process.resume()
        await asyncio.sleep(chance.random() * 5)
        process.kill()


def hashes(seeds: range) -> list[str]:
    """Return the hash of one run for each seed.

    Args:
        seeds: The seeds.
    """
    found: list[str] = []
    for seed in seeds:
        simulation = Simulation(seed)
        simulation.run(play)
        found.append(simulation.hash)
    return found


if __name__ == "__main__":
    # Objects of another number and size, so that addresses differ from those of the other process.
    ballast = [bytes(number) for number in range(int(sys.argv[1]))]
    sys.stdout.write("\n".join(hashes(range(int(sys.argv[2])))))
