"""Frames of AMQP 0-9-1: found in a stream of bytes, and written. Pure.

Theory of operation
-------------------
A frame is its kind (one byte), a channel (two), a size (four), so many bytes of payload, and a
byte that ends it. `FrameParser` finds frames in bytes as they come, in whatever pieces; what it
finds does not depend on the pieces. After bytes that are no frame it finds nothing more, and says
what was wrong: where the next frame would begin, nobody knows.

A message is a method frame, a header frame with its size and properties, and as many frames of its
body as it takes. They are returned in parts, so that all messages of a turn of the event loop are
put together once. What repeats is kept: the method frame of an exchange and key.
"""

import struct
from functools import lru_cache
from typing import Final

__all__ = [
    "BadFrame",
    "FrameParser",
    "ack_frame",
    "content_parts",
    "frame_of",
    "publish_frame",
    "reject_frame",
]

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
FRAME_END: Final = b"\xce"
FRAME_MAX: Final = 16 * 1024 * 1024
"""Bytes of a frame that no broker sends. More is a sign of another protocol."""
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

CHANNEL_CLOSE: Final = b"\x00\x14\x00\x28"
CHANNEL_CLOSE_OK: Final = b"\x00\x14\x00\x29"
CHANNEL_OPEN_OK: Final = b"\x00\x14\x00\x0b"
DELIVER: Final = b"\x00\x3c\x00\x3c"
RETURN: Final = b"\x00\x3c\x00\x32"
ACK: Final = b"\x00\x3c\x00\x50"
NACK: Final = b"\x00\x3c\x00\x78"
UNASKED: Final = (DELIVER, RETURN, ACK, NACK)
"""What the broker sends without having been asked a question."""

FRAME_BYTES: Final = 8
"""Bytes of a frame besides its payload."""

_HEAD: Final = struct.Struct(">BHI")
_END: Final = 0xCE
_BASIC: Final = 60
_PUBLISH: Final = b"\x00\x3c\x00\x28\x00\x00"
_CONTENT: Final = struct.Struct(">BHIHHQ")
_CONTENT_BYTES: Final = 12
_NEXT_BODY: Final = struct.Struct(">BBHI")
_SETTLE: Final = struct.Struct(">BHIHHQBB")
_SETTLE_BYTES: Final = 13
_ACK_METHOD: Final = 80
_REJECT_METHOD: Final = 90


class BadFrame(ConnectionError):
    """The server sent what is no frame, or what does not belong there."""


class FrameParser:
    """Finds frames in a stream of bytes.

    Attributes:
        trouble: What ends the stream, or None.
    """

    __slots__ = ("_rest", "_wanted", "trouble")

    def __init__(self) -> None:
        """Begin before the first frame."""
        self.trouble: BadFrame | None = None
        self._rest = bytearray()
        self._wanted = 0

    @property
    def rest(self) -> bytes:
        """What has come in and is not a whole frame yet, or none at all."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return the frames that are complete now: kind, channel and payload of each.

        Args:
            data: What has come in.
        """
        if self._rest or self.trouble is not None:
            self._rest += data
            if len(self._rest) < self._wanted or self.trouble is not None:
                return []
            data = bytes(self._rest)
        found: list[tuple[int, int, bytes]] = []
        at, last = 0, len(data) - FRAME_BYTES
        self._wanted = FRAME_BYTES
        while at <= last:
            kind, channel, size = _HEAD.unpack_from(data, at)
            start = at + _HEAD.size
            end = start + size
            if size > FRAME_MAX:
                self.trouble = BadFrame(f"the server sent a frame of {size} bytes")
                break
            if end >= len(data):
                self._wanted = FRAME_BYTES + size
                break
            if data[end] != _END:
                self.trouble = BadFrame("the server sent a frame without an end")
                break
            found.append((kind, channel, data[start:end]))
            at = end + 1
        self._rest = bytearray(data[at:])
        return found


def frame_of(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a frame.

    Args:
        kind: What it has.
        channel: Its channel.
        payload: What is in it.
    """
    return _HEAD.pack(kind, channel, len(payload)) + payload + FRAME_END


@lru_cache(maxsize=4096)
def publish_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - a keyword would cost more than what is kept
    """Return the frame that announces a message to the broker. Nearly all of them repeat.

    Args:
        channel: The channel.
        exchange: The exchange.
        routing_key: The key.
        mandatory: Whether it is returned if it reaches no queue.
    """
    names = (exchange.encode(), routing_key.encode())
    texts = b"".join(bytes([len(name)]) + name for name in names)
    return frame_of(METHOD, channel, _PUBLISH + texts + bytes([mandatory]))


def content_parts(
    channel: int, properties: bytes, body: bytes, frame_max: int
) -> tuple[bytes, ...] | list[bytes]:
    """Return the frames of a message after the one that announces it, in parts to be joined.

    Args:
        channel: The channel.
        properties: Flags and values, as `brokers.rabbitmq.properties` writes them.
        body: The body.
        frame_max: Bytes of the largest frame that the broker takes.
    """
    size = len(body)
    head = _CONTENT.pack(HEADER, channel, _CONTENT_BYTES + len(properties), _BASIC, 0, size)
    room = frame_max - FRAME_BYTES
    if 0 < size <= room:
        return head, properties, _NEXT_BODY.pack(_END, BODY, channel, size), body, FRAME_END
    parts = [head, properties]
    for start in range(0, size, room):
        piece = body[start : start + room]
        parts += (_NEXT_BODY.pack(_END, BODY, channel, len(piece)), piece)
    parts.append(FRAME_END)
    return parts


def ack_frame(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Return what tells the broker that a message is done with.

    Args:
        channel: The channel.
        tag: The number of the delivery.
        multiple: Whether all deliveries before it are done with too.
    """
    return _SETTLE.pack(METHOD, channel, _SETTLE_BYTES, _BASIC, _ACK_METHOD, tag, multiple, _END)


def reject_frame(channel: int, tag: int, *, requeue: bool) -> bytes:
    """Return what gives a message back, or sends it to the dead-letter exchange.

    Args:
        channel: The channel.
        tag: The number of the delivery.
        requeue: Whether it is to be delivered again.
    """
    return _SETTLE.pack(METHOD, channel, _SETTLE_BYTES, _BASIC, _REJECT_METHOD, tag, requeue, _END)
