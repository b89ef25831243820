"""Tests of `flow.testing.simulation.processes`: what a process is, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextvars

from flow.testing.simulation import SimulatedLoop, SimulatedProcess, Simulation, simulate
from flow.testing.simulation.processes import OUTSIDE, Scheduled, present_process
from flow.testing.simulation.tasks import Tasks


def make() -> tuple[SimulatedProcess, list[Scheduled]]:
    """Return a process, and what it wakes."""
    woken: list[Scheduled] = []
    return OUTSIDE.copy().run(SimulatedProcess, "p", woken.extend), woken


def test_a_process_goes_through_its_life() -> None:
    """It runs, is paused, goes on and dies, and the dead are not called back."""
    process, _ = make()
    assert (process.is_running, process.is_dead) == (True, False)
    assert repr(process) == "<process p, running>"
    process.pause()
    assert (process.is_running, process.is_dead) == (False, False)
    assert repr(process) == "<process p, paused>"
    process.resume()
    assert process.is_running
    process.kill()
    assert (process.is_running, process.is_dead) == (False, True)
    process.pause()
    process.resume()
    assert repr(process) == "<process p, dead>"


def test_what_is_held_is_woken_in_order() -> None:
    """A resume wakes what was held, oldest first and once; a second one wakes nothing."""
    process, woken = make()
    loop = SimulatedLoop()
    handles = [loop.call_soon(print) for _ in range(3)]
    process.pause()
    for handle in handles:
        process.hold(handle)
    process.resume()
    process.resume()
    assert woken == handles


def test_contexts_are_copies() -> None:
    """Each context of a process is its own, knows the process, and nothing of the outside."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)
    process, _ = make()
    first, second = process.context, process.context
    first.run(variable.set, 2)
    assert second.run(variable.get) == 0
    assert first.run(present_process) is second.run(present_process) is process
    assert present_process() is None


def test_what_a_process_starts_belongs_to_it() -> None:
    """Tasks, timers and callbacks inherit the process, however deep."""
    seen: list[str] = []

    def see() -> None:
        process = present_process()
        seen.append(process.name if process else "outside")

    async def deep(depth: int) -> None:
        see()
        loop = asyncio.get_running_loop()
        loop.call_soon(see)
        loop.call_later(1, see)
        if depth:
            await asyncio.gather(deep(depth - 1))
        await asyncio.sleep(2)

    async def main(simulation: Simulation) -> None:
        process = simulation.process("p")
        task = Tasks(simulation.loop).make(deep(1), "deep", process.context)
        await asyncio.gather(task, deep(0))

    simulate(main)
    assert sorted(seen) == ["outside"] * 3 + ["p"] * 6


def test_a_kill_runs_no_cleanup() -> None:
    """Of a killed process not even a `finally` runs, until the burial after everything else."""
    said: list[str] = []

    async def live(simulation: Simulation) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            said.append(f"cleanup, burying: {simulation.loop.is_burying}")

    async def main(simulation: Simulation) -> None:
        process = simulation.process("p")
        task = Tasks(simulation.loop).make(live(simulation), "live", process.context)
        await asyncio.sleep(1)
        process.kill()
        task.cancel()
        await asyncio.sleep(1_000)
        assert said == []
        assert not task.done()

    simulate(main)
    assert said == ["cleanup, burying: True"]


def test_the_callback_that_kills_is_the_last_one() -> None:
    """A process that kills itself goes on to its next await, and no further."""
    said: list[str] = []

    async def die(process: SimulatedProcess) -> None:
        said.append("before")
        process.kill()
        said.append("the same step")
        await asyncio.sleep(0)
        said.append("never")

    async def main(simulation: Simulation) -> None:
        process = simulation.process("p")
        Tasks(simulation.loop).start(die(process), "die", process.context)
        await asyncio.sleep(1_000)

    simulate(main)
    assert said == ["before", "the same step"]
