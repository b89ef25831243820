"""What the parts of the broker's end of a connection share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flow.errors import BrokerUnavailable, FlowError
from flow.ports import Broker, Delivery, Envelope
from flow.runtime.bundles import BUNDLE, messages_of
from flow.testing.simulation.conditions import BrokerConditions
from flow.testing.simulation.network import Link, Stream

__all__ = ["URL", "Consuming", "Line", "Peer", "named"]

URL: Final = "simulated://broker"
"""What brokers in a simulation say of where they are."""


class Consuming(Protocol):
    """A consumer, as the process knows it."""

    @property
    def queue(self) -> str:
        """The queue's name."""
        ...

    @property
    def prefetch(self) -> int:
        """How many unsettled messages it may have."""
        ...


class Peer(Protocol):
    """The process's end of a connection. It is told everything over the network."""

    def answered(self, number: int, result: Any, error: FlowError | None) -> None:
        """Take the answer to a question."""
        ...

    def take(self, consumer: Any, delivery: Delivery) -> None:
        """Take a delivery."""
        ...

    def cancelled(self, consumer: Any) -> None:
        """Take note that the broker has ended a consumer."""
        ...

    def blocked(self, reason: str) -> None:
        """Take note that the broker takes no messages, or takes them again."""
        ...

    def lost(self, reason: str) -> None:
        """Take note that the broker has ended the connection."""
        ...


@dataclass(slots=True, eq=False)
class Line:
    """One connection, as the broker has it.

    Args:
        link: The way to the process.
        stream: What is said on it, but for publications.
        conditions: How the broker is.
        note: Told what happens.
        peer: The other end.
        inner: The connection to the real broker, once it is open.
        is_over: Whether the connection has ended.
        lanes: What publications and their confirms go over. They overtake what goes over the
            stream, and each other: publishers have a connection of their own, and channels on it.
    """

    link: Link
    stream: Stream
    conditions: BrokerConditions
    note: Callable[[str, str], None]
    peer: Peer
    inner: Broker | None = None
    is_over: bool = False
    lanes: Sequence[Stream] = ()

    @property
    def blocked(self) -> str:
        """Why the broker takes no messages, or an empty string."""
        return self.conditions.blocked or (self.inner.health.blocked if self.inner else "")

    def opened(self) -> Broker:
        """Return the connection to the real broker.

        Raises:
            BrokerUnavailable: There is none.
        """
        if self.inner is None:
            raise BrokerUnavailable(URL, "the connection was not accepted")
        return self.inner

    async def answer(self, number: int, operation: Callable[[], Awaitable[Any]]) -> None:
        """Do something, and send what it returns, or its error.

        Args:
            number: The number of the question.
            operation: What to do.
        """
        try:
            result = await operation()
        except FlowError as error:
            self.reply(number, None, error)
        else:
            self.reply(number, result, None)

    def reply(
        self, number: int, result: Any, error: FlowError | None, over: Stream | None = None
    ) -> None:
        """Send an answer.

        Args:
            number: The number of the question.
            result: The answer, if there is no error.
            error: What went wrong, or None.
            over: What it goes over, if the question was a publication.
        """
        (over or self.stream).answer(self.peer.answered, number, result, error)


def named(envelope: Envelope) -> Sequence[str]:
    """Return what a trace says of a message: its type and correlation id, or those in a bundle.

    Args:
        envelope: The message.
    """
    each = messages_of(envelope) if envelope.type == BUNDLE else (envelope,)
    return [f"{one.type} {one.correlation_id}" for one in each]
