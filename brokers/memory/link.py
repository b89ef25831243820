"""Frames over a transport: what both ends of a socket have in common.

What is sent in one turn of the event loop is written at once at its end, or earlier when it
grows large. Each end is told when the other one does not read fast enough, and has to stop
sending until it does.
"""

import asyncio
import struct
from collections.abc import Iterator
from typing import Final, Protocol, cast

from brokers.memory.frames import FRAME_MAX, Frame, decode
from flow.errors import CorruptRecord

__all__ = ["FrameBuffer", "Link", "LinkOwner"]

FLUSH_BYTES: Final = 64 * 1024
"""Bytes that are written before the turn of the event loop is over."""

_LENGTH: Final = struct.Struct(">I")


class FrameBuffer:
    """Cuts a stream of bytes into frames."""

    __slots__ = ("_data", "_wanted")

    def __init__(self) -> None:
        self._data = bytearray()
        # Bytes without which no more can be done, so that small reads do not scan again.
        self._wanted = _LENGTH.size

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that *data* completes.

        Args:
            data: What was read, in pieces of any size.

        Raises:
            CorruptRecord: It is no frame, or one of more than `FRAME_MAX` bytes, which is
                noticed before the rest of it arrives.
        """
        self._data += data
        start = 0
        while len(self._data) - start >= self._wanted:
            if self._wanted == _LENGTH.size:
                self._wanted += self._length(start)
                continue
            end = start + self._wanted
            frame = decode(bytes(memoryview(self._data)[start + _LENGTH.size : end]))
            start = end
            self._wanted = _LENGTH.size
            yield frame
        del self._data[:start]

    def _length(self, start: int) -> int:
        (length,) = _LENGTH.unpack_from(self._data, start)
        if not 0 < length <= FRAME_MAX:
            raise CorruptRecord(
                "a frame", f"it has {length:,} bytes; 1 to {FRAME_MAX:,} are allowed"
            )
        return int(length)


class LinkOwner(Protocol):
    """Who uses a link. All is called on the event loop."""

    def opened(self, link: "Link") -> None:
        """The link is up."""
        ...

    def received(self, frame: Frame) -> None:
        """A frame has come. `CorruptRecord` ends the link."""
        ...

    def stalled(self, is_stalled: bool) -> None:  # noqa: FBT001 - one callback for both turns
        """The other side does not read fast enough, or does again."""
        ...

    def closed(self, reason: str) -> None:
        """The link is gone."""
        ...


class Link(asyncio.Protocol):
    """One connection that carries frames.

    Args:
        owner: Who uses it.
        loop: The event loop that it runs on.
    """

    def __init__(self, owner: LinkOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.is_open = False
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = FrameBuffer()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._reason = "the other side closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass on the frames that *data* completes, or give up on what is none."""
        try:
            for frame in self._buffer.feed(data):
                if not self.is_open:
                    return
                self._owner.received(frame)
        except CorruptRecord as error:
            self.abort(str(error))

    def pause_writing(self) -> None:
        """Tell the owner to send no more."""
        self._owner.stalled(True)

    def resume_writing(self) -> None:
        """Tell the owner that it may send again."""
        if self.is_open:
            self._owner.stalled(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner that the link is gone, and why."""
        self.is_open = False
        self._out.clear()
        self._owner.closed(self._reason if exc is None else str(exc))

    def send(self, data: bytes) -> None:
        """Send a whole frame, soon. On a link that is closed, nothing happens."""
        if not self.is_open:
            return
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send now what was to be sent soon."""
        if self._out and self._transport is not None:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Receive nothing for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what was to be sent, then close."""
        if self.is_open and self._transport is not None:
            self.flush()
            self.is_open = False
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once.

        Args:
            reason: What the owner is told in `closed`.
        """
        if self._transport is not None:
            self.is_open = False
            self._reason = reason
            self._transport.abort()
