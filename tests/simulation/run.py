"""One run: faults, then a heal, then everything has to come to an end.

Theory of operation
-------------------
First the nemesis does what it likes, while clients start and control executions. Then everything
is made good again: servers are up, networks are whole, clocks are right, who should be there is
there. A *closer*, one more client, lets go on what is suspended or paused, gives up what needs a
person, and waits for every execution. All clients have to get all their answers. After a while
of quiet nothing may be left over.

Invariants are checked all the time, at the end, and by the handlers and clients themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from flow.errors import SimulationFailed, SimulationStuck
from flow.runtime.orchestrator import batch, bulk, recovery, sweeper
from flow.runtime.tasks import TaskGroup
from flow.testing.simulation import LoopSettings, Simulation
from flow.testing.simulation.store import LATEST_S
from tests.simulation import invariants, observers
from tests.simulation.closer import Closer
from tests.simulation.crew import Crew
from tests.simulation.invariants.base import Violation
from tests.simulation.ledger import Began
from tests.simulation.nemesis import Nemesis
from tests.simulation.scenario import Scenario, Sizes
from tests.simulation.world import World

__all__ = ["Outcome", "quietly", "run"]

CHECK_S: Final = 1.0
PATIENCE_S: Final = 7_200.0
"""Virtual seconds within which everything has to end: silence timers go up to an hour."""
QUIET_S: Final = 20.0
"""Virtual seconds after which nothing may be left over."""
LONGEST_QUIET_ROUNDS: Final = 180
"""So often it is waited for handlers that nobody waits for any more: an hour."""


class _Broken(Exception):
    """A promise is broken: what happens after that is of no interest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Args:
        scenario: What was run.
        hash: What two runs of the same scenario have in common.
        violations: What is wrong.
        steps: How many callbacks were run.
        seconds: How long it took, in virtual seconds.
        counts: How often each kind of thing has really happened.
        trace: The last lines of the trace.
    """

    scenario: Scenario
    hash: str
    violations: tuple[Violation, ...]
    steps: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=Counter[str])
    trace: tuple[str, ...] = ()


def run(scenario: Scenario, lines: int = 40) -> Outcome:
    """Run a scenario.

    Args:
        scenario: What happens.
        lines: How many lines of the trace are kept.
    """
    settings = LoopSettings(disorder=scenario.disorder, step_s=scenario.step_s)
    simulation = Simulation(scenario.seed, settings)
    world = World(simulation, scenario)
    try:
        with quietly(), _sized(scenario.sizes):
            simulation.run(lambda _: _live(world))
    except _Broken:
        simulation.note("the run is given up")
    except (SimulationStuck, SimulationFailed) as stuck:
        world.object_to("stuck", str(stuck))
    return Outcome(
        scenario=scenario,
        hash=simulation.hash,
        violations=tuple(world.violations),
        steps=simulation.loop.steps,
        seconds=world.now_s,
        counts=world.counts,
        trace=tuple(map(str, simulation.trace.lines[-lines:])),
    )


@contextmanager
def quietly() -> Generator[None]:
    """Log nothing: what goes wrong is meant to, and nobody would read it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _sized(sizes: Sizes) -> Generator[None]:
    """Have the product do in small pages what it otherwise does in large ones."""
    wanted = {
        (batch, "SNAPSHOT_EVERY"): sizes.snapshot_every,
        **{(module, "PAGE"): sizes.page for module in (bulk, recovery, sweeper)},
    }
    before = {(module, name): getattr(module, name) for module, name in wanted}
    try:
        for (module, name), value in wanted.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


async def _live(world: World) -> None:
    crew = Crew(world)
    observers.watch(world)
    async with TaskGroup() as tasks:
        tasks.start(_check(world), "check")
        crew.start_all()
        await Nemesis(world, crew).run(world.scenario.fault_s)
        _heal(world, crew)
        if not await _close(world, crew):
            return
        await _be_quiet(world)
        for violation in invariants.check_end(world):
            world.object_to(violation.name, violation.text)


async def _check(world: World) -> None:
    """Look at everything now and then, and give the run up when something is wrong."""
    while not world.violations:
        await asyncio.sleep(CHECK_S)
        for violation in invariants.check_now(world):
            world.object_to(violation.name, violation.text)
    raise _Broken


def _heal(world: World, crew: Crew) -> None:
    world.armed.disarm_all()
    world.cluster.heal()
    world.ledger.healed()
    world.healed_s = world.now_s
    crew.start_all()


async def _close(world: World, crew: Crew) -> bool:
    """Return whether everything has come to an end in time."""
    closer = Closer(world, crew)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await closer.close()
    except TimeoutError:
        world.object_to("unfinished", closer.describe())
        return False
    return True


async def _be_quiet(world: World) -> None:
    """Wait until nothing is under way: what was delayed, and handlers of what was aborted."""
    await asyncio.sleep(max(world.healed_s + _longest_delay_s(world.scenario) - world.now_s, 0.0))
    for _ in range(LONGEST_QUIET_ROUNDS):
        calls = world.ledger.calls.values()
        if not any(_is_at_it(world, each) for began in calls for each in began):
            break
        await asyncio.sleep(QUIET_S)
    await asyncio.sleep(QUIET_S)


def _longest_delay_s(scenario: Scenario) -> float:
    """Return how long something that began before the heal may take to arrive."""
    broker, store = scenario.chances.broker, scenario.chances.store
    return max(broker.delayed_s if broker.delayed else 0.0, LATEST_S if store.late else 0.0)


def _is_at_it(world: World, began: Began) -> bool:
    is_dead = world.simulation.processes[began.process].is_dead
    return began.number not in world.ledger.ends and not is_dead
