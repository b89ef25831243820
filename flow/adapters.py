"""The one place where URLs become adapters.

Everything else knows brokers and stores as ports only. Which class stands behind a URL is decided
here, by name, so that only what is used has to be installed.
"""

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from flow.clock import SystemChance, SystemClock, SystemThreads
from flow.config import MEMORY, POSTGRESQL, SQLITE, Settings, Url, redacted, socket_path
from flow.errors import ConfigurationError
from flow.ports import Broker, Chance, Clock, Inbox, Store, Threads

__all__ = [
    "Adapters",
    "Servers",
    "adapters_for",
    "holder_of",
    "inbox_for",
    "joining",
    "memory_servers",
    "reading_store",
    "runtime_folder",
]

_log = logging.getLogger("flow.app")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """A broker and a store that any number of processes share, for simulations.

    Args:
        connect: Returns a new connection to the broker, not yet open.
        store: Returns a new store on the shared data, not yet open.
        wipe: Has the broker lose everything, as one does whose disk is gone.
        purge: Has the broker lose the messages that wait in a queue, given its name.
        hub: What the connections lead to, for looking at.
        database: What the stores work on, for looking at.
    """

    connect: Callable[[], Broker]
    store: Callable[[], Store]
    wipe: Callable[[], None]
    purge: Callable[[str], None]
    hub: Any = None
    database: Any = None


def memory_servers(now_ms: Callable[[], int]) -> Servers:
    """Return a broker and a store in memory, which nothing else can reach.

    Args:
        now_ms: The clock that leases run out by, in milliseconds since 1970.
    """
    brokers, stores = import_module("brokers.memory"), import_module("store.memory")
    hub, database = brokers.Hub(), stores.MemoryDatabase()
    return Servers(
        connect=lambda: brokers.MemoryBroker(hub),
        store=lambda: stores.MemoryStore(now_ms, database),
        wipe=hub.wipe,
        purge=hub.purge,
        hub=hub,
        database=database,
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
        ConfigurationError: There is no adapter for a URL, its driver is not installed, or the
            broker and the store do not go together.
    """
    _check_together(settings)
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
        case "postgresql":
            store = _extra("store.postgres", "postgres", f"the store {url}").PostgresStore(url.text)
        case _:
            raise ConfigurationError(f"the store {url}", "there is no adapter for it")
    return store


def inbox_for(url: str | None) -> Inbox | None:
    """Return the inbox that a URL stands for, or None if there is none.

    Args:
        url: Where the inbox table is.

    Raises:
        ConfigurationError: There is no adapter for it, or its driver is not installed.
    """
    if url is None:
        return None
    subject = f"the inbox {redacted(url)}"
    match url.partition("://")[0]:
        case "memory":
            inbox: Inbox = import_module("store.memory").MemoryInbox()
        case "postgresql":
            inbox = _extra("store.postgres", "postgres", subject).PostgresInbox(url)
        case _:
            raise ConfigurationError(subject, "it is the database of the effects: postgresql://…")
    return inbox


def _extra(module: str, extra: str, subject: str) -> Any:
    """Return the module of an adapter whose driver is installed only where it is wanted."""
    try:
        return import_module(module)
    except ImportError as error:
        missing = error.name or ""
        if missing.partition(".")[0] in {"flow", "brokers", "store"}:
            raise
        reason = f"its driver {missing!r} is not installed: pip install flowmq[{extra}]"
        raise ConfigurationError(subject, reason) from error


def _check_together(settings: Settings) -> None:
    """Refuse a broker that others cannot reach for a store that they share.

    Raises:
        ConfigurationError: The two do not go together.
    """
    store = settings.store
    is_shared = store is not None and store.scheme == POSTGRESQL
    if is_shared and settings.broker.scheme in {MEMORY, "unix"}:
        reason = (
            f"the store {store} may be shared by several orchestrators, which have to reach each "
            "other's queues; use amqp:// with it, or sqlite:// with this broker"
        )
        raise ConfigurationError(f"the broker {settings.broker}", reason)


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
        case "amqp" | "amqps":
            # It connects again by itself, so that there is nobody to tell of a loss.
            subject = f"the broker {settings.broker}"
            rabbitmq = _extra("brokers.rabbitmq", "rabbitmq", subject)
            return rabbitmq.RabbitBroker(settings.broker.text, name=f"flow {os.getpid()}"), None
        case _:
            reason = "there is no adapter for it"
            raise ConfigurationError(f"the broker {settings.broker}", reason)


def _server(memory: Any, hub: Any, settings: Settings, has_store: bool) -> Any:  # noqa: FBT001
    store = settings.store
    if not has_store or store is None or store.scheme != SQLITE:
        return None
    return memory.SocketServer(hub, str(socket_path(Path(store.path), runtime_folder())))


def joining(
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
    """Return a store that only reads: it makes and migrates nothing, and takes no lock.

    Args:
        store: The store, a SQLite file or a PostgreSQL database.
        clock: The time.

    Raises:
        ConfigurationError: Its driver is not installed.
    """
    if store.scheme == POSTGRESQL:
        postgres = _extra("store.postgres", "postgres", f"the store {store}")
        looking: Store = postgres.PostgresStore(store.text, read_only=True)
        return looking
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
