"""A connection to a hub in the same process."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from brokers.memory.hub import Hub, Session
from brokers.memory.queues import Consumer
from flow.errors import BrokerUnavailable
from flow.ports import Delivery, Publication, Settlement, Subscription, Topology

__all__ = ["MemoryBroker"]

BREATH: Final = 256
"""Publications after which the publisher lets others on the event loop have their turn."""


class MemorySubscription:
    """A running consumer; satisfies `flow.ports.Subscription`.

    Args:
        session: Its session.
        consumer: What the session knows it as.
    """

    __slots__ = ("_consumer", "_session")

    def __init__(self, session: Session, consumer: Consumer) -> None:
        self._session = session
        self._consumer = consumer

    async def cancel(self) -> None:
        """Stop receiving. What was received and not settled stays ours to settle."""
        self._session.cancel(self._consumer)


class MemoryBroker:
    """One connection to a hub; satisfies `flow.ports.Broker`.

    Args:
        hub: The hub. Without it, the connection has one of its own.
        url: What `url` says.
        on_close: Called when the connection is lost (the hub was wiped), not by `close`.
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

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self._url

    async def open(self) -> None:
        """Connect. Does nothing on a connection that is open."""
        if self._session is None or not self._session.is_open:
            self._session = self.hub.connect(self._on_close)

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def declare(self, topology: Topology) -> None:
        """Make sure that exchanges, queues and bindings exist.

        Raises:
            BrokerUnavailable: The connection is not open.
            ConfigurationError: Something exists with other properties, or a binding leads
                nowhere.
        """
        self._open_session().declare(topology)

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists.

        Raises:
            BrokerUnavailable: The connection is not open.
        """
        return self._open_session().has_exchange(name)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and return one settlement for each publication.

        Raises:
            BrokerUnavailable: The connection is not open.
            ConfigurationError: An exchange does not exist. Nothing was published.
        """
        settlements = self._open_session().publish(publications)
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
        session = self._open_session()
        return MemorySubscription(session, session.consume(queue, prefetch, receive))

    def _open_session(self) -> Session:
        if self._session is None or not self._session.is_open:
            raise BrokerUnavailable(self._url, "the connection is not open")
        return self._session
