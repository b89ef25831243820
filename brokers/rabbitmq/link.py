"""One AMQP connection, from when it is up until it is lost.

A link is never made again: who needs another one makes another one. It is made of the plain
connection of aio-pika, and not of the "robust" one, which reconnects by itself without jitter, is
not to be stopped while it does, and does not say what it has restored.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import aio_pika
import aiormq
from aiormq.abc import ChannelFrame
from aiormq.exceptions import ProbableAuthenticationError
from pamqp.commands import Channel

from brokers.rabbitmq.errors import FAULTS, LOST, answer, is_own_cancellation, reason_of
from brokers.rabbitmq.multiplexer import Multiplexer
from brokers.rabbitmq.tasks import Tasks
from brokers.rabbitmq.url import Address
from brokers.rabbitmq.wire import Transport
from flow.errors import BrokerUnavailable

__all__ = ["ANSWER_S", "CLOSE_S", "Dial", "Link", "connect", "hang_up", "when_closed"]

_T = TypeVar("_T")

_log = logging.getLogger("flow.rabbitmq")

for _chatty in map(logging.getLogger, ("aio_pika", "aiormq")):
    if _chatty.level == logging.NOTSET:
        # They log what they also raise, with tracebacks and for each try; it is told here once.
        _chatty.setLevel(logging.CRITICAL)

CONNECT_S: Final = 5.0
"""Seconds that a connection may take until it is up."""
ANSWER_S: Final = 10.0
"""Seconds that the broker may take for the answer to a question."""
CLOSE_S: Final = 3.0
"""Seconds that a farewell may take."""


@dataclass(frozen=True, slots=True)
class Dial:
    """How a connection is made.

    Args:
        address: The server.
        context: What it is secured with, or None.
        name: What it is called in the broker's list of connections.
        heartbeat_s: Seconds between two signs of life, unless the address says otherwise.
    """

    address: Address
    context: ssl.SSLContext | None
    name: str
    heartbeat_s: int


class Link:
    """A connection that is up, or was.

    Args:
        url: Where it leads, for errors.

    Attributes:
        blocked: Why the broker takes no messages, or an empty string.
        trouble: Why the connection was lost, or an empty string.
        last_words: What the broker said when it closed the connection, or an empty string.
        dropped: The channels that are to be closed, see `brokers.rabbitmq.wire.Listener`.
        multiplexer: The owner of its socket, if channels may be taken over from the library.
        on_lost: Called with this link and the reason when it is lost; not after `close`.
        on_blocked: Called when `blocked` has changed.
        on_expire: Called when nothing more can be expected of the connection.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.blocked = ""
        self.trouble = ""
        self.last_words = ""
        self.dropped: dict[int, bool] = {}
        self.multiplexer: Multiplexer | None = None
        self.on_lost: Callable[[Link, str], None] | None = None
        self.on_blocked: Callable[[Link], None] | None = None
        self.on_expire: Callable[[], None] | None = None
        self._connection: aio_pika.Connection | None = None
        self._raw: aiormq.Connection | None = None
        self._is_closing = False
        self._publishers: dict[int, Callable[[str], None]] = {}
        self._scopes: set[asyncio.Timeout] = set()
        self._tasks = Tasks()

    @property
    def is_up(self) -> bool:
        """Whether it can be used."""
        return self._raw is not None and not self.trouble and not self._is_closing

    @property
    def raw(self) -> aiormq.Connection:
        """The library's connection.

        Raises:
            BrokerUnavailable: It is not up any more.
        """
        if self._raw is None or not self.is_up:
            raise BrokerUnavailable(self.url, self.trouble or "the connection is not open")
        return self._raw

    def attach(self, connection: aio_pika.Connection) -> None:
        """Take over a connection that is up.

        Raises:
            BrokerUnavailable: It was lost in the meantime.
        """
        transport = connection.transport
        raw = transport.connection if transport is not None else None
        if not isinstance(raw, aiormq.Connection) or raw.is_closed:
            raise BrokerUnavailable(self.url, "the connection was lost")
        self._connection, self._raw = connection, raw
        when_closed(raw, self._lost)

    def note_blocked(self, reason: str | None) -> None:
        """Take note that the broker takes no messages, or takes them again."""
        self.blocked = "" if reason is None else reason or "the broker gave no reason"
        if self.on_blocked is not None:
            self.on_blocked(self)

    def note_closing(self, reason: str) -> None:
        """Take note that the broker is about to close the connection."""
        self.last_words = reason

    def note_channel_closing(self, channel: int, reason: str) -> None:
        """Take note that the broker has closed a channel, before the library does."""
        notify = self._publishers.pop(channel, None)
        if notify is not None:
            notify(reason)

    def warn(self, channel: aiormq.Channel, notify: Callable[[str], None]) -> None:
        """Have *notify* called, with the reason, when the broker has closed a channel.

        Nothing may be sent on it from then on.

        Args:
            channel: The channel.
            notify: What is called, before the library knows.
        """
        self._publishers[channel.number] = notify

    async def channel(self, *, confirms: bool = False) -> aiormq.Channel:
        """Open a channel.

        Args:
            confirms: Whether the broker confirms what is published on it.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
        """
        opening = self.raw.channel(publisher_confirms=confirms, on_return_raises=True)
        channel = await self.ask(opening, "to open a channel")
        if not isinstance(channel, aiormq.Channel):
            raise BrokerUnavailable(self.url, "the connection was lost")
        return channel

    async def ask(self, question: Awaitable[_T], what: str) -> _T:
        """Return the library's answer to a question on this connection.

        Args:
            question: What is awaited.
            what: What is done, as `to declare`.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
            ChannelClosed: The broker has refused it and closed the channel.
        """
        with self.deadline(ANSWER_S) as scope:
            try:
                return await answer(question, self.url, what, ANSWER_S, scope)
            except BrokerUnavailable as error:
                if self.is_up:
                    raise
                raise BrokerUnavailable(self.url, self.trouble or LOST) from error

    @contextmanager
    def deadline(self, seconds: float) -> Generator[asyncio.Timeout]:
        """Give a timeout that is over at once when the connection is.

        The library would leave some of its users waiting for ever.

        Args:
            seconds: How long it is otherwise.
        """
        scope = asyncio.timeout(seconds)
        self._scopes.add(scope)
        try:
            yield scope
        finally:
            self._scopes.discard(scope)

    def drop(self, channel: aiormq.Channel) -> None:
        """Close a channel, in the background.

        The library must not be interrupted in it: it would close the channel a second time, and
        the broker would close the connection for that. So whoever may be cancelled leaves it here.

        Args:
            channel: The channel. It may be closed already, and the connection lost.
        """
        raw, number = self._raw, channel.number
        if raw is not None and not channel.is_closed and raw.channels.get(number) is channel:
            self.dropped.setdefault(number, False)
        self._tasks.start(_close_channel(channel), "rabbitmq: close a channel")

    def abandon(self, channel: aiormq.Channel) -> None:
        """Close a channel that nothing is asked on, without waiting for the answer.

        The library waits for as long as a heartbeat, and then closes the channel a second time: a
        broker that was only slow would close the connection for that.

        Args:
            channel: The channel. It may be closed already, and the connection lost.
        """
        raw, number = self._raw, channel.number
        if raw is None or number in self.dropped or raw.channels.get(number) is not channel:
            return
        self.dropped[number] = False
        frames = [Channel.Close(200, "", 0, 0)]
        marshalled = ChannelFrame.marshall(channel_number=number, frames=frames)  # pyright: ignore[reportUnknownMemberType] - a future of nothing in particular
        queue = cast("asyncio.Queue[ChannelFrame]", raw.write_queue)
        closing = queue.put(marshalled)
        self._tasks.start(closing, "rabbitmq: abandon a channel")

    def give_up(self, reason: str) -> None:
        """Take the connection for lost, although nobody has closed it.

        Args:
            reason: Why.
        """
        if self.is_up:
            self.trouble = reason
            self._expire()
            if self.on_lost is not None:
                self.on_lost(self, reason)

    async def close(self) -> None:
        """Say farewell, and hang up in any case. May be called twice."""
        self._is_closing = True
        self._expire()
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                await hang_up(connection)
        finally:
            # Without a connection, there is nothing more to wait for.
            await self._tasks.stop()

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
        if self.on_expire is not None:
            self.on_expire()

    def _lost(self, error: BaseException | None) -> None:
        silent = error is None or isinstance(error, asyncio.CancelledError)
        reason = "there was no sign of life from it" if silent else reason_of(error)
        was_up = not self.trouble
        self.trouble = self.trouble or self.last_words or reason
        self._expire()
        if was_up and not self._is_closing and self.on_lost is not None:
            self.on_lost(self, self.trouble)


async def connect(dial: Dial) -> Link:
    """Return a link that is up.

    Args:
        dial: How it is made.

    Raises:
        BrokerUnavailable: Nobody is there, or does not let us in; the reason says which.
    """
    url = str(dial.address)
    link = Link(url)
    connection = aio_pika.Connection(
        dial.address.dial(dial.heartbeat_s),
        client_properties={"connection_name": dial.name} if dial.name else {},
    )
    # The library's own transport would take the options of TLS from the URL.
    transport = Transport(dial.context, link, is_shared=dial.address.is_native)
    connection.kwargs = {**connection.kwargs, "transport_factory": transport}
    try:
        deadline = asyncio.timeout(CONNECT_S)
        await answer(connection.connect(), url, "to connect", CONNECT_S, deadline)
        link.multiplexer = transport.multiplexer
        link.attach(connection)
    except BrokerUnavailable as error:
        await hang_up(connection)
        if link.last_words and not isinstance(error.__cause__, ProbableAuthenticationError):
            raise BrokerUnavailable(url, link.last_words) from error
        raise
    except BaseException:
        await hang_up(connection)
        raise
    return link


def when_closed(
    closable: aiormq.Connection | aiormq.Channel,
    notify: Callable[[BaseException | None], None],
) -> None:
    """Have *notify* called, with the reason, once a connection or a channel is closed.

    Args:
        closable: The connection or the channel.
        notify: What is called, on the event loop.
    """

    def closed(closing: "asyncio.Future[object]") -> None:
        notify(None if closing.cancelled() else closing.exception())

    closing = cast("asyncio.Future[object]", closable.closing)
    closing.add_done_callback(closed)


async def hang_up(connection: aio_pika.Connection) -> None:
    """Close a connection, however silent its peer is.

    Args:
        connection: The connection; one that never came up may be given too.
    """
    try:
        async with asyncio.timeout(CLOSE_S):
            await connection.close()
    except asyncio.CancelledError:
        if is_own_cancellation():
            raise
    except FAULTS as error:
        _log.debug("a connection did not close in order: %s", type(error).__name__)


async def _close_channel(channel: aiormq.Channel) -> None:
    try:
        # The library has a deadline of its own for this: one heartbeat.
        await channel.close()
    except asyncio.CancelledError:
        if is_own_cancellation():
            raise
    except FAULTS as error:
        _log.debug("a channel did not close in order: %s", type(error).__name__)
