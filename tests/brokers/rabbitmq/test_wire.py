"""Tests of `brokers.rabbitmq.wire`."""

from __future__ import annotations

import asyncio
import struct

import pamqp.frame
import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Connection
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from brokers.rabbitmq.wire import MALFORMED, FrameReader


class Notes:
    """Notes what the broker says about the connection."""

    def __init__(self) -> None:
        self.said: list[str | None] = []
        self.dropped: dict[int, bool] = {}

    def note_blocked(self, reason: str | None) -> None:
        """Note it."""
        self.said.append(reason)

    def note_closing(self, reason: str) -> None:
        """Note it."""
        self.said.append(f"closing: {reason}")

    def note_channel_closing(self, channel: int, reason: str) -> None:
        """Note it."""
        self.said.append(f"channel {channel}: {reason}")


def reader_of(*frames: bytes, notes: Notes | None = None) -> FrameReader:
    """Return a reader that these frames come in through, one byte after the other."""
    stream = asyncio.StreamReader()
    for frame in frames:
        stream.feed_data(frame)
    stream.feed_eof()
    return FrameReader(stream, notes or Notes())


async def read_frame(reader: FrameReader) -> bytes:
    """Read a frame in the pieces that the library asks for."""
    data = await reader.readexactly(1) + await reader.readexactly(6)
    (size,) = struct.unpack_from(">I", data, 3)
    return data + await reader.readexactly(size + 1)


def method(payload: bytes, channel: int = 1) -> bytes:
    """Return a frame with a method."""
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


def header(properties: bytes, size: int = 5) -> bytes:
    """Return a frame with properties: their flags and values."""
    payload = struct.pack(">HHQ", 60, 0, size) + properties
    return struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"


def deliver(exchange: bytes, key: bytes) -> bytes:
    """Return the frame that announces a message with the highest number there is."""
    names = bytes([len(exchange)]) + exchange + bytes([len(key)]) + key
    return method(b"\0\x3c\0\x3c" + b"\x03tag" + b"\x7f" + b"\xff" * 7 + b"\x01" + names)


def frame_of(frame: Frame, channel: int = 0) -> bytes:
    """Return a frame as it is sent."""
    return pamqp.frame.marshal(frame, channel)


async def test_frames_pass_unchanged() -> None:
    """What can be decoded is passed on byte for byte, and the end is noticed."""
    properties = Basic.Properties(headers={"h": "ü"}, message_id="m")
    frames = [
        frame_of(Connection.OpenOk()),
        pamqp.frame.marshal(Heartbeat(), 0),
        deliver(b"exchange", b"key"),
        deliver(b"exchange", "schlüssel".encode()),
        pamqp.frame.marshal(ContentHeader(0, 5, properties), 1),
        struct.pack(">BHI", 3, 1, 5) + b"12345\xce",
    ]
    reader = reader_of(*frames)
    for frame in frames:
        assert not reader.at_eof()
        assert await read_frame(reader) == frame
    assert reader.at_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await reader.readexactly(1)


async def test_the_broker_is_listened_to() -> None:
    """That the connection is blocked, unblocked or about to be closed is told, with the reason."""
    notes = Notes()
    frames = [
        frame_of(Connection.Blocked("low on memory")),
        frame_of(Connection.Unblocked()),
        frame_of(Connection.Close(320, "CONNECTION_FORCED", 0, 0)),
        frame_of(Channel.Close(404, "NOT_FOUND", 0, 0), channel=3),
        # On any other channel than 0 it is none of these.
        method(b"\0\x0a\0\x3c\x01x", channel=1),
    ]
    reader = reader_of(*frames, notes=notes)
    for frame in frames:
        assert await read_frame(reader) == frame
    assert notes.said == [
        "low on memory",
        None,
        "closing: CONNECTION_FORCED",
        "channel 3: NOT_FOUND",
    ]


@pytest.mark.parametrize(
    "properties",
    [
        b"\x00\x80" + b"\x02\xff\xfe",
        b"\x04\x00" + b"\x01\xff",
        b"\x00\x40" + struct.pack(">Q", 2**64 - 1),
        b"\x20\x00" + struct.pack(">I", 3) + b"\x01h?",
        b"\x20\x00" + struct.pack(">I", 1000) + b"\x01h",
        b"\x20\x00" + struct.pack(">I", 11) + b"\x01hT" + struct.pack(">Q", 2**63),
        b"\x20\x00" + struct.pack(">I", 6) + b"\x02\xff\xfeI\0\0",
    ],
    ids=["message id", "correlation id", "time", "type", "length", "time in a table", "name"],
)
async def test_properties_that_cannot_be_decoded_are_replaced(properties: bytes) -> None:
    """A message whose properties are no text, or no time, arrives without them, and says so."""
    reader = reader_of(header(properties), frame_of(Connection.OpenOk()))
    _, channel, found = pamqp.frame.unmarshal(await read_frame(reader))
    assert isinstance(found, ContentHeader)
    assert (channel, found.body_size) == (1, 5)
    headers = found.properties.headers
    assert headers is not None
    assert "cannot be decoded" in str(headers[MALFORMED])
    assert await read_frame(reader) == frame_of(Connection.OpenOk())


@pytest.mark.parametrize(
    ("exchange", "key", "expected"),
    [
        (b"e", b"k\xff", ("e", "k\ufffd")),
        (b"\xfe", b"", ("\ufffd", "")),
        (b"e" * 255, b"\xff" * 255, ("e" * 255, "\ufffd" * 85)),
    ],
)
async def test_keys_that_are_no_text_are_replaced(
    exchange: bytes, key: bytes, expected: tuple[str, str]
) -> None:
    """A routing key that is no UTF-8 becomes text that fits, and the rest stays what it was."""
    _, channel, found = pamqp.frame.unmarshal(await read_frame(reader_of(deliver(exchange, key))))
    assert isinstance(found, Basic.Deliver)
    assert (found.exchange, found.routing_key) == expected
    assert (found.consumer_tag, found.delivery_tag) == ("tag", 2**63 - 1)
    assert (found.redelivered, channel) == (True, 1)


async def test_another_protocol_is_noticed() -> None:
    """Bytes that are no frame end the connection at once; a greeting is left to the library."""
    with pytest.raises(ConnectionError, match="a frame of"):
        await reader_of(b"HTTP/1.1 400 Bad Request\r\n").readexactly(1)
    greeting = reader_of(b"AMQP\x00\x00\x09\x01")
    assert await greeting.readexactly(1) + await greeting.readexactly(6) == b"AMQP\x00\x00\x09"
    assert await greeting.read() == b""


async def test_what_is_left_of_a_frame_can_be_read() -> None:
    """A frame that the library gives up is read to its end."""
    reader = reader_of(b"\x00\x00\x00" + struct.pack(">I", 3) + b"abc\xce")
    assert await reader.readexactly(1) == b"\x00"
    assert await reader.read() == b"\x00\x00" + struct.pack(">I", 3) + b"abc\xce"


async def test_what_comes_in_on_a_dropped_channel_is_left_out() -> None:
    """A message that has begun is read to its end; then nothing is, until the channel is closed."""
    begun = deliver(b"", b"q"), header(b"\0\0", 0)
    ack, other = frame_of(Basic.Ack(1), 1), frame_of(Basic.Ack(2), 2)
    end = frame_of(Channel.CloseOk(), 1)
    notes = Notes()
    reader = reader_of(*begun, ack, other, *begun, end, ack, notes=notes)
    assert await read_frame(reader) == begun[0]
    notes.dropped[1] = False
    assert [await read_frame(reader) for _ in range(4)] == [begun[1], other, end, ack]
    assert notes.dropped == {}


async def test_answers_on_a_dropped_channel_are_passed_on() -> None:
    """Whoever has asked something on it, such as to cancel a consumer, still gets the answer."""
    answer, ack = frame_of(Basic.CancelOk("c"), 1), frame_of(Basic.Ack(1), 1)
    end = frame_of(Channel.CloseOk(), 1)
    notes = Notes()
    notes.dropped[1] = False
    reader = reader_of(ack, answer, ack, end, notes=notes)
    assert [await read_frame(reader) for _ in range(2)] == [answer, end]


async def test_another_channel_of_the_same_number_is_heard() -> None:
    """A number that the broker has given up is used again, and then nothing is left out."""
    opened, ack = frame_of(Channel.OpenOk(), 1), frame_of(Basic.Ack(1), 1)
    notes = Notes()
    notes.dropped[1] = True
    reader = reader_of(opened, ack, notes=notes)
    assert [await read_frame(reader) for _ in range(2)] == [opened, ack]
    assert notes.dropped == {}


async def test_the_end_of_a_dropped_channel_is_told() -> None:
    """If the broker closes the channel at the same moment, that is not left out either."""
    notes = Notes()
    notes.dropped[1] = True
    close = frame_of(Channel.Close(404, "gone", 0, 0), 1)
    assert await read_frame(reader_of(close, notes=notes)) == close
    assert (notes.said, notes.dropped) == (["channel 1: gone"], {})
