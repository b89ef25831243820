"""The server side of the in-process broker: the reference of what a broker does.

A `Hub` holds exchanges, queues and bindings. A `Session` is what the hub knows of one
connection: its consumers, its unsettled deliveries and its exclusive queues. All of it is plain
synchronous state that belongs to one event loop at a time; `brokers.memory.broker` and
`brokers.memory.server` put a connection in front of it.

Nothing here depends on the clock, on chance or on the address of an object, and tables are
walked in the order of insertion: the same calls lead to the same deliveries in the same order.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from brokers.memory.queues import Consumer, Limits, MemoryDelivery, MemoryQueue, weigh
from brokers.memory.routing import Router
from flow.errors import ConfigurationError, nearest
from flow.ports import (
    Binding,
    Delivery,
    Exchange,
    Publication,
    Queue,
    Settlement,
    Topology,
)

__all__ = ["Hub", "HubStats", "Listener", "QueueStats", "Session"]

DEATH_REASON: Final = "flow-death-reason"
"""Header of a dead-lettered message: `rejected` or `delivery_limit`."""
DEATH_QUEUE: Final = "flow-death-queue"
"""Header of a dead-lettered message: the queue that gave it up."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What a queue holds.

    Args:
        name: Its name.
        ready: Messages that wait.
        unsettled: Messages that were handed out and not settled.
        held_bytes: Bytes of all of them.
        consumers: How many receive from it.
    """

    name: str
    ready: int
    unsettled: int
    held_bytes: int
    consumers: int


@dataclass(frozen=True, slots=True)
class HubStats:
    """What a hub holds and has done.

    Args:
        queues: One for each queue, in the order of their declaration.
        sessions: Open connections.
        dead_lettered: Messages that were sent to a dead-letter exchange.
        dropped: Messages that were given up and that no dead-letter exchange took.
    """

    queues: tuple[QueueStats, ...]
    sessions: int
    dead_lettered: int
    dropped: int


class Listener:
    """Somebody who does not care what a hub does by itself; the others override what they do."""

    def lost(self) -> None:
        """Take note that the hub has ended the session."""

    def blocked(self, reason: str) -> None:
        """Take note that the hub takes no messages, or takes them again if there is no reason."""

    def declared(self, queue: str) -> None:
        """Take note that there is a new queue."""


class Hub:
    """What there is: exchanges, queues, bindings and the sessions that use them.

    Args:
        items_max: How many messages one queue may hold, unsettled ones included.
        bytes_max: How many bytes of bodies and headers one queue may hold.
        returns_max: How often a message may be given back before it is dead-lettered.
    """

    def __init__(
        self,
        *,
        items_max: int = 1_000_000,
        bytes_max: int = 1024 * 1024 * 1024,
        returns_max: int = 100_000,
    ) -> None:
        self._limits = Limits(items_max, bytes_max, returns_max)
        self._default = Router(Exchange("", "direct"))
        self._exchanges = {"": self._default}
        self._queues: dict[str, MemoryQueue] = {}
        self._sessions: dict[Session, None] = {}
        self._dead_lettered = 0
        self._dropped = 0
        self._blocked = ""

    @property
    def blocked(self) -> str:
        """Why no messages are taken, or an empty string."""
        return self._blocked

    def connect(self, listener: Listener | None = None) -> "Session":
        """Open a session on the running event loop.

        Args:
            listener: Told what the hub does by itself.
        """
        session = Session(self, asyncio.get_running_loop(), listener or Listener())
        self._sessions[session] = None
        return session

    def depth(self, queue: str) -> int:
        """Return how many messages wait in *queue*.

        Raises:
            ConfigurationError: There is no such queue.
        """
        if queue not in self._queues:
            raise _missing("queue", queue, self._queues)
        return self._queues[queue].ready

    def stats(self) -> HubStats:
        """Return what the hub holds and has done."""
        queues = [
            QueueStats(
                name,
                queue.ready,
                queue.held_items - queue.ready,
                queue.held_bytes,
                queue.consumers,
            )
            for name, queue in self._queues.items()
        ]
        return HubStats(tuple(queues), len(self._sessions), self._dead_lettered, self._dropped)

    def wipe(self) -> None:
        """End every session and lose everything, as a broker does whose disk is gone."""
        sessions = self._end_sessions()
        self._default = Router(Exchange("", "direct"))
        self._exchanges = {"": self._default}
        self._queues = {}
        for session in sessions:
            session.listener.lost()

    def purge(self, queue: str) -> None:
        """Lose the messages that wait in a queue, if there is such a queue.

        Args:
            queue: Its name.
        """
        if queue in self._queues:
            self._queues[queue].purge()

    def cut(self) -> None:
        """End every session, as an administrator of a broker does, and lose nothing else."""
        for session in self._end_sessions():
            session.listener.lost()

    def block(self, reason: str) -> None:
        """Take no messages, as a broker does that runs out of memory.

        Args:
            reason: Why, or an empty string to take messages again.
        """
        if reason != self._blocked:
            self._blocked = reason
            for session in list(self._sessions):
                session.listener.blocked(reason)

    def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists."""
        return name in self._exchanges

    def publish(self, publication: Publication) -> Settlement:
        """Put a message into every queue that it is routed to, or into none.

        Args:
            publication: The message. Without its exchange, it is unroutable.
        """
        router = self._exchanges.get(publication.exchange)
        if router is None:
            return Settlement.UNROUTABLE
        queues = router.routes.get(publication.routing_key)
        if queues is None:
            queues = router.find(publication.routing_key)
        if not queues:
            return Settlement.UNROUTABLE if publication.mandatory else Settlement.CONFIRMED
        size = weigh(publication)
        for queue in queues:
            if not queue.has_room(size):
                return Settlement.REFUSED
        for queue in queues:
            queue.put(publication, size)
        return Settlement.CONFIRMED

    def find_queue(self, name: str, session: "Session") -> MemoryQueue:
        """Return a queue that *session* can see.

        Raises:
            ConfigurationError: There is none.
        """
        if not self.can_see(name, session):
            visible = [name for name in self._queues if self.can_see(name, session)]
            raise _missing("queue", name, visible)
        return self._queues[name]

    def can_see(self, name: str, session: "Session") -> bool:
        """Return whether there is a queue of this name that *session* may consume."""
        queue = self._queues.get(name)
        return queue is not None and queue.owner in (None, session)

    def declare_exchange(self, exchange: Exchange) -> None:
        """Make sure that an exchange exists.

        Raises:
            ConfigurationError: It exists as another kind, or has no name.
        """
        if not exchange.name:
            raise ConfigurationError("the default exchange", "it always exists; do not declare it")
        router = self._exchanges.setdefault(exchange.name, Router(exchange))
        if router.declared != exchange:
            raise ConfigurationError(
                f"exchange {exchange.name!r}",
                f"it exists as {router.declared} and cannot be declared as {exchange}",
            )

    def declare_queue(self, queue: Queue, session: "Session") -> None:
        """Make sure that a queue exists.

        Raises:
            ConfigurationError: It exists with other properties, belongs to another session, or
                has no name.
        """
        if not queue.name:
            raise ConfigurationError("a queue", "it needs a name")
        found = self._queues.get(queue.name)
        if found is None:
            owner = session if queue.exclusive else None
            found = MemoryQueue(queue, owner, self._limits, self._bury)
            self._queues[queue.name] = found
            self._default.bind(queue.name, found)
            if queue.exclusive:
                session.exclusive.append(found)
            for other in list(self._sessions):
                other.listener.declared(queue.name)
        if found.owner not in (None, session):
            raise ConfigurationError(
                f"queue {queue.name!r}", "it belongs to another connection, exclusively"
            )
        if found.declared != queue:
            raise ConfigurationError(
                f"queue {queue.name!r}",
                f"it exists as {found.declared} and cannot be declared as {queue}",
            )

    def bind(self, binding: Binding, session: "Session") -> None:
        """Make sure that a binding exists.

        Raises:
            ConfigurationError: Its queue or its exchange does not exist, or is the default one.
        """
        if not binding.exchange:
            raise ConfigurationError(
                "the default exchange", "every queue is bound to it by its name, and only so"
            )
        if binding.exchange not in self._exchanges:
            raise _missing("exchange", binding.exchange, self._exchanges)
        queue = self.find_queue(binding.queue, session)
        self._exchanges[binding.exchange].bind(binding.routing_key, queue)

    def delete_queue(self, queue: MemoryQueue) -> None:
        """Forget a queue with its messages and bindings."""
        del self._queues[queue.declared.name]
        for router in self._exchanges.values():
            router.unbind(queue)
        queue.clear()

    def _end_sessions(self) -> list["Session"]:
        sessions = list(self._sessions)
        for session in sessions:
            session.close()
        return sessions

    def forget(self, session: "Session") -> None:
        """Count a session as open no longer."""
        self._sessions.pop(session, None)

    def _bury(self, queue: MemoryQueue, message: MemoryDelivery, reason: str) -> None:
        """Send what a queue gives up to its dead-letter exchange."""
        target = queue.declared.dead_letter
        if target not in self._exchanges or not target:
            self._dropped += 1
            return
        marks = {DEATH_REASON: reason, DEATH_QUEUE: queue.declared.name}
        envelope = message.envelope._replace(headers={**message.envelope.headers, **marks})
        outcome = self.publish(Publication(target, message.routing_key, envelope))
        if outcome is Settlement.CONFIRMED:
            self._dead_lettered += 1
        else:
            self._dropped += 1


class Session:
    """What a hub knows of one connection. Nothing may be asked of it once it is closed.

    Args:
        hub: The hub.
        loop: The event loop that deliveries are made on.
        listener: Told what the hub does by itself.
    """

    def __init__(
        self,
        hub: Hub,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
    ) -> None:
        self.is_open = True
        self.listener = listener
        self.exclusive: list[MemoryQueue] = []
        self._hub = hub
        self._loop = loop
        self._is_paused = False
        self._consumers: dict[Consumer, None] = {}
        self._unsettled: dict[MemoryDelivery, Consumer] = {}

    def declare(self, topology: Topology) -> None:
        """Make sure that exchanges, queues and bindings exist, in this order.

        Raises:
            ConfigurationError: Something exists with other properties, or a binding leads
                nowhere. What comes before it has been declared.
        """
        for exchange in topology.exchanges:
            self._hub.declare_exchange(exchange)
        for queue in topology.queues:
            self._hub.declare_queue(queue, self)
        for binding in topology.bindings:
            self._hub.bind(binding, self)

    def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists."""
        return self._hub.has_exchange(name)

    def can_see(self, queue: str) -> bool:
        """Return whether there is such a queue, and this session may consume it."""
        return self._hub.can_see(queue, self)

    def publish(self, publications: Sequence[Publication]) -> list[Settlement]:
        """Publish each of *publications*."""
        return [self._hub.publish(publication) for publication in publications]

    def consume(self, queue: str, prefetch: int, receive: Callable[[Delivery], None]) -> Consumer:
        """Start to receive from *queue*, at most *prefetch* unsettled messages at a time.

        Raises:
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        if prefetch < 1:
            raise ConfigurationError(f"prefetch of queue {queue!r}", "it must be at least 1")
        source = self._hub.find_queue(queue, self)
        consumer = Consumer(source, prefetch, receive, self._unsettled, self._loop)
        source.consumers += 1
        self._consumers[consumer] = None
        if not self._is_paused:
            consumer.start()
        return consumer

    def cancel(self, consumer: Consumer) -> None:
        """Stop to receive. What was received and not settled can still be settled."""
        if consumer in self._consumers:
            del self._consumers[consumer]
            consumer.queue.consumers -= 1
            consumer.stop()

    def pause(self) -> None:
        """Receive nothing for now."""
        self._is_paused = True
        for consumer in self._consumers:
            consumer.stop()

    def resume(self) -> None:
        """Receive again after `pause`."""
        self._is_paused = False
        for consumer in self._consumers:
            consumer.start()

    def close(self) -> None:
        """Give unsettled deliveries back and delete exclusive queues. May be called twice."""
        if not self.is_open:
            return
        self.is_open = False
        for consumer in list(self._consumers):
            self.cancel(consumer)
        unsettled = list(self._unsettled.items())
        self._unsettled.clear()
        for delivery, consumer in unsettled:
            consumer.queue.put_back(delivery)
        for queue in self.exclusive:
            self._hub.delete_queue(queue)
        self._hub.forget(self)


def _missing(kind: str, name: str, known: Iterable[str]) -> ConfigurationError:
    hint = nearest(name, known)
    return ConfigurationError(f"{kind} {name!r}", f"it does not exist{hint}; declare it first")
