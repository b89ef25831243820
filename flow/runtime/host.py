"""The host: runs the parts that one process plays, in the right order, and stops them again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from flow.catalogue import Announcement, OpenDefinition
from flow.clock import cancel_after
from flow.errors import BrokerUnavailable, StoreUnavailable
from flow.ports import Broker, Chance, Clock, Inbox, Namespace, Store, Threads
from flow.runtime.addresses import Addresses
from flow.runtime.bundles import Bundler
from flow.runtime.health import HostHealth, OrchestratorHealth, WorkerHealth
from flow.runtime.orchestrator.engine import Engine, EngineSettings, Ports
from flow.runtime.orchestrator.incarnations import Incarnations
from flow.runtime.orchestrator.members import REVISION, Members
from flow.runtime.orchestrator.orchestrator import Orchestrator
from flow.runtime.orchestrator.partitions import Partitions
from flow.runtime.publisher import Publisher
from flow.runtime.service import Endpoint, WorkerPorts, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.trouble import TroubleNote
from flow.runtime.worker.announcer import Announcer
from flow.runtime.worker.worker import Worker
from flow.workflow import WorkflowDefinition

__all__ = ["Host", "HostPorts", "HostSettings"]

_log = logging.getLogger("flow.host")

NEWS_PREFETCH: Final = 100
DRAIN_S: Final = 10.0
"""Seconds that a process which ends takes to write what has arrived; the rest comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPorts:
    """The outside world of one process.

    Args:
        broker: A connection.
        store: The store, or None for a process that only works or asks.
        clock: The time.
        chance: Ids and jitter.
        threads: Where synchronous handlers run.
        inbox: Where effects and replies are one transaction, or None.
    """

    broker: Broker
    store: Store | None
    clock: Clock
    chance: Chance
    threads: Threads
    inbox: Inbox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What one process does.

    Args:
        namespace: The namespace.
        partitions: How many partitions it has, if it is created now.
        definitions: Workflows of this program; the orchestrator saves them at its start.
        open_definitions: Those of its workflows that name steps of other programs.
        announcements: The steps that this program declares and serves.
        endpoints: What this program serves, by name.
        engine: How much an orchestrator takes on.
        worker: How much a worker takes on.
    """

    namespace: str
    partitions: int = 8
    definitions: Sequence[WorkflowDefinition] = ()
    open_definitions: Sequence[OpenDefinition] = ()
    announcements: Sequence[Announcement] = ()
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    engine: EngineSettings = field(default_factory=EngineSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)


class Host:
    """Runs an orchestrator (where there is a store) and a worker (where there are endpoints).

    Args:
        ports: The outside world.
        settings: What it does.

    Attributes:
        publisher: Publishes what clients of this process ask.
        engine: The orchestrator's state, or None.
        worker: The worker, or None.
    """

    def __init__(self, ports: HostPorts, settings: HostSettings) -> None:
        """Prepare; nothing runs before the block is entered."""
        self.addresses = Addresses(settings.namespace)
        bundler = Bundler(self.addresses.reads_bundles, ports.chance.new_id)
        self.publisher = Publisher(ports.broker, ports.clock, bundler=bundler)
        self.engine: Engine | None = None
        self.worker: Worker | None = None
        self._ports = ports
        self._settings = settings
        self._tasks = TaskGroup()
        self._orchestrator: Orchestrator | None = None
        self._parts: dict[str, asyncio.Task[None]] = {}
        self._watches: list[Callable[[], None]] = []
        self._is_killed = False

    def kill(self) -> None:
        """Stop in the middle of everything, as a process does that dies.

        Nothing is finished and nothing is handed over. The block still has to be left.
        """
        self._is_killed = True
        self._tasks.cancel()

    def health(self) -> HostHealth:
        """Return how this process is at the moment. It asks nobody."""
        broker, engine, worker = self._ports.broker, self.engine, self.worker
        snapshot = None if worker is None else worker.snapshot()
        return HostHealth(
            parts={name: not task.done() for name, task in self._parts.items()},
            broker=broker.health,
            broker_url=broker.url,
            publishing=self._publishing_trouble(),
            orchestrator=None if engine is None else self._orchestrator_health(engine),
            worker=None
            if snapshot is None
            else WorkerHealth(
                is_open=snapshot.is_open, running=snapshot.running, waiting=snapshot.waiting
            ),
        )

    def _publishing_trouble(self) -> TroubleNote:
        own = self.publisher.trouble
        return own if own.reason or self.engine is None else self.engine.publisher.trouble

    def _orchestrator_health(self, engine: Engine) -> OrchestratorHealth:
        partitions = None if self._orchestrator is None else self._orchestrator.partitions
        held = sorted(engine.leases)
        return OrchestratorHealth(
            owner=engine.owner,
            store=engine.store.url,
            trouble=engine.trouble.present,
            held=tuple(held),
            opened=tuple(each for each in held if engine.holdings.is_open(each)),
            partitions=engine.partitions,
            members=() if partitions is None else partitions.lifeline.members,
            is_sweeping=partitions is not None and partitions.sweeper.is_sweeping,
            residents=len(engine.residents),
            parked=len(engine.residents.parked),
            unsettled=engine.dispatcher.unsettled,
            inbox=len(engine.inbox),
        )

    async def __aenter__(self) -> Self:
        """Connect, and start everything; return when it takes part."""
        await self._tasks.__aenter__()
        try:
            await self._start()
        except BaseException as error:
            try:
                # If a part has failed and cancelled us, this raises what it failed with.
                await self._tasks.__aexit__(type(error), error, error.__traceback__)
            finally:
                await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what is at hand, hand over the rest, and disconnect."""
        try:
            # If a part has failed, there is nobody left to finish what is at hand.
            if not self._is_killed and not self._tasks.has_failed:
                await self._drain()
        finally:
            try:
                await self._tasks.__aexit__(kind, error, traceback)
            finally:
                await self._close()

    async def _start(self) -> None:
        ports = self._ports
        await ports.broker.open()
        await ports.broker.declare(self.addresses.exchanges())
        self._run(self.publisher.run(), "publisher")
        if ports.store is not None:
            await self._start_orchestrator(ports.store)
        if self._settings.endpoints:
            await self._start_worker()

    def _run(self, part: Coroutine[Any, Any, None], name: str) -> None:
        """Run a part for as long as the process lives."""
        self._parts[name] = self._tasks.start(part, name)

    async def _start_orchestrator(self, store: Store) -> None:
        ports, settings = self._ports, self._settings
        wish = Namespace(settings.namespace, settings.partitions)
        namespace = await store.open(wish)
        await ports.broker.declare(self.addresses.orchestrator(namespace.partitions))
        engine = Engine(
            Ports(broker=ports.broker, store=store, clock=ports.clock, chance=ports.chance),
            self.addresses,
            ports.chance.new_id(),
            namespace.partitions,
            settings.engine,
        )
        # Read first, so that what others change from now on is seen as a change.
        revision = await store.revision()
        await engine.definitions.load()
        await engine.definitions.save(settings.definitions)
        await engine.catalogue.start(settings.open_definitions, settings.announcements)
        members = await self._join_members(engine)
        orchestrator = Orchestrator(engine, ports.broker.consume, members)
        partitions = orchestrator.partitions
        incarnations = await self._watch_incarnations(store, partitions)
        partitions.revisions.refresh_with(engine.definitions.refresh)
        partitions.revisions.refresh_with(engine.catalogue.refresh)
        partitions.revisions.refresh_with(engine.pauses.load)
        self._watches.append(ports.broker.watch(orchestrator.asker.hear))
        partitions.revisions.note(revision)
        ready = asyncio.Event()
        self._run(engine.publisher.run(), "orchestrator's publisher")
        self._run(engine.committer.run(), "committer")
        self._run(incarnations.run(), "incarnations")
        self._run(partitions.revisions.run(), "revisions")
        self._run(orchestrator.run(ready), "orchestrator")
        await ready.wait()
        if not store.exclusive:
            self._run(partitions.lifeline.run(), "lifeline")
        self._orchestrator, self.engine = orchestrator, engine

    async def _join_members(self, engine: Engine) -> Members:
        """Listen to the other orchestrators, where there may be any."""
        broker, store = self._ports.broker, engine.store
        members = Members(
            self.addresses, engine.owner, engine.chance, engine.post, alone=store.exclusive
        )
        await broker.declare(members.topology())
        await broker.consume(members.queue, NEWS_PREFETCH, members.receive)
        engine.definitions.on_change(lambda: members.tell(REVISION))
        engine.catalogue.on_change(lambda: members.tell(REVISION))
        return members

    async def _watch_incarnations(self, store: Store, partitions: Partitions) -> Incarnations:
        """Find out whether the broker has lost what it had, now and whenever it is another one."""
        ports = self._ports
        found = partitions.sweeper.found
        incarnations = Incarnations(
            ports.broker, store, self.addresses, ports.clock, ports.chance, found
        )
        await incarnations.look()
        self._watches = [ports.broker.watch(incarnations.hear), ports.broker.watch(partitions.hear)]
        return incarnations

    async def _start_worker(self) -> None:
        ports, settings = self._ports, self._settings
        if ports.inbox is not None:
            await ports.inbox.open()
        self.worker = Worker(
            ports.broker,
            self.publisher,
            self.addresses,
            settings.endpoints,
            WorkerPorts(ports.clock, ports.chance, ports.threads, ports.inbox),
            settings.worker,
        )
        self._run(self.worker.run(), "worker")
        if ports.store is None:
            announcer = Announcer(
                ports.broker, self.publisher, self.addresses, ports.clock, ports.chance
            )
            self._tasks.start(announcer.run(settings.announcements), "announcer")
        await self.worker.wait_open()

    async def _drain(self) -> None:
        """Let handlers finish and write what they answered."""
        if self.worker is not None:
            await self.worker.drain()
        if self.engine is not None and self._orchestrator is not None:
            await self._hand_over(self._orchestrator, self.engine)

    async def _hand_over(self, orchestrator: Orchestrator, engine: Engine) -> None:
        """Write what has arrived, and give everything back, so that others go on at once."""
        with cancel_after(self._ports.clock, DRAIN_S) as scope:
            await orchestrator.stop_consuming()
            await engine.inbox.finished()
            engine.committer.notify()
            await engine.committer.drained()
            engine.forget()
            await self._leave(orchestrator.partitions)
        if scope.cancelled_caught:
            _log.warning("what has arrived could not be written within %g s", DRAIN_S)

    async def _leave(self, partitions: Partitions) -> None:
        try:
            await partitions.leave()
        except StoreUnavailable as error:
            _log.warning("the leases are not given back, and have to run out: %s", error)

    async def _close(self) -> None:
        for unwatch in self._watches:
            unwatch()
        if self.engine is not None:
            # Timers that are set would go on with an orchestrator that is no more.
            self.engine.forget()
        if self._orchestrator is not None:
            self._orchestrator.partitions.lifeline.stop()
        try:
            for store in (self._ports.store, self._ports.inbox):
                if store is not None:
                    await store.close()
        finally:
            await self._disconnect()

    async def _disconnect(self) -> None:
        try:
            await self._ports.broker.close()
        except BrokerUnavailable as error:
            _log.warning("the broker is gone already: %s", error)
