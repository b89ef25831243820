"""What the tests of the wire have instead of a socket and a library."""

from __future__ import annotations

import asyncio
import struct

from brokers.rabbitmq.frames import BODY, HEADER, METHOD, FrameParser, frame_of
from brokers.rabbitmq.multiplexer import Multiplexer


class FakeSocket(asyncio.Transport):
    """Keeps what is written.

    Attributes:
        writes: What was written, each time.
        is_aborted: Whether it was given up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        """Return whether it was given up."""
        return self.is_aborted

    def abort(self) -> None:
        """Give it up."""
        self.is_aborted = True

    def close(self) -> None:
        """Give it up."""
        self.is_aborted = True

    def pause_reading(self) -> None:
        """Do nothing."""

    def frames(self) -> list[tuple[int, int, bytes]]:
        """Return the frames that were written, and forget them."""
        writes, self.writes = self.writes, []
        parser = FrameParser()
        frames = parser.feed(b"".join(writes))
        assert parser.rest == b""
        return frames


def multiplexed() -> tuple[Multiplexer, FakeSocket, asyncio.StreamReader]:
    """Return an owner of a socket, the socket, and the library's stream."""
    loop = asyncio.get_running_loop()
    library = asyncio.StreamReader(loop=loop)
    multiplexer = Multiplexer(library, loop)
    socket = FakeSocket()
    multiplexer.connection_made(socket)
    return multiplexer, socket, library


def method(key: bytes, arguments: bytes = b"", channel: int = 1) -> bytes:
    """Return a frame with a method."""
    return frame_of(METHOD, channel, key + arguments)


def message(
    key: bytes, arguments: bytes, properties: bytes, body: bytes, channel: int = 1
) -> bytes:
    """Return the frames of a message."""
    header = struct.pack(">HHQ", 60, 0, len(body)) + properties
    frames = [method(key, arguments, channel), frame_of(HEADER, channel, header)]
    if body:
        frames.append(frame_of(BODY, channel, body))
    return b"".join(frames)


def delivery(tag: int, body: bytes, key: bytes = b"key", *, redelivered: bool = False) -> bytes:
    """Return the frames of a delivery."""
    arguments = b"\x03tag" + struct.pack(">QB", tag, redelivered) + b"\x00"
    return message(b"\0\x3c\0\x3c", arguments + bytes([len(key)]) + key, b"\0\0", body)
