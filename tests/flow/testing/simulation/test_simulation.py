"""Tests of `flow.testing.simulation.simulation`: running a coroutine in a simulation."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from flow.errors import SimulationFailed, SimulationRefused, SimulationStuck
from flow.testing import Simulation, simulate, simulated
from flow.testing.simulation import LoopSettings
from flow.testing.simulation.processes import OUTSIDE
from flow.testing.simulation.tasks import Tasks


async def wander(simulation: Simulation) -> list[float]:
    """Do what depends on the seed, and note it."""
    chance = simulation.chance("wanderer")
    times: list[float] = []

    async def step(number: int) -> None:
        await asyncio.sleep(chance.random())
        times.append(simulation.loop.time())
        simulation.note("step", str(number), "wanderer")

    await asyncio.gather(*map(step, range(10)))
    return times


def test_the_result_comes_back() -> None:
    """A simulation returns what its coroutine returns, and the same for the same seed."""
    assert simulate(wander, seed=3) == simulate(wander, seed=3) != simulate(wander, seed=4)


def test_the_hash_is_that_of_the_run() -> None:
    """Two runs of a seed have one hash, two seeds have two, and a note more is another one."""

    def hashed(seed: int, *, notes_more: bool = False) -> str:
        simulation = Simulation(seed)

        async def main(_: Simulation) -> None:
            await wander(simulation)
            if notes_more:
                simulation.note("more")

        simulation.run(main)
        return simulation.hash

    assert hashed(1) == hashed(1)
    assert len({hashed(1), hashed(2), hashed(1, notes_more=True)}) == 3


@pytest.mark.parametrize("rounds", [0, 20])
def test_the_burial_is_not_part_of_the_hash(rounds: int) -> None:
    """What is noted and run when everything is over changes nothing."""

    async def linger(simulation: Simulation) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            for _ in range(rounds):
                simulation.note("cleanup")
                await asyncio.sleep(0)

    async def main(simulation: Simulation) -> None:
        tasks = Tasks(simulation.loop)
        tasks.start(linger(simulation), "linger", simulation.process("p").context)
        await asyncio.sleep(1)

    simulation = Simulation(1)
    simulation.run(main)
    simulation.note("afterwards")
    assert simulation.trace.lines == []
    assert simulation.loop.steps == 5


def test_processes_have_names_and_numbers() -> None:
    """A process that is started again under its name gets a number, and all are remembered."""
    simulation = Simulation(1)
    names = [simulation.process(name).name for name in ("a", "b", "a", "a")]
    assert names == ["a", "b", "a#2", "a#3"]
    assert list(simulation.processes) == names
    simulation.run(wander)


def test_machines_differ() -> None:
    """The clocks of two machines began at different times, and their ids differ."""
    simulation = Simulation(1)
    assert simulation.clock().monotonic() != simulation.clock().monotonic()
    assert simulation.chance("a").new_id() != simulation.chance("b").new_id()
    assert simulation.chance("a").new_id() == simulation.chance("a").new_id()
    assert simulation.chance("a").new_id() != Simulation(2).chance("a").new_id()


def test_an_error_leaves_with_its_seed() -> None:
    """What the coroutine raises leaves as the same object, with a note that names the seed."""
    error = ZeroDivisionError("by zero")

    async def fail(_: Simulation) -> None:
        raise error

    with pytest.raises(ZeroDivisionError) as raised:
        simulate(fail, seed=42)
    assert raised.value is error
    assert raised.value.args == ("by zero",)
    assert "seed=42" in raised.value.__notes__[0]


def test_what_fails_unnoticed_fails_the_run() -> None:
    """A task that fails while nobody looks, and a failing callback, are errors of the run."""

    async def fail() -> None:
        raise KeyError("lost")

    async def with_a_task(_: Simulation) -> None:
        _task = asyncio.gather(fail())
        await asyncio.sleep(1)

    async def with_a_callback(simulation: Simulation) -> None:
        simulation.loop.call_soon(divmod, 1, 0)
        await asyncio.sleep(1)

    with pytest.raises(SimulationFailed, match="KeyError") as raised:
        simulate(with_a_task)
    assert isinstance(raised.value.__cause__, KeyError)
    with pytest.raises(SimulationFailed, match="ZeroDivisionError"):
        simulate(with_a_callback)


def test_what_fails_noticed_is_no_error() -> None:
    """A failure that somebody takes, though late or in the burial only, is none of the run."""

    async def fail() -> None:
        raise KeyError("lost")

    async def main(simulation: Simulation) -> str:
        process = simulation.process("killed")
        failing = asyncio.gather(fail(), return_exceptions=True)

        async def live() -> None:
            await failing

        Tasks(simulation.loop).start(live(), "live", process.context)
        simulation.loop.call_later(0, process.kill)
        await asyncio.sleep(1)
        return "done"

    assert simulate(main) == "done"


def test_a_stuck_run_ends() -> None:
    """A run in which nothing can happen any more ends with an error, and is cleaned up."""
    ended: list[int] = []

    async def main(_: Simulation) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    with pytest.raises(SimulationStuck, match="nothing can happen"):
        simulate(main)
    assert ended == [1]


def test_simulations_do_not_nest() -> None:
    """A simulation in a simulation is refused, and the outer one goes on."""

    async def main(_: Simulation) -> str:
        with pytest.raises(SimulationRefused, match="another event loop"):
            simulate(wander)
        await asyncio.sleep(1)
        return "done"

    assert simulate(main) == "done"


async def test_no_simulation_in_an_event_loop() -> None:
    """In a coroutine of a real event loop it is refused, and leaves that one alone."""
    with pytest.raises(SimulationRefused, match="another event loop"):
        simulate(wander)
    await asyncio.sleep(0)


def test_a_simulation_runs_once() -> None:
    """A second run of the same simulation is refused."""
    simulation = Simulation(1)
    simulation.run(wander)
    with pytest.raises(SimulationRefused, match="closed"):
        simulation.run(wander)


def test_settings_are_passed_on() -> None:
    """The settings reach the event loop, through each way to begin a simulation."""
    settings = LoopSettings(steps_max=3)
    with pytest.raises(SimulationStuck, match="after 4 steps"):
        simulate(wander, settings=settings)

    async def wander_briefly(simulation: Simulation) -> None:
        await wander(simulation)

    with pytest.raises(SimulationStuck, match="after 4 steps"):
        simulated(settings=settings)(wander_briefly)()


@simulated(seed=7)
async def test_a_test_can_be_simulated(
    simulation: Simulation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A decorated test gets the simulation first, and its fixtures as usual."""
    assert simulation.seed == 7
    assert asyncio.get_running_loop() is simulation.loop
    assert tmp_path_factory is not None


@pytest.mark.parametrize("number", [1, 2])
@simulated()
async def test_parameters_are_passed_on(simulation: Simulation, number: int) -> None:
    """A decorated test takes parameters, and the seed is 0 if none is given."""
    assert simulation.seed == 0
    await asyncio.sleep(number)
    assert simulation.loop.time() >= number


def test_only_coroutine_functions_can_be_simulated() -> None:
    """A plain function, and a coroutine instead of its function, are refused before they run."""
    wrong: Any = str
    with pytest.raises(TypeError, match="is no coroutine function: write `async def`"):
        simulate(wrong)
    with pytest.raises(TypeError, match="is no coroutine function: write `async def`"):
        simulated(seed=1)(wrong)
    coroutine: Any = wander(Simulation(0))
    with pytest.raises(TypeError, match="a coroutine function is needed, and not what it returns"):
        simulate(coroutine)


@simulated
async def test_the_decorator_needs_no_brackets(simulation: Simulation) -> None:
    """Without a seed the decorator can stand there as it is."""
    assert simulation.seed == 0


def test_a_run_without_end_says_what_may_be_missing() -> None:
    """When far too much happens the error has the virtual time, a guess, and the user's place."""

    async def main(_: Simulation) -> None:
        for _hour in range(1000):
            await asyncio.sleep(3600)

    with pytest.raises(SimulationStuck, match=r"after 101 steps and [\d,]+ virtual") as stuck:
        simulate(main, settings=LoopSettings(steps_max=100))
    assert "is missing?" in str(stuck.value)
    assert "without_end_says_what_may_be_missing.<locals>.main line" in str(stuck.value)


def test_what_is_cancelled_in_the_end_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What a run logs is heard, but not the complaints of what is cancelled because it is over."""
    log = logging.getLogger("somebody")

    async def linger() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            log.warning("late")

    async def main(simulation: Simulation) -> None:
        Tasks(simulation.loop).start(linger(), "linger", OUTSIDE.copy())
        await asyncio.sleep(1)
        log.warning("early")

    simulate(main)
    log.warning("after")
    assert [record.message for record in caplog.records] == ["early", "after"]
