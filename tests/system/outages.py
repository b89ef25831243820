"""A flow in two orchestrators and two workers, on servers of its own; all of it may break down."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from flow import Flow
from flow.status import Status
from store.postgres import PostgresStore
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.system import effects, journal
from tests.system.processes import Child, Crew
from tests.system.programs.outage import NAMESPACE, STEPS, WORKFLOW

__all__ = ["ROLES", "Cluster"]

_log = logging.getLogger("tests.system")

ROLES = ("orchestrator", "orchestrator", "worker", "worker")
AT_ONCE = 50
LOOK_S = 0.2
STATUSES = f'SELECT status, count(*) FROM "flow_{NAMESPACE}".execution GROUP BY status'
INCARNATION = f"SELECT value FROM \"flow_{NAMESPACE}\".meta WHERE key = 'incarnation'"
OWNERS = (
    f'SELECT owner, count(*) FROM "flow_{NAMESPACE}".lease'
    " WHERE expires > clock_timestamp() GROUP BY owner"
)


class Cluster:
    """Processes and servers, all of which can be broken and mended.

    Args:
        crew: Where processes are started.
        rabbitmq: The broker.
        postgres: The database server.
        count: How many executions there are.
    """

    def __init__(
        self, crew: Crew, rabbitmq: RabbitServer, postgres: PostgresServer, count: int
    ) -> None:
        self.rabbitmq = rabbitmq
        self.postgres = postgres
        self.executions = [f"{WORKFLOW}-{number:04}" for number in range(count)]
        self.parts: list[Child] = []
        self._crew = crew

    @property
    def done(self) -> int:
        """How many effects there were."""
        return effects.count(self._crew.effects)

    async def begin(self) -> None:
        """Start all processes, and all executions."""
        self._crew.broker = self.rabbitmq.url
        self._crew.store = await self.postgres.new_database()
        await self.start(*range(len(ROLES)))
        await self._place(self.executions)

    async def add(self, count: int) -> None:
        """Start more executions."""
        first = len(self.executions)
        more = [f"{WORKFLOW}-{number:04}" for number in range(first, first + count)]
        self.executions += more
        await self._place(more)

    async def _place(self, names: Sequence[str]) -> None:
        free = asyncio.Semaphore(AT_ONCE)
        async with Flow(NAMESPACE, broker=self._crew.broker).play() as app:
            workflow = await app.workflows.load(WORKFLOW)

            async def place(name: str) -> None:
                async with free:
                    await workflow.execute(id=name)

            await asyncio.gather(*map(place, names))

    async def start(self, *numbers: int) -> None:
        """Start processes, in the place of those that were killed; wait until they are ready."""
        started = [(number, self._crew.start("outage", ROLES[number])) for number in numbers]
        for number, child in started:
            self.parts[number : number + 1] = [child]
        for _, child in started:
            await child.says("ready")

    async def kill(self, *numbers: int) -> None:
        """Kill processes, all at the same time."""
        await asyncio.gather(*(self.parts[number].kill() for number in numbers))

    async def goes_on(self, more: int, deadline_s: float = 90.0) -> None:
        """Wait until there were so many more effects, or everything has ended."""
        goal = min(self.done + more, len(self.executions) * len(STEPS))

        async def look() -> bool:
            return self.done >= goal

        await until(look, f"{more} more effects", deadline_s)

    async def owners(self) -> dict[str, int]:
        """Return who has leases that have not run out, and how many."""
        rows = await self.postgres.execute(OWNERS, url=self._crew.store)
        return {row["owner"]: row["count"] for row in rows}

    async def has_many_owners(self) -> bool:
        """Return whether more than one orchestrator has leases."""
        return len(await self.owners()) > 1

    async def connections(self) -> int:
        """Return how many connections the broker has."""
        return int(await self.rabbitmq.evaluate("length(rabbit_networking:connections())."))

    def has_fewer(self, connections: int) -> Callable[[], Awaitable[bool]]:
        """Return what tells whether the broker has fewer connections than that."""

        async def look() -> bool:
            return await self.connections() < connections

        return look

    async def knows_incarnation(self) -> bool:
        """Return whether the broker is the one that the store knows: it was swept after a wipe."""
        ((known,),) = await self.postgres.execute(INCARNATION, url=self._crew.store)
        names = (await self.rabbitmq.ctl("list_exchanges", "name")).split()
        return f"{NAMESPACE}.incarnation.{known}" in names

    async def has_ended(self) -> bool:
        """Return whether all executions have ended well."""
        rows = await self.postgres.execute(STATUSES, url=self._crew.store)
        found = {row["status"]: row["count"] for row in rows}
        unwanted = set(found) & {Status.FAILURE.name, Status.ABORTED.name}
        assert not unwanted, found
        return found == {Status.SUCCESS.name: len(self.executions)}

    async def expect_success(self) -> None:
        """Wait until everything has ended well, end the processes, and check what was recorded."""
        took = await until(self.has_ended, "the end of all executions", 300)
        await asyncio.gather(*(child.terminate() for child in self.parts))
        repeated = await self.check_recorded()
        total = len(self.executions) * len(STEPS)
        _log.warning("ended after %.1f s; %d of %d effects repeated", took, len(repeated), total)

    async def check_recorded(self) -> dict[tuple[str, str], int]:
        """Check that each result was recorded once; return the effects that were repeated."""
        store = PostgresStore(self._crew.store)
        found = await journal.read_store(store, NAMESPACE, self.executions)
        once = {f"steps/{step}": 1 for step in STEPS}
        for name, each in found.items():
            assert each.status is Status.SUCCESS, name
            assert each.told == each.recorded == once, name
            assert each.outputs == {step: f"{name}:steps/{step}" for step in STEPS}
        had = Counter(
            (effect["execution"], effect["step"]) for effect in effects.load(self._crew.effects)
        )
        assert had.keys() == {(name, step) for name in self.executions for step in STEPS}
        return effects.repeated(had.elements())


async def until(look: Callable[[], Awaitable[bool]], what: str, deadline_s: float) -> float:
    """Wait until something is so; return how many seconds that took.

    Args:
        look: Asked again and again.
        what: What is waited for, for the error.
        deadline_s: Seconds until the test fails.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not await look():
        assert loop.time() - began < deadline_s, f"{what}: not within {deadline_s:g} s"
        await asyncio.sleep(LOOK_S)
    return loop.time() - began
