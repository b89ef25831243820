"""The socket of a connection, shared by the client library and by channels of our own.

Theory of operation
-------------------
The library connects, logs in, opens channels and asks questions on them, as ever: it reads from a
stream and writes to one. In between sits this, and owns the socket. A channel that was *taken
over* has a handler. What the broker sends on it without having been asked (deliveries, returned
messages, confirms) is given to the handler at once, in the call in which the event loop hands the
bytes over: no task, no queue. Every other frame goes into the library's stream.

*Out.* Handlers leave parts of frames here, and at the end of the turn of the event loop all of
them leave in one write. Whatever the library writes goes after what is waiting, so that everything
leaves in the order in which it was said. A message is left in one piece, so nothing gets between
its frames. If the socket takes no more, whoever publishes waits for `room`; settlements do not,
for the prefetch bounds them.

*The end of a channel.* When the broker closes it, its handler is told before anything else is
read, so that nothing more is sent on it. When the library closes it, whatever its reason, the
frame comes by here, and the channel goes deaf: what is still on its way is left out until the
broker has closed it too.

*Signs of life.* The library gives a connection up when it has read nothing for some time. It does
not see what our channels receive, so it is given a heartbeat then, at most one a second.

What comes in needs no limit here: deliveries are bounded by the prefetch, confirms by what was
published, and the library's stream stops the socket when the library does not read.
"""

import asyncio
import struct
from typing import Final, Protocol, cast

from brokers.rabbitmq.contents import text_at
from brokers.rabbitmq.frames import (
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    HEARTBEAT,
    METHOD,
    UNASKED,
    BadFrame,
    FrameParser,
    frame_of,
)

__all__ = ["Handler", "Multiplexer", "Writer"]

FLUSH_BYTES: Final = 128 * 1024
"""Bytes that leave at once, so that a socket that takes no more is noticed."""
PULSE_S: Final = 1.0
"""Seconds between two signs of life that the library is given."""

_CHANNEL_AT: Final = 1
_METHOD_AT: Final = 7
_METHOD_END: Final = 11
_CLOSE_TEXT_AT: Final = 6


class Handler(Protocol):
    """Who has taken a channel over."""

    def take(self, kind: int, payload: bytes) -> bool:
        """Take a frame; return whether it was for this, and not for the library."""
        ...

    def parts(self) -> list[bytes]:
        """Return what is to be sent, if `Multiplexer.schedule` was asked to fetch it."""
        ...

    def end(self, reason: str) -> None:
        """Take note that nothing can be sent on the channel from now on, and why."""
        ...


class _Deaf:
    """Takes what comes in on a channel that is being closed, and does nothing."""

    def take(self, kind: int, payload: bytes) -> bool:
        """Take it, unless it answers a question."""
        return kind != METHOD or payload[:4] in UNASKED

    def parts(self) -> list[bytes]:
        """Return nothing."""
        return []

    def end(self, reason: str) -> None:
        """Do nothing: it has ended."""


_DEAF: Final = _Deaf()


class Multiplexer(asyncio.StreamReaderProtocol):
    """Owns the socket.

    Args:
        reader: The library's stream, which is read through `brokers.rabbitmq.wire.FrameReader`.
        loop: The event loop.
    """

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        """Begin without a socket."""
        super().__init__(reader, loop=loop)
        # The base class refers to its reader weakly, in some cases.
        self._library = reader
        self._events = loop
        self._parser = FrameParser()
        self._handlers: dict[int, Handler] = {}
        self._socket: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._out: list[bytes] = []
        self._size = 0
        self._scheduled: list[Handler] = []
        self._is_due = False
        self._next_pulse = 0.0

    @property
    def has_room(self) -> bool:
        """Whether the socket takes more at the moment."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until the socket takes more, or is lost. The caller has a deadline."""
        await self._room.wait()

    def take_over(self, channel: int, handler: Handler) -> None:
        """Give a channel, on which nothing has come in yet, to a handler.

        Args:
            channel: Its number.
            handler: Who takes what comes in on it.
        """
        self._handlers[channel] = handler

    def write(self, parts: tuple[bytes, ...] | list[bytes], size: int) -> None:
        """Send whole frames, at the end of this turn of the event loop.

        Args:
            parts: The frames, in parts.
            size: About how many bytes they have.
        """
        self._out += parts
        self._size += size
        if self._size > FLUSH_BYTES:
            self.flush()
        elif not self._is_due:
            self._is_due = True
            self._events.call_soon(self.flush)

    def schedule(self, handler: Handler) -> None:
        """Fetch and send what a handler has to say, at the end of this turn of the event loop.

        Args:
            handler: Who is asked for its `parts`, once.
        """
        self._scheduled.append(handler)
        if not self._is_due:
            self._is_due = True
            self._events.call_soon(self.flush)

    def flush(self) -> None:
        """Send now what was left here so far."""
        self._is_due = False
        out, self._out = self._out, []
        self._size = 0
        if self._scheduled:
            scheduled, self._scheduled = self._scheduled, []
            for handler in scheduled:
                out += handler.parts()
        transport = self._socket
        if out and transport is not None and not transport.is_closing():
            transport.write(b"".join(out))

    def mute(self, channel: int, reason: str) -> None:
        """Have a channel that is closed from this side go deaf.

        Args:
            channel: Its number.
            reason: Why.
        """
        handler = self._handlers.get(channel)
        if handler is not None:
            self._handlers[channel] = _DEAF
            handler.end(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, called by the event loop."""
        # That of uvloop is one by what it does, and not by its class.
        self._socket = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes, called by the event loop."""
        parser, handlers = self._parser, self._handlers
        if parser.trouble is not None:
            return
        try:
            for kind, channel, payload in parser.feed(data):
                handler = handlers.get(channel)
                if handler is None or not handler.take(kind, payload):
                    self._pass_on(kind, channel, payload)
        except BadFrame as error:
            parser.trouble = error
        except (IndexError, struct.error):
            parser.trouble = BadFrame("the server sent a frame that is too short")
        if parser.trouble is not None:
            self._give_up(parser.trouble)
        elif handlers and self._events.time() >= self._next_pulse:
            self._next_pulse = self._events.time() + PULSE_S
            self._library.feed_data(HEARTBEAT)

    def pause_writing(self) -> None:
        """Take note that the socket takes no more, called by the event loop."""
        self._room.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Take note that it takes more again, called by the event loop."""
        self._room.set()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is gone, called by the event loop."""
        handlers, self._handlers = self._handlers, {}
        for handler in handlers.values():
            handler.end("")
        self._room.set()
        super().connection_lost(exc)

    def _pass_on(self, kind: int, channel: int, payload: bytes) -> None:
        """Give the library a frame, after a handler that it ends was told."""
        if kind == METHOD and channel in self._handlers:
            method = payload[:4]
            if method == CHANNEL_CLOSE:
                self._handlers.pop(channel).end(text_at(payload, _CLOSE_TEXT_AT))
            elif method == CHANNEL_CLOSE_OK:
                self._handlers.pop(channel).end("")
        self._library.feed_data(frame_of(kind, channel, payload))

    def _give_up(self, trouble: BadFrame) -> None:
        """Read no more of what is no stream of frames."""
        rest = self._parser.rest
        if rest.startswith(b"AMQP"):
            # The server wants another version of the protocol; the library says so.
            self._library.feed_data(rest)
            self._library.feed_eof()
            return
        self._library.set_exception(trouble)
        if self._socket is not None:
            self._socket.abort()


class Writer(asyncio.StreamWriter):
    """What the library writes to: its frames go out after those that wait.

    Args:
        transport: The socket.
        multiplexer: Who owns it.
        reader: The library's stream.
        loop: The event loop.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        multiplexer: Multiplexer,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, multiplexer, reader, loop)
        self._multiplexer = multiplexer

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the library's frames, called by the library.

        Args:
            data: One or several whole frames, of one channel.
        """
        self._multiplexer.flush()
        if data[_METHOD_AT:_METHOD_END] == CHANNEL_CLOSE:
            channel = int.from_bytes(data[_CHANNEL_AT : _CHANNEL_AT + 2])
            self._multiplexer.mute(channel, "")
        super().write(data)
