"""One channel to publish on, and how the client library does it.

Theory of operation
-------------------
A lane publishes what it is given, in order, and writes down what became of each message as soon as
it is known. What nobody will ever know is an error: `Refused` if the broker has closed the channel,
with the reason, for that may say which message was to blame. There are two kinds of lanes: this
one, which has the library publish, and `brokers.rabbitmq.native_lane`.

The library takes an id to be that of one message, so a second message with the same id gets
another one on its way.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import aiormq
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from brokers.rabbitmq.convert import properties_of
from brokers.rabbitmq.errors import is_own_cancellation
from brokers.rabbitmq.link import Link
from flow.ports import Publication, Settlement

__all__ = ["Lane", "LibraryLane", "Outcome", "Refused"]

Outcome = Settlement | Exception


class Refused(Exception):
    """The broker has closed the channel, because of this message or of another one.

    Args:
        reason: What it said.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lane(Protocol):
    """A channel to publish on.

    Attributes:
        channel: The channel.
        load: How many messages are on their way.
        is_retired: Whether nothing more is to be published on it.
    """

    channel: aiormq.Channel
    load: int
    is_retired: bool

    @property
    def is_open(self) -> bool:
        """Whether it can be published on."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether the channel is closed, or is being closed."""
        ...

    async def publish(
        self, publications: Sequence[Publication], outcomes: list[Outcome | None]
    ) -> None:
        """Publish, and write down what became of each publication.

        Args:
            publications: What to publish.
            outcomes: As many places, in which it is written as soon as it is known; an error if
                it never will be. Right even if this is cancelled.
        """
        ...


class LibraryLane:
    """A channel to publish on by the library; satisfies `Lane`.

    Args:
        link: Its connection.
        channel: The channel.
        new_id: Makes ids.
    """

    def __init__(self, link: Link, channel: aiormq.Channel, new_id: Callable[[], str]) -> None:
        self.channel = channel
        self.load = 0
        self.is_retired = False
        self._closed_for: str | None = None
        self._new_id = new_id
        self._ids: set[str] = set()
        self._sending: dict[asyncio.Future[list[None]], None] = {}
        link.warn(channel, self._closed)

    @property
    def is_open(self) -> bool:
        """Whether it can be published on."""
        return not self.is_retired and not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the channel is closed, or is being closed."""
        return self._closed_for is not None or self.channel.is_closed

    async def publish(
        self, publications: Sequence[Publication], outcomes: list[Outcome | None]
    ) -> None:
        """Publish, and write down what became of each publication.

        Args:
            publications: What to publish.
            outcomes: As many places, in which it is written as soon as it is known; an error if
                it never will be. Right even if this is cancelled.
        """
        self.load += len(publications)
        ids = [self._take_id(each.envelope.message_id) for each in publications]
        sending = asyncio.gather(
            *(self._send(publications, number, ids[number], outcomes) for number in range(len(ids)))
        )
        self._sending[sending] = None
        try:
            await sending
        except asyncio.CancelledError:
            if is_own_cancellation():
                raise
        finally:
            self.load -= len(publications)
            self._ids.difference_update(ids)
            self._sending.pop(sending, None)
        unknown = Refused(self._closed_for) if self._closed_for is not None else ConnectionError()
        outcomes[:] = [unknown if outcome is None else outcome for outcome in outcomes]

    async def _send(
        self,
        publications: Sequence[Publication],
        number: int,
        wire_id: str,
        outcomes: list[Outcome | None],
    ) -> None:
        publication = publications[number]
        try:
            confirm = await self.channel.basic_publish(
                publication.envelope.body,
                exchange=publication.exchange,
                routing_key=publication.routing_key,
                properties=properties_of(publication.envelope, wire_id),
                mandatory=publication.mandatory,
                # Only the last one waits until the socket has room again, and all others with it.
                wait=number == len(publications) - 1,
            )
        except PublishError:
            outcomes[number] = Settlement.UNROUTABLE
        except DeliveryError:
            outcomes[number] = Settlement.REFUSED
        except Exception as error:  # noqa: BLE001 - the library raises many, even this class itself
            outcomes[number] = error
        except asyncio.CancelledError:
            if is_own_cancellation():
                raise
        else:
            is_ack = isinstance(confirm, Basic.Ack)
            outcomes[number] = Settlement.CONFIRMED if is_ack else Settlement.REFUSED

    def _take_id(self, wanted: str) -> str:
        wire_id = wanted if wanted and wanted not in self._ids else self._new_id()
        self._ids.add(wire_id)
        return wire_id

    def _closed(self, reason: str) -> None:
        """Send nothing more: the broker has closed the channel."""
        self._closed_for = reason
        for sending in list(self._sending):
            sending.cancel()
