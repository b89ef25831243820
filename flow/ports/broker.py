"""The broker port: exchanges, queues, messages and their settlement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message as it travels: properties, headers and a body that is raw JSON.

    Args:
        type: What the message is, such as `step.request`.
        body: The JSON text; opaque to brokers.
        message_id: Fresh for every publication; returns are matched by it.
        correlation_id: Ties a reply to its request (at most 255 bytes).
        reply_to: The queue that an answer goes to, or an empty string.
        headers: Metadata; names and values are text.
        content_type: The type of the body.
    """

    type: str
    body: bytes
    message_id: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Publication:
    """An envelope with its destination.

    Args:
        exchange: The exchange, or `""` for the one that routes by queue name.
        routing_key: What the exchange routes by.
        envelope: The message.
        mandatory: Whether a message that reaches no queue is reported as UNROUTABLE. Without
            it, nobody being interested is success.
    """

    exchange: str
    routing_key: str
    envelope: Envelope
    mandatory: bool = True


class Settlement(Enum):
    """What became of a publication."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    REFUSED = "refused"


class Delivery(Protocol):
    """A message that a consumer received and has to settle, once.

    Settling never waits and never fails: a settlement that comes too late (the connection is
    another one by now) does nothing, because the broker delivers the message again anyway.
    """

    @property
    def envelope(self) -> Envelope:
        """The message."""
        ...

    @property
    def routing_key(self) -> str:
        """The key that it was published with."""
        ...

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        ...

    def ack(self) -> None:
        """Tell the broker that the message is done with."""
        ...

    def requeue(self) -> None:
        """Give the message back, to be delivered again."""
        ...

    def reject(self) -> None:
        """Send the message to the queue's dead-letter exchange."""
        ...


class Subscription(Protocol):
    """A running consumer."""

    async def cancel(self) -> None:
        """Stop receiving. What was received and not settled stays ours to settle."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A named place that messages are published to."""

    name: str
    kind: Literal["direct", "topic", "fanout"]


@dataclass(frozen=True, slots=True)
class Queue:
    """A named place that messages wait in.

    Args:
        name: Its name.
        exclusive: Whether it belongs to the connection that declares it and goes with it.
        dead_letter: The exchange that rejected messages go to, or an empty string.
    """

    name: str
    exclusive: bool = False
    dead_letter: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """A rule by which an exchange puts messages into a queue.

    Args:
        queue: The queue's name.
        exchange: The exchange's name.
        routing_key: The key to match; in a topic exchange `*` stands for one word and `#` for
            any number of them.
    """

    queue: str
    exchange: str
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """What has to exist on the broker before it is used. Declaring it again changes nothing."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


@runtime_checkable
class Broker(Protocol):
    """One connection to a message broker: at-least-once delivery with confirms."""

    @property
    def url(self) -> str:
        """Where the broker is, without secrets."""
        ...

    async def open(self) -> None:
        """Connect. Raises BrokerUnavailable."""
        ...

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        ...

    async def declare(self, topology: Topology) -> None:
        """Make sure that exchanges, queues and bindings exist."""
        ...

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists. How a wiped broker is noticed."""
        ...

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and wait until the broker has settled each one.

        Returns:
            One settlement for each publication, in their order.

        Raises:
            BrokerUnavailable: The outcome of some or all is unknown.
        """
        ...

    async def consume(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> Subscription:
        """Start to receive from a queue, at most *prefetch* unsettled messages at a time.

        Args:
            queue: The queue's name. It must exist.
            prefetch: At least 1.
            receive: Called on the event loop for each delivery. It must not wait, and must not
                raise.
        """
        ...
