"""Ports that are watched: what the flow does at them is how the harness sees it move."""

import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from flow.errors import BrokerUnavailable
from flow.message import Message
from flow.ports import (
    Broker,
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Finding,
    Publication,
    Settlement,
    Store,
    Subscription,
    Threads,
    Topology,
)
from flow.runtime.addresses import Addresses
from flow.testing.idleness import Idleness

__all__ = ["WatchedBroker", "WatchedThreads", "watched_store"]

T = TypeVar("T")


class WatchedBroker:
    """A connection to the broker; satisfies `flow.ports.Broker`.

    Args:
        broker: The real one.
        addresses: The names of the namespace.
        idleness: Is told of everything.
        ready: Awaited before anything is published.

    Attributes:
        published: What was published to each topic.
        published_count: How many messages were published.
        missing: The endpoints that nobody served when they were last asked for.
    """

    def __init__(
        self,
        broker: Broker,
        addresses: Addresses,
        idleness: Idleness,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin with nothing published."""
        self.published: dict[str, list[Message]] = {}
        self.published_count = 0
        self.missing: dict[str, None] = {}
        self._broker = broker
        self._addresses = addresses
        self._idleness = idleness
        self._ready = ready
        self._is_cut = False

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self._broker.url

    def cut(self) -> None:
        """Let nothing through any more, until it is opened again."""
        self._is_cut = True

    async def open(self) -> None:
        """Connect."""
        self._is_cut = False
        self._idleness.stir()
        await self._broker.open()

    async def close(self) -> None:
        """Disconnect."""
        self._idleness.stir()
        await self._broker.close()

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        return self._broker.health

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell of everything that happens to the connection."""
        return self._broker.watch(notify)

    async def examine(self) -> Sequence[Finding]:
        """Return what a person should know."""
        return await self._broker.examine()

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Make sure that exchanges, queues and bindings exist."""
        self._check()
        await self._broker.declare(topology, keep=keep)

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists."""
        self._check()
        return await self._broker.has_exchange(name)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and keep what was published to topics."""
        await self._ready()
        self._check()
        settlements = await self._broker.publish(publications)
        self.published_count += len(publications)
        for publication, settlement in zip(publications, settlements, strict=True):
            self._note(publication, settlement)
        return settlements

    async def consume(
        self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
    ) -> Subscription:
        """Start to receive from a queue."""

        def take(delivery: Delivery) -> None:
            # What arrives after a cut stays unsettled, and comes again.
            if not self._is_cut:
                self._idleness.stir()
                receive(delivery)

        self._check()
        return await self._broker.consume(queue, prefetch, take)

    def _check(self) -> None:
        self._idleness.stir()
        if self._is_cut:
            raise BrokerUnavailable(self.url, "the process that had the connection is dead")

    def _note(self, publication: Publication, settlement: Settlement) -> None:
        key, envelope = publication.routing_key, publication.envelope
        if publication.exchange == self._addresses.topics:
            message = Message(dict(envelope.headers), envelope.body)
            self.published.setdefault(key, []).append(message)
        elif publication.exchange == self._addresses.steps:
            if settlement is Settlement.UNROUTABLE:
                self.missing[key] = None
            else:
                self.missing.pop(key, None)


class WatchedThreads:
    """Runs functions at once, or in real threads; satisfies `flow.ports.Threads`.

    Args:
        threads: The real threads, or None to call functions where they are, one at a time.
        idleness: Is told of everything.
    """

    def __init__(self, threads: Threads | None, idleness: Idleness) -> None:
        """Keep the threads."""
        self._threads = threads
        self._idleness = idleness

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function.

        Args:
            function: What to run.
        """
        self._idleness.progress()
        if self._threads is None:
            self._idleness.stir()
            return contextvars.copy_context().run(function)
        with self._idleness.busy():
            return await self._threads.run(function)


class _WatchedStore:
    """A store whose calls are told of. Its methods are made as they are asked for."""

    def __init__(self, store: Store, idleness: Idleness) -> None:
        self._store = store
        self._idleness = idleness

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def exclusive(self) -> bool:
        return self._store.exclusive

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name == "commit" and args[0].writes:
                self._idleness.progress()
            with self._idleness.busy():
                return await method(*args, **kwargs)

        setattr(self, name, call)
        return call


def watched_store(store: Store, idleness: Idleness) -> Store:
    """Return a store that does what another one does, and tells of it.

    Args:
        store: The real one.
        idleness: Is told of everything.
    """
    return cast("Store", _WatchedStore(store, idleness))
