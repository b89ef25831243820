"""The application object, and the one place where URLs become adapters.

Everything below knows brokers and stores as ports only. Which class stands behind a URL is
decided here, by name, when the application is entered.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from flow.client import Client
from flow.clock import SystemChance, SystemClock, SystemThreads, sleep
from flow.config import MEMORY, SQLITE, Settings, Url, socket_path
from flow.declarations import Declarations
from flow.errors import (
    BrokerUnavailable,
    ConfigurationError,
    StoreLocked,
)
from flow.executions import Executions
from flow.handler import decode_result, encode_value
from flow.message import check_headers
from flow.ports import Broker, Chance, Clock, Store, Threads
from flow.runtime.engine import EngineSettings
from flow.runtime.host import Host, HostPorts, HostSettings
from flow.runtime.service import WorkerSettings
from flow.workflows import Workflows

__all__ = ["Adapters", "Flow", "adapters_for", "holder_of", "reading_store"]

_log = logging.getLogger("flow.app")

ResultT = TypeVar("ResultT")
Role = Literal["orchestrator", "worker"]

JOIN_TRIES = 100
"""How often a process tries to own a store's file, or to join whoever has it."""
JOIN_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The outside world that a flow is entered with.

    Args:
        broker: A connection to the broker.
        store: The store, or None for a process that only works or asks.
        clock: The time.
        chance: Ids and jitter.
        threads: Where synchronous handlers run.
        server: What lets other processes of this machine join in, or None.
    """

    broker: Broker
    store: Store | None
    clock: Clock
    chance: Chance
    threads: Threads
    server: Any = None


class Flow(Declarations):
    """An application: steps, services and workflows, and where they run.

    Entered with `async with`, it plays every role that its URLs allow: with a store it
    orchestrates, with steps or endpoints it works, and it can always start and ask.

    Without URLs it is embedded: an in-process broker and a SQLite file in `.flow/`. While one
    process has that file, others on the machine join it through a socket.

    Args:
        name: The namespace: everything on the broker and in the store begins with it.
        broker: The broker's URL; by default FLOW_BROKER, or `memory://`.
        store: The store's URL; by default FLOW_STORE, or (with `memory://`) a SQLite file.
        concurrency: How many handlers run at the same time.
        partitions: How many partitions the namespace gets, if it is created now.

    Attributes:
        joined: Whether another process orchestrates, and this one works and asks only.

    Raises:
        InvalidName: The name breaks the rules.
        ConfigurationError: A URL is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        broker: str | None = None,
        store: str | None = None,
        concurrency: int = 100,
        partitions: int = 8,
    ) -> None:
        """Check the name and the URLs; nothing is opened yet."""
        super().__init__(name, lambda: self.client)
        self.settings = Settings.of(name, broker, store, os.environ)
        self.executions = Executions(lambda: self.client)
        self.workflows = Workflows(lambda: self.client)
        self.joined = False
        self._concurrency = concurrency
        self._partitions = partitions
        self._client: Client | None = None
        self._open: AsyncExitStack | None = None
        self.host: Host | None = None
        self._adapters: Adapters | None = None
        self._engine = EngineSettings()
        self._lost = asyncio.Event()
        self._roles: frozenset[Role] = frozenset({"orchestrator", "worker"})

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<Flow {self.name!r} on {self.settings.broker}>"

    # ----------------------------------------------------------------------------- using

    @property
    def client(self) -> Client:
        """What asks orchestrators and workers.

        Raises:
            ConfigurationError: The application has not been entered.
        """
        if self._client is None:
            reason = "it is not running; use it inside `async with app:`"
            raise ConfigurationError(f"the flow {self.name!r}", reason)
        return self._client

    async def call(
        self,
        endpoint: str,
        input: object = None,
        *,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        returns: Any = Any,
    ) -> Any:
        """Call an endpoint without a workflow: nothing is kept, and nothing is tried again.

        Args:
            endpoint: `service.method`.
            input: The input: a JSON value, or anything that pydantic can write as one.
            timeout: Seconds within which it has to be answered.
            headers: Metadata.
            returns: The type of the result.

        Raises:
            UnknownEndpoint: Nobody serves the endpoint.
            CallFailed: The handler failed.
            DeadlineExceeded: No answer came in time.
        """
        body = encode_value(input)
        reply = await self.client.call(endpoint, body, check_headers(headers or {}), timeout)
        return decode_result(returns, reply.body, f"the result of {endpoint}")

    # --------------------------------------------------------------------------- running

    def play(self, *roles: Role) -> Self:
        """Play only some of the roles, from the next time it is entered.

        Args:
            roles: `orchestrator` and `worker`, or none of them to only start and ask.

        Returns:
            The application itself.
        """
        self._roles = frozenset(roles)
        return self

    def use(self, adapters: Adapters | None, engine: EngineSettings | None = None) -> None:
        """Run on other adapters than those of the URLs, from the next time it is entered.

        Args:
            adapters: The adapters, or None for those of the URLs. This is for tests.
            engine: How much its orchestrator takes on.
        """
        self._adapters = adapters
        self._engine = engine or EngineSettings()

    async def lost(self) -> None:
        """Wait until the connection to the broker is lost, for as long as that takes.

        Whoever waits for an answer then gets BrokerUnavailable. To go on, leave the application
        and enter it again.
        """
        await self._lost.wait()

    def _lose(self) -> None:
        self._lost.set()
        if self._client is not None:
            self._client.lose_connection()

    async def __aenter__(self) -> Self:
        """Play every role that the URLs allow; return when it takes part."""
        if self._open is not None:
            raise ConfigurationError(f"the flow {self.name!r}", "it is running already")
        stack = AsyncExitStack()
        try:
            await self._enter(stack)
        except BaseException:
            await stack.aclose()
            raise
        self._open = stack
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what is at hand, hand over the rest, and disconnect."""
        stack, self._open = self._open, None
        self._client = self.host = None
        if stack is not None:
            await stack.__aexit__(kind, error, traceback)

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._lost = asyncio.Event()
        adapters, host = await self._host(stack)
        if adapters.server is not None and adapters.store is not None:
            await adapters.server.start()
            stack.push_async_callback(adapters.server.stop)
        self.joined = adapters.store is None
        client = Client(
            adapters.broker,
            host.publisher,
            host.addresses,
            adapters.clock,
            adapters.chance,
        )
        await client.open()
        stack.push_async_callback(client.close)
        self._client, self.host = client, host

    async def _host(self, stack: AsyncExitStack) -> tuple[Adapters, Host]:
        """Own the store's file, or join the process that does.

        Between taking the file and listening on its socket an owner can be neither replaced nor
        joined, and the same holds while it leaves: for a while both are tried in turn.
        """
        tries = JOIN_TRIES
        while True:
            adapters = self._own_adapters()
            tries -= 1
            try:
                return adapters, await self._start_host(stack, adapters)
            except StoreLocked as locked:
                joined = await self._join(stack, adapters, locked if tries == 0 else None)
            if joined is not None:
                return joined
            await sleep(adapters.clock, JOIN_PAUSE_S)

    async def _join(
        self,
        stack: AsyncExitStack,
        adapters: Adapters,
        last: StoreLocked | None,
    ) -> tuple[Adapters, Host] | None:
        """Join the process that has the store's file.

        Returns:
            What was joined with, or None if that process does not answer and *last* is None.

        Raises:
            StoreLocked: It does not answer, and this was the last try.
        """
        joining = _joining(self.settings, adapters, self._lose)
        try:
            return joining, await self._start_host(stack, joining)
        except BrokerUnavailable as unavailable:
            if last is not None:
                raise last from unavailable
            return None

    def _own_adapters(self) -> Adapters:
        adapters = self._adapters or adapters_for(self.settings, self._concurrency, self._lose)
        if "orchestrator" in self._roles:
            return adapters
        return _joining(self.settings, adapters, self._lose)

    async def _start_host(self, stack: AsyncExitStack, adapters: Adapters) -> Host:
        return await stack.enter_async_context(Host(_ports(adapters), self.host_settings()))

    def host_settings(self) -> HostSettings:
        """Return what a process of this application does."""
        return HostSettings(
            namespace=self.name,
            partitions=self._partitions,
            definitions=[workflow.definition for workflow in self.defined.values()],
            endpoints=self.functions.endpoints if "worker" in self._roles else {},
            engine=self._engine,
            worker=WorkerSettings(concurrency=self._concurrency),
        )


def _ports(adapters: Adapters) -> HostPorts:
    return HostPorts(
        broker=adapters.broker,
        store=adapters.store,
        clock=adapters.clock,
        chance=adapters.chance,
        threads=adapters.threads,
    )


def adapters_for(
    settings: Settings,
    concurrency: int = 100,
    on_lost: Callable[[], None] | None = None,
    clock: Clock | None = None,
) -> Adapters:
    """Return the adapters that URLs stand for; nothing is opened yet.

    Args:
        settings: The URLs.
        concurrency: How many synchronous handlers run at the same time.
        on_lost: Called when the connection to the broker is lost.
        clock: The time; by default the machine's.

    Raises:
        ConfigurationError: This version has no adapter for a URL.
    """
    clock = clock or SystemClock()
    store = None if settings.store is None else _store(settings.store, clock)
    broker, server = _broker(settings, store is not None, on_lost)
    return Adapters(
        broker=broker,
        store=store,
        clock=clock,
        chance=SystemChance(),
        threads=SystemThreads(concurrency),
        server=server,
    )


def _store(url: Url, clock: Clock) -> Store:
    match url.scheme:
        case "memory":
            store: Store = import_module("store.memory").MemoryStore(clock.now_ms)
        case "sqlite":
            store = import_module("store.sqlite").SqliteStore(url.path, clock.now_ms)
        case _:
            raise ConfigurationError(f"the store {url}", "this version cannot use it yet")
    return store


def _broker(
    settings: Settings,
    has_store: bool,  # noqa: FBT001
    on_lost: Callable[[], None] | None,
) -> tuple[Broker, Any]:
    memory = import_module("brokers.memory")
    match settings.broker.scheme:
        case "memory":
            hub = memory.Hub()
            return memory.MemoryBroker(hub), _server(memory, hub, settings, has_store)
        case "unix":
            return memory.SocketBroker(settings.broker.path, on_close=on_lost), None
        case _:
            reason = "this version cannot use it yet"
            raise ConfigurationError(f"the broker {settings.broker}", reason)


def _server(memory: Any, hub: Any, settings: Settings, has_store: bool) -> Any:  # noqa: FBT001
    store = settings.store
    if not has_store or store is None or store.scheme != SQLITE:
        return None
    return memory.SocketServer(hub, str(socket_path(Path(store.path), runtime_folder())))


def _joining(
    settings: Settings,
    adapters: Adapters,
    on_lost: Callable[[], None] | None,
) -> Adapters:
    """Return the adapters of a process that leaves the orchestrating to another one.

    An embedded flow is joined through the socket of the process that has the store's file.
    """
    store, broker = settings.store, adapters.broker
    if store is not None and store.scheme == SQLITE and settings.broker.scheme == MEMORY:
        path = socket_path(Path(store.path), runtime_folder())
        _log.info("joining the process that has %s through %s", store, path)
        broker = import_module("brokers.memory").SocketBroker(str(path), on_close=on_lost)
    return replace(adapters, broker=broker, store=None, server=None)


def holder_of(store: Url) -> str:
    """Return which process has a store all to itself: an empty string for none.

    Args:
        store: The store. Only SQLite files belong to one process at a time.

    Raises:
        StoreUnavailable: That cannot be found out.
    """
    if store.scheme != SQLITE:
        return ""
    holder = import_module("store.sqlite.lock").holder(Path(store.path))
    return "" if holder is None else str(holder)


def reading_store(store: Url, clock: Clock) -> Store:
    """Return a SQLite store that only reads, and leaves the file's lock alone.

    Args:
        store: The store.
        clock: The time.
    """
    sqlite = import_module("store.sqlite")
    reading: Store = sqlite.SqliteStore(Path(store.path), clock.now_ms, read_only=True)
    return reading


def runtime_folder() -> Path:
    """Return the folder for sockets; it is made for this user alone.

    Raises:
        ConfigurationError: It exists, and others may look into it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "flow" if base else Path("/tmp") / f"flow-{os.getuid()}"  # noqa: S108
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
        reason = "it has to belong to you alone (mode 0700), because programs are joined through it"
        raise ConfigurationError(f"the folder {folder}", reason)
    return folder
