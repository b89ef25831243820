"""A process at its store, for tests: what it is told, and what is really there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from flow.errors import FlowError, StoreUnavailable
from flow.ports import Commit, Lease, Store
from flow.testing.simulation import SimulatedProcess, Simulation
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import NetworkFaults, StoreFaults
from flow.testing.simulation.network import Link
from flow.testing.simulation.store import StoreConditions, simulated_store
from flow.testing.simulation.tasks import Tasks
from store.memory import MemoryDatabase, MemoryStore
from tests.conformance.store import NAMESPACE, ids_of, row, take, write

ALWAYS: Final = 1.0


class Desk:
    """A process, its store, and the data as they really are.

    Args:
        simulation: Where the process lives.
        faults: What goes wrong once it has begun.
        real: The real store; by default one in memory.
        failpoints: Where the process dies.

    Attributes:
        tasks: What the process asks at the moment.
        done: What the real store has done, in order.
    """

    def __init__(
        self,
        simulation: Simulation,
        faults: StoreFaults | None = None,
        real: Store | None = None,
        failpoints: Failpoints | None = None,
    ) -> None:
        self.simulation = simulation
        self.tasks = Tasks(simulation.loop)
        self.done: list[tuple[str, Any]] = []
        self.faults = faults or StoreFaults()
        self.conditions = StoreConditions(failpoints=failpoints)
        self.conditions.observers.append(
            lambda method, _, args, outcome: self.done.append((method, outcome))
        )
        self.database = MemoryDatabase()
        self.clock = simulation.clock()
        self.truth: Store = MemoryStore(self.clock.now_ms, self.database)
        self.process, self.link, self.store = self.make("process", real)

    def make(self, name: str, real: Store | None = None) -> tuple[SimulatedProcess, Link, Store]:
        """Return a process, its link and its store."""
        simulation = self.simulation
        process = simulation.process(name)
        link = Link(simulation.loop, process, NetworkFaults(), f"{simulation.seed} {process.name}")
        inner = real or MemoryStore(self.clock.now_ms, self.database)
        store = simulated_store(
            inner, process, link, simulation.loop, self.conditions, simulation.note
        )
        return process, link, store

    async def begin(self) -> tuple[Lease, ...]:
        """Open everything, take two leases, and let things go wrong from now on."""
        await self.truth.open(NAMESPACE)
        await self.run(lambda: self.store.open(NAMESPACE))
        leases: tuple[Lease, ...] = await self.run(lambda: take(self.store, 0, 1))
        self.done.clear()
        self.conditions.faults = self.faults
        return leases

    def start(self, ask: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        """Have the process ask something of its store; return its answer."""
        answer: asyncio.Future[Any] = self.simulation.loop.create_future()

        async def go() -> None:
            try:
                result = await ask()
            except FlowError as error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        self.tasks.start(go(), "ask", self.process.context)
        return answer

    async def run(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Have the process ask something of its store, and return the answer."""
        return await self.start(ask)

    def commit(self, leases: tuple[Lease, ...], id: str = "a") -> asyncio.Future[Any]:
        """Have the process commit an execution."""
        return self.start(lambda: self.store.commit(Commit(leases, (write(row(id)),))))

    async def written(self, id: str = "a") -> bool:
        """Return whether an execution is really there."""
        return bool(await ids_of(self.truth, id))


async def expect_unavailable(task: asyncio.Future[Any], match: str = "cannot be used") -> None:
    """Expect that a store that cannot be used is the answer."""
    with pytest.raises(StoreUnavailable, match=match):
        await task
