"""Tests of `flow.testing.simulation.loop`: after a run nothing is left, and nothing complains."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Generator

import anyio
import pytest

from flow.errors import SimulationRefused
from flow.testing.simulation import SimulatedLoop, Simulation, simulate
from flow.testing.simulation.tasks import Tasks


@pytest.fixture(autouse=True)
def collected() -> Generator[None]:
    """Have everything that was dropped collected, so that complaints become errors of the test."""
    yield
    gc.collect()


def test_what_is_left_is_cancelled() -> None:
    """Tasks that still run when the run ends are cancelled, and clean up without the real world."""
    said: list[str] = []

    async def live(simulation: Simulation) -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            said.append(f"{simulation.loop.is_burying} {asyncio.get_running_loop()!r}"[:4])
            await asyncio.sleep(1_000)
            said.append("never")

    async def main(simulation: Simulation) -> str:
        tasks = Tasks(simulation.loop)
        for place in (simulation.process("p").context, simulation.process("q").context):
            tasks.start(live(simulation), "live", place)
        await asyncio.sleep(1)
        simulation.processes["q"].kill()
        return "done"

    assert simulate(main) == "done"
    assert said == ["True", "True"]


def test_what_was_held_up_ends_too() -> None:
    """Callbacks that a dead or paused process could not get end its tasks in the burial."""
    ended: list[str] = []

    async def live(name: str, wakes: asyncio.Event) -> None:
        try:
            await wakes.wait()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(name)
            raise

    async def main(simulation: Simulation) -> None:
        wakes = asyncio.Event()
        tasks = Tasks(simulation.loop)
        for name in ("dead", "paused"):
            process = simulation.process(name)
            tasks.start(live(name, wakes), name, process.context)
        await asyncio.sleep(1)
        simulation.processes["dead"].kill()
        simulation.processes["paused"].pause()
        wakes.set()
        await asyncio.sleep(1)

    simulate(main)
    assert sorted(ended) == ["dead", "paused"]


def test_the_stubborn_end_too() -> None:
    """A task that swallows every cancellation, and one that never waits, do not hold up the end."""
    count = 0

    async def swallow() -> None:
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    async def spin() -> None:
        nonlocal count
        while True:
            count += 1
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                continue

    async def resist() -> None:
        try:
            await swallow()
        finally:
            await asyncio.sleep(1)

    async def main(simulation: Simulation) -> None:
        tasks = Tasks(simulation.loop)
        for work in (swallow(), spin(), resist()):
            tasks.start(work, "work", simulation.process("p").context)
        await asyncio.sleep(0.1)

    simulate(main)
    assert count < 50_000


def test_failures_of_the_burial_are_not_told() -> None:
    """A clean-up that fails, or wants to leave the interpreter, does not spoil the result."""

    async def fail(error: BaseException) -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            raise error

    async def main(simulation: Simulation) -> int:
        tasks = Tasks(simulation.loop)
        for error in (ZeroDivisionError(), SystemExit(3), GeneratorExit()):
            tasks.start(fail(error), "fail", simulation.process("p").context)
        await asyncio.sleep(1)
        return 7

    assert simulate(main) == 7


def test_an_interrupt_of_the_burial_leaves() -> None:
    """Ctrl-C in the burial is raised, once everything else was buried as well."""
    ended: list[int] = []

    async def interrupt() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            raise KeyboardInterrupt

    async def live() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            ended.append(1)

    async def main(simulation: Simulation) -> None:
        tasks = Tasks(simulation.loop)
        for work in (interrupt(), live()):
            tasks.start(work, "work", simulation.process("p").context)
        await asyncio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        simulate(main)
    assert ended == [1]


def test_open_generators_are_closed() -> None:
    """Asynchronous generators clean up: dropped ones at once, held ones in the burial."""
    closed: list[str] = []
    kept: list[AsyncGenerator[int, None]] = []

    async def count(name: str, waits: float) -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        finally:
            await asyncio.sleep(waits)
            closed.append(name)

    async def main(_: Simulation) -> None:
        async for _number in count("dropped", waits=0.1):
            break
        for generator in (count("kept", waits=0), count("slow", waits=0.1)):
            kept.append(generator)
            await anext(generator)
        await asyncio.sleep(1)
        assert closed == ["dropped"]

    simulate(main)
    # Time passes no more in a burial: whoever waits there is cancelled.
    assert closed == ["dropped", "kept"]


def test_nothing_stays_in_memory() -> None:
    """What a run has made is free once it is over, killed processes included."""

    class Thing:
        pass

    things: weakref.WeakSet[Thing] = weakref.WeakSet()

    async def live() -> None:
        thing = Thing()
        things.add(thing)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asyncio.Event().wait)
            await asyncio.sleep(1_000)

    async def main(simulation: Simulation) -> None:
        for _ in range(10):
            process = simulation.process("p")
            Tasks(simulation.loop).start(live(), "live", process.context)
            await asyncio.sleep(1)
            process.kill()
        assert len(things) == 10

    simulate(main)
    gc.collect()
    assert len(things) == 0
    assert [each for each in gc.get_objects() if isinstance(each, SimulatedLoop)] == []


def test_the_collector_is_as_before() -> None:
    """The garbage collector rests in a run, and is afterwards what it was before."""

    async def main(_: Simulation) -> bool:
        return gc.isenabled()

    assert gc.isenabled()
    assert not simulate(main)
    assert gc.isenabled()
    gc.disable()
    try:
        assert not simulate(main)
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_no_burial_inside_of_another_loop() -> None:
    """A burial needs the thread for itself."""
    with pytest.raises(SimulationRefused, match="another event loop"):
        SimulatedLoop().bury()
