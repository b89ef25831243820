"""A store in a simulation, without faults, is held to the suites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from hypothesis.stateful import run_state_machine_as_test

from flow.ports import Store
from flow.testing.simulation import Simulation
from flow.testing.simulation.faults import NetworkFaults
from flow.testing.simulation.network import Link
from flow.testing.simulation.store import StoreConditions, simulated_store
from store.memory import MemoryDatabase, MemoryStore
from tests.conformance.simulated import simulated_suite
from tests.conformance.store import (
    NAMESPACE,
    CommitSuite,
    FenceSuite,
    LeaseSuite,
    NamespaceSuite,
    OneNamespaceSuite,
)
from tests.conformance.store_members import IncarnationSuite, MemberSuite
from tests.conformance.store_model import SETTINGS, StoreComparison
from tests.conformance.store_pruning import ExaminationSuite, PruningSuite
from tests.conformance.store_queries import (
    CatalogueSuite,
    DefinitionSuite,
    DueSuite,
    ListSuite,
    LoadSuite,
)


class SimulatedHarness:
    """Stores on one database in memory, each at the other end of a network."""

    def __init__(self, simulation: Simulation, now_ms: Callable[[], int] | None = None) -> None:
        self._simulation = simulation
        self._database = MemoryDatabase()
        self._time_ms = 1_000_000
        self._now_ms = now_ms or (lambda: self._time_ms)

    def new(self) -> Store:
        """Return another store on the same data, in a process of its own."""
        simulation = self._simulation
        process = simulation.process("process")
        link = Link(simulation.loop, process, NetworkFaults(), f"{simulation.seed} {process.name}")
        store = MemoryStore(self._now_ms, self._database)
        return simulated_store(
            store, process, link, simulation.loop, StoreConditions(), simulation.note
        )

    async def elapse(self, milliseconds: int) -> None:
        """Let time pass for leases."""
        self._time_ms += milliseconds


@asynccontextmanager
async def supply(simulation: Simulation) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield a harness, and a store that is open."""
    harness = SimulatedHarness(simulation)
    store = harness.new()
    await store.open(NAMESPACE)
    yield {"harness": harness, "store": store}
    await store.close()


NAMES: Final = frozenset({"harness", "store"})
SUITES: Final = (
    NamespaceSuite,
    OneNamespaceSuite,
    LeaseSuite,
    FenceSuite,
    CommitSuite,
    LoadSuite,
    DueSuite,
    ListSuite,
    DefinitionSuite,
    MemberSuite,
    IncarnationSuite,
    PruningSuite,
    ExaminationSuite,
    CatalogueSuite,
)

TestSimulatedStore = simulated_suite(*SUITES, supply=supply, names=NAMES)


class SimulatedComparison(StoreComparison):
    """A store in a simulation, and the one in memory."""

    def database(self) -> MemoryDatabase | None:
        """Return data that others could have too."""
        return MemoryDatabase()

    def make(self) -> Store:
        """Return a store in a simulation, which runs whenever something is asked."""
        self.runner.close()
        simulation = Simulation(0)
        self.runner = asyncio.Runner(loop_factory=lambda: simulation.loop)
        return SimulatedHarness(simulation, self.now_ms).new()


def test_stores_do_the_same() -> None:
    """Whatever is asked of the two stores in whatever order, they answer the same."""
    run_state_machine_as_test(SimulatedComparison, settings=SETTINGS)
    assert SimulatedComparison.commits > 0
