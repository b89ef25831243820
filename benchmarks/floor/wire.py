"""The least that can speak AMQP 0-9-1 with RabbitMQ: one connection, one channel, no safety.

It knows no heartbeats, no reconnecting, no flow control, no returns, and no body larger than a
frame. What remains is what the protocol itself costs a Python process, so it is the floor that a
real client is compared with. Whatever is written in one turn of the event loop leaves in one send.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from pamqp import base, commands, common, frame

__all__ = ["Message", "Wire", "connect", "consume", "declare", "route_to", "short"]

CHANNEL: Final = 1
END: Final = b"\xce"
METHOD, HEADER, BODY = 1, 2, 3
BASIC: Final = 60
DELIVER, ACK = 60, 80
CONFIRM_METHOD: Final = (BASIC << 16) | ACK
DELIVER_METHOD: Final = (BASIC << 16) | DELIVER
PUBLISH_METHOD: Final = (BASIC << 16) | 40

# The flags of the properties that are read and written here.
CONTENT_TYPE, CONTENT_ENCODING, HEADERS = 0x8000, 0x4000, 0x2000
DELIVERY_MODE, PRIORITY = 0x1000, 0x0800
CORRELATION_ID, REPLY_TO = 0x0400, 0x0200

FRAME: Final = struct.Struct(">BHI")
START: Final = struct.Struct(">IB")
ACK_FRAME: Final = struct.Struct(">BHIIQBB")
HEAD: Final = struct.Struct(">HHQHB")
COUNT: Final = struct.Struct(">Q")
LENGTH: Final = struct.Struct(">I")

DEADLINE_S: Final = 20.0

Message = tuple[int, str, str, bytes]
"""Its delivery tag, its correlation id, where an answer goes, and its body."""


class Wire(asyncio.Protocol):
    """A connection. Make it with `connect`."""

    def __init__(self) -> None:
        """Begin without a connection."""
        self.receive: Callable[[Message], None] = print
        self._transport: asyncio.WriteTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[bytes] = []
        self._answer: asyncio.Future[base.Frame] = self._loop.create_future()
        self._delivery = 0
        self._address = ("", "")
        self._published = 0
        self._unconfirmed: dict[int, Callable[[], None] | None] = {}
        self._oldest = 1

    # ------------------------------------------------------------------------- asking

    async def open(self, user: str, password: str, vhost: str) -> None:
        """Shake hands, open the channel, and ask for confirms.

        Args:
            user: The user.
            password: The password.
            vhost: The virtual host.
        """
        await self._answered()
        response = f"\0{user}\0{password}"
        start_ok = commands.Connection.StartOk({}, "PLAIN", response, "en_US")
        tune = await self._ask_on(0, start_ok)
        assert isinstance(tune, commands.Connection.Tune)
        tuned = commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0)
        self._write(frame.marshal(tuned, 0))
        await self._ask_on(0, commands.Connection.Open(vhost))
        await self.ask(commands.Channel.Open())
        await self.ask(commands.Confirm.Select())

    async def ask(self, method: base.Frame) -> base.Frame:
        """Send a method and wait for its answer. One at a time.

        Args:
            method: The method.
        """
        return await self._ask_on(CHANNEL, method)

    async def _ask_on(self, channel: int, method: base.Frame) -> base.Frame:
        self._write(frame.marshal(method, channel))
        return await self._answered()

    async def _answered(self) -> base.Frame:
        async with asyncio.timeout(DEADLINE_S):
            answer = await self._answer
        self._answer = self._loop.create_future()
        return answer

    # --------------------------------------------------------------------- publishing

    def publish(
        self,
        route: bytes,
        body: bytes,
        correlation_id: str,
        reply_to: bytes,
        confirmed: Callable[[], None] | None = None,
    ) -> None:
        """Publish a persistent message.

        Args:
            route: Where to, as `route_to` returns it.
            body: The body, which has to fit into a frame.
            correlation_id: Its correlation id.
            reply_to: Where an answer goes, as `short` returns it, or nothing.
            confirmed: Called when the broker has it.
        """
        self._published += 1
        if confirmed is not None:
            self._unconfirmed[self._published] = confirmed
        name = correlation_id.encode()
        flags = DELIVERY_MODE | CORRELATION_ID | (REPLY_TO if reply_to else 0)
        size = HEAD.size + 1 + len(name) + len(reply_to)
        self._write(
            b"".join(
                (
                    route,
                    FRAME.pack(HEADER, CHANNEL, size),
                    HEAD.pack(BASIC, 0, len(body), flags, 2),
                    bytes((len(name),)),
                    name,
                    reply_to,
                    END,
                    FRAME.pack(BODY, CHANNEL, len(body)),
                    body,
                    END,
                )
            )
        )

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge a message.

        Args:
            tag: Its delivery tag.
            multiple: Whether all before it are meant too.
        """
        self._write(ACK_FRAME.pack(METHOD, CHANNEL, 13, CONFIRM_METHOD, tag, multiple, END[0]))

    def _write(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._out))
        self._out.clear()

    # ---------------------------------------------------------------------- receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say which protocol is spoken."""
        # That of uvloop has these methods and another base class.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(b"AMQP\x00\x00\x09\x01")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody can go on: whoever waits for an answer is told."""
        if not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the broker has hung up"))

    def data_received(self, data: bytes) -> None:
        """Take apart all frames that are complete.

        Args:
            data: What came.
        """
        if self._rest:
            data = self._rest + data
        position, length = 0, len(data)
        while length - position >= FRAME.size:
            kind, channel, size = FRAME.unpack_from(data, position)
            start = position + FRAME.size
            end = start + size
            if end >= length:
                break
            if kind == METHOD:
                self._method(data, start, end, channel)
            elif kind == HEADER:
                self._address = _address(data, start)
            elif kind == BODY:
                correlation_id, reply_to = self._address
                self.receive((self._delivery, correlation_id, reply_to, data[start:end]))
            position = end + 1
        self._rest = data[position:]

    def _method(self, data: bytes, start: int, end: int, channel: int) -> None:
        method, length = START.unpack_from(data, start)
        if method == DELIVER_METHOD:
            # Behind the consumer's tag.
            (self._delivery,) = COUNT.unpack_from(data, start + START.size + length)
        elif method == CONFIRM_METHOD:
            (tag,) = COUNT.unpack_from(data, start + 4)
            self._confirm(tag, multiple=data[start + 12] == 1)
        else:
            whole = FRAME.pack(METHOD, channel, end - start) + data[start:end] + END
            answer = frame.unmarshal(whole)[2]
            assert isinstance(answer, base.Frame)
            if self._answer.done():
                raise ConnectionError(f"the broker says {answer!r}")
            self._answer.set_result(answer)

    def _confirm(self, tag: int, *, multiple: bool) -> None:
        first = self._oldest if multiple else tag
        for each in range(first, tag + 1):
            confirmed = self._unconfirmed.pop(each, None)
            if confirmed is not None:
                confirmed()
        if multiple:
            self._oldest = tag + 1


def short(text: str) -> bytes:
    """Return a text as AMQP writes short ones.

    Args:
        text: The text.
    """
    raw = text.encode()
    return bytes((len(raw),)) + raw


def route_to(queue: str) -> bytes:
    """Return the frame that begins every message to a queue.

    Args:
        queue: The queue's name.
    """
    payload = LENGTH.pack(PUBLISH_METHOD) + b"\0\0" + short("") + short(queue) + b"\0"
    return FRAME.pack(METHOD, CHANNEL, len(payload)) + payload + END


async def connect(url: str) -> Wire:
    """Connect to RabbitMQ.

    Args:
        url: Its URL.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(Wire, parts.hostname or "", parts.port or 5672)
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    await wire.open(parts.username or "guest", parts.password or "guest", vhost)
    return wire


async def declare(wire: Wire, queue: str, *, exclusive: bool = False) -> None:
    """Make sure that a queue exists: a quorum queue, unless it is exclusive.

    Args:
        wire: The connection.
        queue: Its name.
        exclusive: Whether it goes with the connection.
    """
    arguments: common.Arguments = {} if exclusive else {"x-queue-type": "quorum"}
    await wire.ask(
        commands.Queue.Declare(
            queue=queue, durable=not exclusive, exclusive=exclusive, arguments=arguments
        )
    )


async def consume(
    wire: Wire, queue: str, prefetch: int, receive: Callable[[Message], None]
) -> None:
    """Receive from a queue.

    Args:
        wire: The connection.
        queue: The queue's name.
        prefetch: How many messages may be unacknowledged.
        receive: Called with each one.
    """
    wire.receive = receive
    await wire.ask(commands.Basic.Qos(prefetch_count=prefetch))
    await wire.ask(commands.Basic.Consume(queue=queue, consumer_tag="floor"))


def _address(data: bytes, start: int) -> tuple[str, str]:
    """Return the correlation id and the reply-to of a header frame."""
    flags = (data[start + 12] << 8) | data[start + 13]
    position = start + 14
    for flag in (CONTENT_TYPE, CONTENT_ENCODING):
        if flags & flag:
            position += 1 + data[position]
    if flags & HEADERS:
        position += 4 + LENGTH.unpack_from(data, position)[0]
    for flag in (DELIVERY_MODE, PRIORITY):
        if flags & flag:
            position += 1
    found = ["", ""]
    for place, flag in enumerate((CORRELATION_ID, REPLY_TO)):
        if flags & flag:
            end = position + 1 + data[position]
            found[place] = data[position + 1 : end].decode()
            position = end
    return found[0], found[1]
