"""The frames as they come in, before the client library reads them.

Theory of operation
-------------------
The library lets its user choose how bytes are transported. That is the place to see to two things
that it does not see to:

* It ends the connection when a message has properties that it cannot decode, such as an id that
  is no UTF-8 text or a time after the year 9999. The message is then delivered again, so anybody
  who can publish to a queue could keep all of its consumers away for ever. Here such a frame is
  replaced by one that says so, and the message is for the consumer to reject.
* It keeps to itself that the broker blocks the connection, and in some states also why the broker
  closes it.
* It goes on publishing on a channel that the broker has closed, if that was waiting to be sent,
  and the broker then closes the whole connection. So whoever publishes is told before the library.

* It goes on queueing what comes in on a channel that it has given up itself, with nobody to read
  it: after ten frames, such as late confirms, the whole connection reads nothing any more. So what
  comes in on a channel that is to be closed is left out, from the next message on.

Whole frames are read at a time; the library gets them in the pieces that it asks for. Where the
socket is shared with channels of our own, which is the default, the `Multiplexer` owns it, and the
library gets here what is left for it.
"""

import asyncio
import ssl
import struct
from typing import Any, Final, Protocol, cast

import pamqp.frame
from aiormq import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

from brokers.rabbitmq.frames import (
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CHANNEL_OPEN_OK,
    DELIVER,
    FRAME_MAX,
    HEADER,
    METHOD,
    UNASKED,
    BadFrame,
    frame_of,
)
from brokers.rabbitmq.multiplexer import Multiplexer, Writer

__all__ = ["MALFORMED", "FrameReader", "Listener", "Transport", "trouble_of"]

MALFORMED: Final = "flow-malformed"
"""Header of a message whose properties could not be decoded: why."""
TLS_SHUTDOWN_S: Final = 2.0
READ_BYTES: Final = 256 * 1024

_HEAD: Final = struct.Struct(">BHI")
_CLOSE: Final = b"\x00\x0a\x00\x32"
_CHANNEL_CHANGES: Final = (CHANNEL_CLOSE, CHANNEL_CLOSE_OK, CHANNEL_OPEN_OK)
_BLOCKED: Final = b"\x00\x0a\x00\x3c"
_UNBLOCKED: Final = b"\x00\x0a\x00\x3d"
_TEXT_BYTES: Final = 255


class Listener(Protocol):
    """Somebody who wants to know what the broker says about the connection.

    Attributes:
        dropped: The channels that nobody listens to any more: whether a message has begun on them
            since. One that is closed is taken out.
    """

    dropped: dict[int, bool]

    def note_blocked(self, reason: str | None) -> None:
        """Take note that the broker takes no messages, or takes them again if it is None."""
        ...

    def note_closing(self, reason: str) -> None:
        """Take note that the broker is about to close the connection."""
        ...

    def note_channel_closing(self, channel: int, reason: str) -> None:
        """Take note that the broker has closed a channel, before the library does."""
        ...


class FrameReader:
    """A stream of bytes that breaks off between frames only.

    It has the methods of `asyncio.StreamReader` that the library uses.

    Args:
        reader: Where the bytes come from.
        listener: Told what the broker says about the connection.
    """

    def __init__(self, reader: asyncio.StreamReader, listener: Listener) -> None:
        self._reader = reader
        self._listener = listener
        self._frame = b""
        self._at = 0

    def at_eof(self) -> bool:
        """Return whether everything was read and nothing will follow."""
        return self._at >= len(self._frame) and self._reader.at_eof()

    async def readexactly(self, count: int) -> bytes:
        """Return the next *count* bytes, which never reach beyond a frame."""
        if self._at >= len(self._frame):
            self._frame = await self._read_frame()
            self._at = 0
        start = self._at
        self._at += count
        return self._frame[start : self._at]

    async def read(self) -> bytes:
        """Return what is left of a frame that the library has given up."""
        start, self._at = self._at, len(self._frame)
        return self._frame[start:]

    async def _read_frame(self) -> bytes:
        """Return the next frame that is for somebody."""
        while not (frame := await self._next_frame()):
            pass
        return frame

    async def _next_frame(self) -> bytes:
        """Return the next frame, or nothing in the place of one that is for nobody."""
        head = await self._reader.readexactly(_HEAD.size)
        if head.startswith(b"AMQP"):
            # The server wants another version of the protocol; the library says so.
            return head
        kind, channel, size = _HEAD.unpack(head)
        if size > FRAME_MAX:
            raise BadFrame(f"the server sent a frame of {size} bytes")
        payload = await self._reader.readexactly(size + 1)
        if channel in self._listener.dropped and self._is_for_nobody(kind, channel, payload):
            return b""
        if kind == HEADER:
            return _readable_header(head, payload, channel)
        if kind == METHOD:
            if channel == 0:
                self._note(payload)
            elif payload.startswith(CHANNEL_CLOSE):
                self._listener.note_channel_closing(channel, _text_at(payload, 6))
            elif payload.startswith(DELIVER):
                return _readable_deliver(head, payload, channel)
        return head + payload

    def _is_for_nobody(self, kind: int, channel: int, payload: bytes) -> bool:
        """Return whether to leave out a frame on a channel that nobody listens to."""
        dropped = self._listener.dropped
        if kind == METHOD and payload.startswith(_CHANNEL_CHANGES):
            # It is closed, or the broker had closed it already, and its number has another one now.
            del dropped[channel]
            return False
        if kind == METHOD:
            # Whoever has asked something on the channel gets the answer.
            is_unasked = payload.startswith(UNASKED)
            dropped[channel] = dropped[channel] or is_unasked
            return is_unasked
        # The rest of a message whose beginning was read is waited for.
        return dropped[channel]

    def _note(self, payload: bytes) -> None:
        if payload.startswith(_BLOCKED):
            self._listener.note_blocked(_text_at(payload, 4))
        elif payload.startswith(_UNBLOCKED):
            self._listener.note_blocked(None)
        elif payload.startswith(_CLOSE):
            self._listener.note_closing(_text_at(payload, 6))


class Transport(TransportFactory):
    """Opens the connection, for the library to talk through.

    Args:
        context: What it is secured with, or None.
        listener: Told what the broker says about the connection.
        is_shared: Whether the socket has an owner that takes channels over.

    Attributes:
        multiplexer: The owner of the socket, once it is open and if it is shared.
    """

    def __init__(
        self, context: ssl.SSLContext | None, listener: Listener, *, is_shared: bool = False
    ) -> None:
        self.multiplexer: Multiplexer | None = None
        self._context = context
        self._listener = listener
        self._is_shared = is_shared

    async def create(
        self, url: URL, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the host of *url*.

        Raises:
            AMQPConnectionError: It cannot be reached, or is not who it should be; the cause says
                why.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = (
            Multiplexer(reader, loop)
            if self._is_shared
            else asyncio.StreamReaderProtocol(reader, loop=loop)
        )
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol,
                url.host or "",
                url.port or 0,
                ssl=self._context,
                ssl_shutdown_timeout=TLS_SHUTDOWN_S if self._context else None,
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        frames = FrameReader(reader, self._listener)
        if isinstance(protocol, Multiplexer):
            self.multiplexer = protocol
            writer: asyncio.StreamWriter = Writer(transport, protocol, reader, loop)
        else:
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return cast("asyncio.StreamReader", frames), writer


def _readable_header(head: bytes, payload: bytes, channel: int) -> bytes:
    """Return a frame with properties, or one in its place that can be decoded."""
    frame = head + payload
    reason = trouble_of(frame)
    if reason is None:
        return frame
    (size,) = struct.unpack_from(">Q", payload, 4)
    properties = Basic.Properties(headers={MALFORMED: reason})
    return pamqp.frame.marshal(ContentHeader(0, size, properties), channel)


def _readable_deliver(head: bytes, payload: bytes, channel: int) -> bytes:
    """Return the frame that announces a message, its exchange and its key as text."""
    frame = head + payload
    # Names are short and nearly always ASCII, and so are the bytes that say how long they are.
    names_at = payload[4] + 14
    if payload[names_at:-1].isascii() or trouble_of(frame) is None:
        return frame
    tag = payload[5 : 5 + payload[4]]
    exchange_at = names_at + 1
    key_at = exchange_at + payload[names_at] + 1
    names = [
        tag,
        payload[exchange_at : key_at - 1],
        payload[key_at : key_at + payload[key_at - 1]],
    ]
    tag, exchange, key = (_short(name) for name in names)
    numbers = payload[5 + payload[4] : names_at]
    rebuilt = DELIVER + tag + numbers + exchange + key
    return frame_of(METHOD, channel, rebuilt)


def _text_at(payload: bytes, start: int) -> str:
    """Return the short string that begins at *start*."""
    first = start + 1
    return payload[first : first + payload[start]].decode(errors="replace")


def _short(name: bytes) -> bytes:
    """Return a name as a short string of UTF-8."""
    text = name.decode(errors="replace").encode()[:_TEXT_BYTES]
    text = text.decode(errors="ignore").encode()
    return bytes([len(text)]) + text


def trouble_of(frame: bytes) -> str | None:
    """Return why a frame cannot be decoded, or None if it can.

    Args:
        frame: The frame, which is whole.
    """
    try:
        pamqp.frame.unmarshal(frame)
    except Exception as error:  # noqa: BLE001 - the bytes are anybody's, and so are the errors
        return f"its properties cannot be decoded ({type(error).__name__})"
    return None
