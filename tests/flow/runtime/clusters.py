"""Several orchestrators on one broker and one store, in virtual time, that tests can torment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar, cast

from brokers.memory import Hub, MemoryBroker
from flow import Flow, Step, Workflow
from flow.app import Adapters
from flow.clock import SystemThreads
from flow.errors import StoreUnavailable
from flow.ports import (
    Commit,
    CommitResult,
    Delivery,
    Publication,
    Settlement,
    Store,
    Subscription,
    Timer,
)
from flow.runtime.host import Host, HostPorts, HostSettings
from flow.runtime.orchestrator.engine import Engine, EngineSettings
from flow.testing import SeededChance, VirtualClock
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import settle

ResultT = TypeVar("ResultT")

PARTITIONS = 8
PATIENCE = 20_000
"""So many turns of the event loop may pass while nothing becomes quiet."""


class Freezer:
    """Stops everything that one process does to the outside world, as SIGSTOP would."""

    def __init__(self) -> None:
        self._running = asyncio.Event()
        self._running.set()
        self._late: list[Callable[[], None]] = []

    @property
    def is_frozen(self) -> bool:
        """Whether nothing moves."""
        return not self._running.is_set()

    def freeze(self) -> None:
        """Stop everything."""
        self._running.clear()

    def thaw(self) -> None:
        """Go on, with what has come meanwhile first."""
        self._running.set()
        late, self._late = self._late, []
        for each in late:
            each()

    def call(self, action: Callable[[], None]) -> None:
        """Do something now, or once it is thawed."""
        if self.is_frozen:
            self._late.append(action)
        else:
            action()

    async def wait(self) -> None:
        """Wait until it is thawed."""
        await self._running.wait()


class SkewedClock:
    """A machine's clock: its wall time may be wrong, and its timers stand still with it."""

    def __init__(self, clock: VirtualClock, freezer: Freezer, skew_ms: int) -> None:
        self._clock = clock
        self._freezer = freezer
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        """Return the wall time that this machine believes in."""
        return self._clock.now_ms() + self._skew_ms

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._clock.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at a time, unless the process is frozen: then later."""
        return self._clock.call_at(when, lambda: self._freezer.call(callback))


class FrozenBroker(MemoryBroker):
    """A connection of a process that can be frozen; it notes what was published."""

    def __init__(self, hub: Hub, freezer: Freezer) -> None:
        super().__init__(hub)
        self.published: list[Publication] = []
        self._freezer = freezer

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish."""
        await self._freezer.wait()
        settlements = await super().publish(publications)
        self.published += publications
        return settlements

    async def consume(
        self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
    ) -> Subscription:
        """Receive."""
        freezer = self._freezer
        return await super().consume(
            queue, prefetch, lambda delivery: freezer.call(lambda: receive(delivery))
        )


class FrozenStore:
    """A store of a process that can be frozen, and that can be away. All calls are counted."""

    def __init__(self, store: MemoryStore, freezer: Freezer) -> None:
        self.store = store
        self.is_away = False
        self.calls: Counter[str] = Counter()
        self.results: list[tuple[Commit, CommitResult]] = []
        self._holds: dict[str, asyncio.Event] = {}
        self._freezer = freezer

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.url

    @property
    def exclusive(self) -> bool:
        """Whether nobody else can have it."""
        return self.store.exclusive

    async def commit(self, commit: Commit) -> CommitResult:
        """Commit, and note what came of it."""
        result: CommitResult = await self._call("commit", commit)
        self.results.append((commit, result))
        return result

    def hold(self, name: str) -> asyncio.Event:
        """Have calls wait until the event is set that is returned."""
        self._holds[name] = asyncio.Event()
        return self._holds[name]

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._call(name, *args, **kwargs)

        return call

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        await self._freezer.wait()
        if name in self._holds:
            await self._holds[name].wait()
        self.calls[name] += 1
        if self.is_away and name != "close":
            raise StoreUnavailable(self.url, "the test says so")
        return await getattr(self.store, name)(*args, **kwargs)


class Process:
    """An orchestrator."""

    def __init__(self, cluster: Cluster, name: str, skew_ms: int, engine: EngineSettings) -> None:
        self.name = name
        self.freezer = Freezer()
        self.broker = FrozenBroker(cluster.hub, self.freezer)
        memory = MemoryStore(cluster.clock.now_ms, cluster.database)
        self.store = FrozenStore(memory, self.freezer)
        clock = SkewedClock(cluster.clock, self.freezer, skew_ms)
        # Ids begin with the name, so that members are in the order of their names.
        chance = NamedChance(name, cluster.clock)
        store = cast("Store", self.store)
        threads = SystemThreads(2)
        ports = HostPorts(
            broker=self.broker, store=store, clock=clock, chance=chance, threads=threads
        )
        settings = HostSettings(
            namespace="world",
            partitions=cluster.partitions,
            definitions=cluster.definitions,
            engine=engine,
        )
        self.host = Host(ports, settings)
        self._block: AsyncExitStack | None = None

    @property
    def engine(self) -> Engine:
        """Its state."""
        assert self.host.engine is not None
        return self.host.engine

    @property
    def open(self) -> set[int]:
        """The partitions that it decides about."""
        holdings = self.engine.holdings
        return {each for each in self.engine.leases if holdings.is_open(each)}

    def committed(self) -> int:
        """Return how many executions were written by it."""
        return sum(
            write.summary.partition not in result.lost
            for commit, result in self.store.results
            for write in commit.writes
        )


class NamedChance(SeededChance):
    """Chance whose ids begin with a name."""

    def __init__(self, name: str, clock: VirtualClock) -> None:
        super().__init__(sum(name.encode()), clock.now_ms)
        self._name = name

    def new_id(self) -> str:
        """Return an id."""
        return f"{self._name}-{super().new_id()}"


class Cluster:
    """Orchestrators, one process that works and asks, and the time."""

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self.clock = VirtualClock()
        self.hub = Hub()
        self.database = MemoryDatabase()
        self.partitions = partitions
        self.processes: dict[str, Process] = {}
        self.calls: list[tuple[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.app = Flow("world", broker="memory://", store="memory://")
        first = Step.call("work.first", timeout=600)
        last = Step.call("work.last", requires=[first], timeout=600)
        self.steps = (first, last)
        self.workflow: Workflow[Any] = self.app.workflow("pair", first, last, output=last)
        self.definitions = [each.definition for each in self.app.defined.values()]

        service = self.app.service("work")
        service.endpoint(self._handler("first"))
        service.endpoint(self._handler("last"))

    def _handler(self, name: str) -> Any:
        async def handle(body: Any) -> Any:
            return await self._serve(name, body)

        handle.__name__ = name
        return handle

    async def _serve(self, name: str, body: Any) -> Any:
        self.calls.append((name, body))
        await self.gate.wait()
        return body

    async def __aenter__(self) -> Self:
        """Let time begin."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """End everything, the hard way."""
        self.gate.set()
        for name in list(self.processes):
            await self.kill(name)
        if self.app.host is not None:
            self.app.host.kill()
            await self.until(self.app.__aexit__(None, None, None))

    # ---------------------------------------------------------------------------- processes

    async def start(
        self, *names: str, skew_ms: int = 0, engine: EngineSettings | None = None
    ) -> list[Process]:
        """Start orchestrators, one after the other."""
        started: list[Process] = []
        for name in names:
            process = Process(self, name, skew_ms, engine or EngineSettings())
            self.processes[name] = process
            await self.until(process.host.__aenter__())
            started.append(process)
        return started

    async def work(self) -> None:
        """Start the process that works and asks."""
        adapters = Adapters(
            broker=MemoryBroker(self.hub),
            store=None,
            clock=self.clock,
            chance=NamedChance("client", self.clock),
            threads=SystemThreads(2),
        )
        self.app.use(adapters)
        await self.until(self.app.__aenter__())

    async def stop(self, name: str) -> None:
        """Let an orchestrator leave in good order."""
        await self.until(self.processes.pop(name).host.__aexit__(None, None, None))

    async def kill(self, name: str) -> None:
        """Let an orchestrator die."""
        process = self.processes.pop(name)
        process.freezer.thaw()
        process.host.kill()
        await self.until(process.host.__aexit__(None, None, None))

    # --------------------------------------------------------------------------------- time

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await settle(300)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due meanwhile."""
        end = self.clock.monotonic() + seconds
        await self.settle()
        while (due := self.clock.next_s()) is not None and due <= end:
            self.clock.move_to(due)
            await settle()
        self.clock.move_to(end)
        await self.settle()

    async def until(self, action: Awaitable[ResultT], within_s: float = 600.0) -> ResultT:
        """Let time pass until something is done, and return what came of it."""
        task = asyncio.gather(action)
        end = self.clock.monotonic() + within_s
        while not task.done():
            await settle()
            due = self.clock.next_s()
            if task.done() or due is None:
                await self.settle()
                if not task.done() and self.clock.next_s() is None:
                    raise AssertionError("nothing happens any more")
                continue
            assert due <= end, f"it is not done after {within_s:g} s"
            self.clock.move_to(due)
        (result,) = task.result()
        return result

    # ------------------------------------------------------------------------------- truths

    @property
    def shares(self) -> dict[str, int]:
        """How many partitions each orchestrator decides about."""
        return {name: len(process.open) for name, process in self.processes.items()}

    def owners(self) -> Counter[int]:
        """Return by how many orchestrators each partition is decided about."""
        return Counter(each for process in self.processes.values() for each in process.open)

    def expect_spread(self) -> None:
        """Check that each partition has one owner, and that all have about the same number."""
        owners = self.owners()
        assert owners == dict.fromkeys(range(self.partitions), 1), owners
        assert max(self.shares.values()) - min(self.shares.values()) <= 1, self.shares

    async def execute(self, count: int, prefix: str = "e") -> list[Any]:
        """Start executions."""
        return [
            await self.until(self.workflow.execute(number, id=f"{prefix}{number}"))
            for number in range(count)
        ]

    async def results(self, executions: Sequence[Any]) -> list[Any]:
        """Return the results of executions."""
        return list(await self.until(asyncio.gather(*(each.result() for each in executions))))
