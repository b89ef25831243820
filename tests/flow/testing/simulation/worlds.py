"""A small flow in a cluster, a client that does not give up, and troubles to go through."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from flow import Flow, Step, Workflow
from flow.app import Role
from flow.errors import UnavailableError
from flow.status import Status
from flow.testing.simulation import Simulation
from flow.testing.simulation.cluster import Member, SimulatedCluster
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import BrokerFaults, Faults, NetworkFaults, StoreFaults

PATIENCE_S: Final = 900.0
"""Virtual seconds after which everything is over once nothing goes wrong any more."""
STEPS: Final = 3
ROLES: Final[dict[str, tuple[Role, ...]]] = {
    "first": ("orchestrator",),
    "second": ("orchestrator",),
    "worker": ("worker",),
}
NASTY: Final = Faults(
    network=NetworkFaults(delay_s=0.01, slow=0.02, slow_s=3.0),
    broker=BrokerFaults(
        lost=0.003,
        unconfirmed=0.005,
        duplicated=0.02,
        reordered=0.05,
        redelivered=0.03,
        delayed=0.02,
        delayed_s=10.0,
        cancelled=0.003,
    ),
    store=StoreFaults(failed=0.02, unknown=0.02, late=0.02, lost=0.005),
)


def make_flow(longest_s: float = 0.0) -> tuple[Flow, Workflow[Any]]:
    """Return a flow of a few steps, one after the other, and its workflow.

    Args:
        longest_s: How many seconds a step takes at most.
    """
    app = Flow("world", broker="memory://", store="memory://")
    steps: list[Step[Any]] = []
    service = app.service("work")
    for number in range(STEPS):
        steps.append(Step.call(f"work.step{number}", requires=steps[-1:], timeout=600))
        service.endpoint(_handler(number, longest_s * (number + 1) / STEPS))
    return app, app.workflow("chain", *steps, output=steps[-1])


def _handler(number: int, seconds: float) -> Callable[..., Awaitable[Any]]:
    async def handle(body: Any) -> Any:
        await asyncio.sleep(seconds)
        return body

    handle.__name__ = f"step{number}"
    return handle


class World:
    """Two orchestrators, a worker, and a client that asks until it has all results.

    Args:
        simulation: Where they live.
        executions: How many the client starts.
        faults: What goes wrong by itself.
        failpoints: Where processes die.
        pause_s: How many seconds pass between two starts.

    Attributes:
        results: What the client has been told, by the execution's number.
        troubles: How often each kind of trouble came.
    """

    def __init__(
        self,
        simulation: Simulation,
        *,
        executions: int = 5,
        faults: Faults | None = None,
        failpoints: Failpoints | None = None,
        pause_s: float = 0.0,
    ) -> None:
        self.simulation = simulation
        self.cluster = SimulatedCluster(simulation, faults=faults, failpoints=failpoints)
        self.results: dict[int, Any] = {}
        self.troubles = Counter[str]()
        self._executions = executions
        self._pause_s = pause_s

    def begin(self) -> None:
        """Start whatever does not run."""
        for name, roles in ROLES.items():
            if name not in self.cluster.members:
                app, _ = make_flow(self._pause_s)
                self.cluster.run(name, app, *roles)
        if "client" not in self.cluster.members and not self.is_answered:
            self.cluster.start("client", self._ask, has_store=False)

    async def ready(self) -> None:
        """Start everything, and wait until it takes part."""
        self.begin()
        for name in ROLES:
            async with asyncio.timeout(PATIENCE_S):
                await self.cluster.members[name].ready.wait()

    @property
    def is_answered(self) -> bool:
        """Whether the client knows all results."""
        return len(self.results) == self._executions

    async def finish(self) -> None:
        """End all troubles, and wait until everything has come to its end."""
        self.cluster.heal()
        self.begin()
        client = self.cluster.members.get("client")
        if client is not None:
            async with asyncio.timeout(PATIENCE_S):
                await client.ended.wait()
        for name in list(self.cluster.members):
            assert await self.cluster.stop(name, PATIENCE_S), name

    def expect_success(self) -> None:
        """Check that every execution is in the store as a success, and that nobody failed."""
        rows = {row.summary.id: row.summary for row in self.cluster.servers.database.rows()}
        ended = {name: summary.status for name, summary in rows.items()}
        assert ended == {f"e{number}": Status.SUCCESS for number in range(self._executions)}
        assert self.results == {number: number for number in range(self._executions)}
        assert [(each.name, each.failure) for each in self.cluster.failures] == []

    async def _ask(self, member: Member) -> None:
        """Start executions and wait for their results, whatever happens."""
        app, workflow = make_flow()
        app.use(member.adapters)
        app.play()
        while not self.is_answered:
            try:
                async with app:
                    await asyncio.gather(*(self._execute(workflow, n) for n in self._missing()))
            except UnavailableError as error:
                self.simulation.note("client", str(error), member.process.name)
                await asyncio.sleep(1.0)

    def _missing(self) -> list[int]:
        return [number for number in range(self._executions) if number not in self.results]

    async def _execute(self, workflow: Workflow[Any], number: int) -> None:
        await asyncio.sleep(number * self._pause_s)
        while number not in self.results:
            try:
                self.results[number] = await workflow.run(number, id=f"e{number}")
            except UnavailableError as error:
                self.simulation.note("client", f"{number} {error}")
                await asyncio.sleep(1.0)


class Troubles:
    """What can happen to a world, one kind a method; each takes its time.

    Args:
        world: The world.
    """

    KINDS: Final = (
        "kill",
        "pause",
        "cut_both_ways",
        "cut_there",
        "cut_back",
        "wipe",
        "stop_store",
        "stop_broker",
        "jump",
        "leave",
    )

    def __init__(self, world: World) -> None:
        self._world = world
        self._cluster = world.cluster
        self._random = world.simulation.random

    async def go_through(self, rounds: int = 1) -> None:
        """Let every kind of trouble come, in any order, and start what has died."""
        for _ in range(rounds):
            kinds = list(self.KINDS)
            self._random.shuffle(kinds)
            for kind in kinds:
                await self._wait(4)
                await self._come(kind)
                self._world.begin()

    async def _come(self, kind: str) -> None:
        names = list(self._cluster.members)
        if names:
            self._world.troubles[kind] += 1
            await getattr(self, f"_{kind}")(self._random.choice(names))

    async def _wait(self, longest_s: float) -> None:
        await asyncio.sleep(self._random.random() * longest_s)

    async def _kill(self, name: str) -> None:
        self._cluster.kill(name)
        await self._wait(5)

    async def _leave(self, name: str) -> None:
        await self._cluster.stop(name)

    async def _pause(self, name: str) -> None:
        self._cluster.pause(name)
        await asyncio.sleep(12)
        await self._wait(25)
        if name in self._cluster.members:
            self._cluster.resume(name)

    async def _cut_both_ways(self, name: str) -> None:
        await self._cut(name, there=True, back=True)

    async def _cut_there(self, name: str) -> None:
        await self._cut(name, there=True, back=False)

    async def _cut_back(self, name: str) -> None:
        await self._cut(name, there=False, back=True)

    async def _cut(self, name: str, *, there: bool, back: bool) -> None:
        broker = self._random.random() < 0.7
        store = not broker or self._random.random() < 0.5
        self._cluster.cut(name, broker=broker, store=store, there=there, back=back)
        await self._wait(40)
        if name in self._cluster.members:
            self._cluster.mend(name)

    async def _wipe(self, _: str) -> None:
        self._cluster.wipe()

    async def _stop_store(self, _: str) -> None:
        self._cluster.store.is_up = False
        await self._wait(25)
        self._cluster.store.is_up = True

    async def _stop_broker(self, _: str) -> None:
        self._cluster.broker.stop()
        await self._wait(25)
        self._cluster.broker.start()

    async def _jump(self, name: str) -> None:
        hour = 3_600_000
        self._cluster.jump(name, self._random.randrange(-hour, hour))
        self._cluster.clock.skew_ms += self._random.randrange(1_000)


async def survive(simulation: Simulation) -> Counter[str]:
    """Go through all troubles with faults of every kind; return what has come.

    Every execution has ended as a success then, and the client knows it.
    """
    world = World(simulation, executions=8, faults=NASTY, pause_s=6.0)
    await world.ready()
    await Troubles(world).go_through()
    await world.finish()
    world.expect_success()
    return world.troubles


def hash_of(seed: int) -> str:
    """Return the hash of a run through all troubles."""
    simulation = Simulation(seed)
    simulation.run(survive)
    return simulation.hash
