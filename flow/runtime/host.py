"""The host: runs the parts that one process plays, in the right order, and stops them again."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from flow.clock import cancel_after
from flow.errors import BrokerUnavailable, StoreUnavailable
from flow.ports import Broker, Chance, Clock, Exchange, Namespace, Store, Threads, Topology
from flow.runtime.addresses import Addresses
from flow.runtime.engine import Engine, EngineSettings, Ports
from flow.runtime.orchestrator import Orchestrator
from flow.runtime.publisher import Publisher
from flow.runtime.service import Endpoint, WorkerPorts, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker import Worker
from flow.workflow import WorkflowDefinition

__all__ = ["Host", "HostPorts", "HostSettings"]

_log = logging.getLogger("flow.host")

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
    """

    broker: Broker
    store: Store | None
    clock: Clock
    chance: Chance
    threads: Threads


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What one process does.

    Args:
        namespace: The namespace.
        partitions: How many partitions it has, if it is created now.
        definitions: Workflows of this program; the orchestrator saves them at its start.
        endpoints: What this program serves, by name.
        engine: How much an orchestrator takes on.
        worker: How much a worker takes on.
    """

    namespace: str
    partitions: int = 8
    definitions: Sequence[WorkflowDefinition] = ()
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
        self.publisher = Publisher(ports.broker, ports.clock)
        self.engine: Engine | None = None
        self.worker: Worker | None = None
        self._ports = ports
        self._settings = settings
        self._tasks = TaskGroup()
        self._orchestrator: Orchestrator | None = None
        self._is_killed = False

    def kill(self) -> None:
        """Stop in the middle of everything, as a process does that dies.

        Nothing is finished and nothing is handed over. The block still has to be left.
        """
        self._is_killed = True
        self._tasks.cancel()

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
        self._tasks.start(self.publisher.run(), "publisher")
        if ports.store is not None:
            await self._start_orchestrator(ports.store)
        if self._settings.endpoints:
            await self._start_worker()

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
        await engine.definitions.load()
        await engine.definitions.save(settings.definitions)
        self._orchestrator = Orchestrator(engine, ports.broker.consume)
        self._orchestrator.recovery.sweep = await self._is_broker_new(store)
        ready = asyncio.Event()
        self._tasks.start(engine.publisher.run(), "orchestrator's publisher")
        self._tasks.start(engine.committer.run(), "committer")
        self._tasks.start(self._orchestrator.run(ready), "orchestrator")
        self._tasks.start(engine.lifeline.run(), "lifeline")
        await ready.wait()
        self.engine = engine

    async def _is_broker_new(self, store: Store) -> bool:
        """Return whether the broker has lost what it had, and mark it as known from now on."""
        broker = self._ports.broker
        present = await store.incarnate("", "")
        if present and await broker.has_exchange(self.addresses.incarnation(present)):
            return False
        new = await store.incarnate(present, self._ports.chance.new_id())
        name = self.addresses.incarnation(new)
        await broker.declare(Topology(exchanges=(Exchange(name, "fanout"),)))
        return True

    async def _start_worker(self) -> None:
        ports, settings = self._ports, self._settings
        self.worker = Worker(
            ports.broker,
            self.publisher,
            self.addresses,
            settings.endpoints,
            WorkerPorts(clock=ports.clock, chance=ports.chance, threads=ports.threads),
            settings.worker,
        )
        self._tasks.start(self.worker.run(), "worker")
        await self.worker.wait_open()

    async def _drain(self) -> None:
        """Let handlers finish and write what they answered."""
        if self.worker is not None:
            await self.worker.drain()
        if self.engine is not None and self._orchestrator is not None:
            await self._orchestrator.stop_consuming()
            with cancel_after(self._ports.clock, DRAIN_S) as scope:
                await self.engine.inbox.finished()
                self.engine.committer.notify()
                await self.engine.committer.drained()
            if scope.cancelled_caught:
                _log.warning("what has arrived could not be written within %g s", DRAIN_S)

    async def _close(self) -> None:
        if self.engine is not None:
            # Timers that are set would go on with an orchestrator that is no more.
            self.engine.forget()
            if not self._is_killed:
                await self._release(self.engine)
        try:
            if self._ports.store is not None:
                await self._ports.store.close()
        finally:
            await self._disconnect()

    async def _release(self, engine: Engine) -> None:
        try:
            await engine.lifeline.release()
        except StoreUnavailable as error:
            _log.warning("the leases are not given back, and have to run out: %s", error)

    async def _disconnect(self) -> None:
        try:
            await self._ports.broker.close()
        except BrokerUnavailable as error:
            _log.warning("the broker is gone already: %s", error)
