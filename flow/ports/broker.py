"""The broker port: exchanges, queues, messages and their settlement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

from flow.errors import BrokerUnavailable
from flow.ports.health import Finding

_NO_HEADERS: Final[Mapping[str, str]] = {}


# These two are made for every message on its way: a named tuple costs a quarter of what a frozen
# dataclass costs.
class Envelope(NamedTuple):
    """One message as it travels: properties, headers and a body that is raw JSON.

    Args:
        type: What the message is, such as `step.request`.
        body: The JSON text; opaque to brokers.
        message_id: Fresh for every publication. A broker may fill in an empty one.
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
    headers: Mapping[str, str] = _NO_HEADERS
    content_type: str = "application/json"


class Publication(NamedTuple):
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
    """What became of a publication.

    * CONFIRMED: the broker has it, and answers for it; or nobody is interested and that is fine.
    * UNROUTABLE: it reached no queue although that was asked for, or its exchange does not exist.
    * REFUSED: the broker could not take it, for instance because a queue is full.
    """

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

    A queue that is not exclusive is durable and replicated, and outlives everybody.

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


class BrokerEvent(Enum):
    """What happens to the connection, as watchers are told.

    * CONNECTED: it was lost and is another one now. What was declared to be kept is declared
      again, what was consumed is consumed again. Deliveries of before are void: to settle them
      does nothing, and the broker delivers them once more. Nothing is known of a block any more.
    * LOST: it is gone, or so silent that it counts as gone. It is being made again, for ever.
    * BLOCKED: the broker takes no messages for now (it runs out of memory or disk).
    * UNBLOCKED: it takes messages again.
    """

    CONNECTED = "connected"
    LOST = "lost"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"


@dataclass(frozen=True, slots=True)
class BrokerHealth:
    """How the connection is.

    Args:
        is_connected: Whether everything that belongs to it is up.
        generation: How often it was made; 1 for the first time.
        blocked: Why the broker takes no messages, or an empty string.
        trouble: What went wrong last, without secrets; once it is up again, an empty string, or
            which queues cannot be consumed.
    """

    is_connected: bool
    generation: int
    blocked: str = ""
    trouble: str = ""


class PartlyPublished(BrokerUnavailable):
    """Of some publications of a call the outcome is unknown, and of others it is known.

    Args:
        url: Where the broker is, without secrets.
        reason: Why some outcomes are unknown.
        settlements: For each publication, in their order, its settlement; None if it is unknown.
    """

    def __init__(self, url: str, reason: str, settlements: Sequence[Settlement | None]) -> None:
        """Keep what is known."""
        super().__init__(url, reason)
        self.settlements = tuple(settlements)


@runtime_checkable
class Broker(Protocol):
    """One connection to a message broker: at-least-once delivery with confirms.

    A connection that is lost is made again by the adapter, for ever; watchers are told.
    """

    @property
    def url(self) -> str:
        """Where the broker is, without secrets."""
        ...

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        ...

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell of everything that happens to the connection from now on.

        Args:
            notify: Called on the event loop. It must not wait, and must not raise.

        Returns:
            What ends it.
        """
        ...

    async def examine(self) -> Sequence[Finding]:
        """Return what a person should know: version, permissions, features, alarms."""
        ...

    async def open(self) -> None:
        """Connect. Raises BrokerUnavailable: only what was connected once is made again."""
        ...

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        ...

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Make sure that exchanges, queues and bindings exist.

        Args:
            topology: What has to exist.
            keep: Whether it is declared again whenever the connection is another one. What is
                not kept shows by its absence that the broker has lost everything.

        Raises:
            ConfigurationError: Something exists with other properties, or may not be declared.
        """
        ...

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists. How a wiped broker is noticed."""
        ...

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and wait until the broker has settled each one.

        Returns:
            One settlement for each publication, in their order.

        Raises:
            BrokerUnavailable: The outcome of some or all is unknown, or the broker is blocked. An
                adapter that knows some outcomes raises `PartlyPublished`, so that these need not
                be published twice.
            ConfigurationError: One of them may not be published. Others may have been: publish
                each by itself to find out which it is.
            InvalidInput: One of them is not within the limits (`flow.ports.limits`). None was
                published.
            TooLarge: One of them is larger than the broker takes. Others may have been published.
        """
        ...

    async def consume(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> Subscription:
        """Start to receive from a queue, at most *prefetch* unsettled messages at a time.

        It goes on until the subscription is cancelled, whatever happens to the connection or to
        the queue: a queue that is gone is declared again if it was declared to be kept, and
        consumed again as soon as it is there.

        Args:
            queue: The queue's name. It must exist.
            prefetch: At least 1.
            receive: Called on the event loop for each delivery. It must not wait, and must not
                raise.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        ...
