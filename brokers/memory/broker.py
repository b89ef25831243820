"""A connection to a hub in the same process."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from brokers.memory.hub import Hub, Listener, Session
from brokers.memory.queues import Consumer
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import (
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Finding,
    Level,
    Publication,
    Settlement,
    Subscription,
    Topology,
    check_publication,
)

__all__ = ["NOT_OPEN", "MemoryBroker", "Watchers"]

BREATH: Final = 256
"""Publications after which the publisher lets others on the event loop have their turn."""
NOT_OPEN: Final = "the connection is not open"
LOST: Final = "the hub has ended the session"


class Watchers:
    """Those who are told what happens to a connection."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._notify: dict[object, Callable[[BrokerEvent], None]] = {}

    def add(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Add somebody; return what removes them."""
        key = object()
        self._notify[key] = notify

        def remove() -> None:
            self._notify.pop(key, None)

        return remove

    def tell(self, event: BrokerEvent) -> None:
        """Tell everybody, in the order in which they came."""
        for notify in list(self._notify.values()):
            try:
                notify(event)
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a watcher of the broker raised", "exception": error}
                )


class MemorySubscription:
    """A running consumer; satisfies `flow.ports.Subscription`.

    Args:
        queue: The queue.
        prefetch: How many unsettled messages at most.
        receive: Called with each delivery.
        forget: Called with this subscription when it is cancelled.
    """

    __slots__ = ("_consumer", "_forget", "_prefetch", "_receive", "_session", "queue")

    def __init__(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
        forget: Callable[["MemorySubscription"], None],
    ) -> None:
        self.queue = queue
        self._prefetch = prefetch
        self._receive = receive
        self._forget = forget
        self._session: Session | None = None
        self._consumer: Consumer | None = None

    @property
    def is_running(self) -> bool:
        """Whether its session is open."""
        return self._session is not None and self._session.is_open

    def start(self, session: Session) -> None:
        """Receive in *session* from now on.

        Raises:
            ConfigurationError: There is no such queue, or the prefetch is less than 1.
        """
        self._consumer = session.consume(self.queue, self._prefetch, self._receive)
        self._session = session

    async def cancel(self) -> None:
        """Stop receiving. What was received and not settled stays ours to settle."""
        self._forget(self)
        if self._session is not None and self._consumer is not None:
            self._session.cancel(self._consumer)


class MemoryBroker(Listener):
    """One connection to a hub; satisfies `flow.ports.Broker`.

    When the hub ends its session, it opens another one in the next turn of the event loop.

    Args:
        hub: The hub. Without it, the connection has one of its own.
        url: What `url` says.
        on_close: Called when the connection is lost, not by `close`.
    """

    def __init__(
        self,
        hub: Hub | None = None,
        url: str = "memory://",
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.hub = hub if hub is not None else Hub()
        self._url = url
        self._on_close = on_close
        self._session: Session | None = None
        self._published = 0
        self._generation = 0
        self._trouble = NOT_OPEN
        self._watchers = Watchers()
        self._kept: dict[Topology, None] = {}
        self._subscriptions: dict[MemorySubscription, None] = {}
        self._renewal: asyncio.Handle | None = None

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self._url

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        is_connected = self._session is not None and self._session.is_open
        trouble = "" if is_connected else self._trouble
        return BrokerHealth(is_connected, self._generation, self.hub.blocked, trouble)

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell of everything that happens to the connection from now on.

        Args:
            notify: Called on the event loop. It must not wait, and must not raise.

        Returns:
            What ends it.
        """
        return self._watchers.add(notify)

    async def examine(self) -> Sequence[Finding]:
        """Return what a person should know about the broker.

        Raises:
            BrokerUnavailable: The connection is not open.
        """
        self._open_session()
        return [Finding(Level.FINE, "broker", "in this process; its messages end with it")]

    async def open(self) -> None:
        """Connect. Does nothing on a connection that is open."""
        if self._session is None:
            self._session = self.hub.connect(self)
            self._generation += 1
        elif not self._session.is_open:
            self._renew()

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        if self._renewal is not None:
            self._renewal.cancel()
        session, self._session = self._session, None
        self._trouble = NOT_OPEN
        self._kept.clear()
        self._subscriptions.clear()
        if session is not None:
            session.close()

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Make sure that exchanges, queues and bindings exist.

        Args:
            topology: What has to exist.
            keep: Whether it is declared again whenever the connection is another one.

        Raises:
            BrokerUnavailable: The connection is not open.
            ConfigurationError: Something exists with other properties, or a binding leads
                nowhere.
        """
        self._open_session().declare(topology)
        if keep:
            self._kept[topology] = None

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists.

        Raises:
            BrokerUnavailable: The connection is not open.
        """
        return self._open_session().has_exchange(name)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and return one settlement for each publication.

        Raises:
            BrokerUnavailable: The connection is not open, or the hub takes no messages.
            InvalidInput: One of them is not within the limits. Nothing was published.
            TooLarge: The headers of one of them are too large. Nothing was published.
        """
        session = self._open_session()
        if self.hub.blocked:
            raise BrokerUnavailable(self._url, f"it is blocked: {self.hub.blocked}")
        for publication in publications:
            check_publication(publication)
        settlements = session.publish(publications)
        self._published += len(publications)
        if self._published >= BREATH:
            # Nothing here ever waits, so a loop of publishers would keep the consumers away.
            self._published = 0
            await asyncio.sleep(0)
        return settlements

    async def consume(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> Subscription:
        """Start to receive from *queue*, at most *prefetch* unsettled messages at a time.

        Args:
            queue: The queue's name. It must exist.
            prefetch: At least 1.
            receive: Called on the event loop for each delivery. It must not wait, and must not
                raise: if it does, the message goes back.

        Raises:
            BrokerUnavailable: The connection is not open.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        subscription = MemorySubscription(queue, prefetch, receive, self._forget)
        subscription.start(self._open_session())
        self._subscriptions[subscription] = None
        return subscription

    def lost(self) -> None:
        """Take note that the hub has ended the session, and open another one soon."""
        self._trouble = LOST
        self._renewal = asyncio.get_running_loop().call_soon(self._renew)
        if self._on_close is not None:
            self._on_close()
        self._watchers.tell(BrokerEvent.LOST)

    def blocked(self, reason: str) -> None:
        """Take note that the hub takes no messages, or takes them again."""
        self._watchers.tell(BrokerEvent.BLOCKED if reason else BrokerEvent.UNBLOCKED)

    def declared(self, queue: str) -> None:
        """Consume a queue that was not there when the connection was made again."""
        if self._session is not None and self._session.is_open:
            for subscription in self._subscriptions:
                if subscription.queue == queue and not subscription.is_running:
                    subscription.start(self._session)

    def _renew(self) -> None:
        """Open another session, with all that was in the last one."""
        if self._session is None or self._session.is_open:
            return
        self._session = session = self.hub.connect(self)
        self._generation += 1
        for topology in self._kept:
            try:
                session.declare(topology)
            except ConfigurationError as error:
                # Others were faster and declared it otherwise: the next use of it will tell.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "what was declared before is refused now", "exception": error}
                )
        for subscription in self._subscriptions:
            if not subscription.is_running and session.can_see(subscription.queue):
                subscription.start(session)
        self._watchers.tell(BrokerEvent.CONNECTED)

    def _forget(self, subscription: MemorySubscription) -> None:
        self._subscriptions.pop(subscription, None)

    def _open_session(self) -> Session:
        if self._session is None or not self._session.is_open:
            raise BrokerUnavailable(self._url, self._trouble)
        return self._session
