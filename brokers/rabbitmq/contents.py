"""Messages put together from the frames of one channel. Pure.

Theory of operation
-------------------
A message comes as a method frame that announces it, a header frame with its size, and frames of
its body until that size is reached; in between, nothing else comes on its channel. So one message
at a time is in the making. Whatever comes at another time than its own is an error of the server.
"""

import struct
from typing import Final

from brokers.rabbitmq.frames import BODY, HEADER, BadFrame

__all__ = ["Contents", "text_at"]

_BODY_SIZE: Final = struct.Struct(">Q")
_BODY_SIZE_AT: Final = 4
_TEXT_BYTES: Final = 255


class Contents:
    """The message of a channel that is in the making.

    Attributes:
        method: The payload of the frame that announced it.
        header: The payload of its header frame, once that is there.
        body: Its body, once `take` has returned that it is complete.
    """

    __slots__ = ("_missing", "_parts", "body", "header", "method")

    def __init__(self) -> None:
        """Begin without a message."""
        self.method = b""
        self.header = b""
        self.body = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def begin(self, method: bytes) -> None:
        """Take note that a message was announced.

        Args:
            method: The payload of the frame that did.

        Raises:
            BadFrame: Another one is not complete yet.
        """
        if self.method:
            raise BadFrame("the server sent a message within a message")
        self.method = method

    def take(self, kind: int, payload: bytes) -> bool:
        """Take the next frame of the message; return whether it is complete.

        Args:
            kind: What the frame has.
            payload: What is in it.

        Raises:
            BadFrame: Nothing was announced, or the frame is not the next one.
        """
        if kind == BODY and self.header:
            missing = self._missing - len(payload)
            if missing == 0 and not self._parts:
                # Nearly every body fits into one frame.
                self.body = payload
                return True
            if missing < 0:
                raise BadFrame("the server sent more of a message than it has")
            self._missing = missing
            self._parts.append(payload)
            return self._is_complete()
        if kind != HEADER or not self.method or self.header:
            raise BadFrame("the server sent a part of no message")
        self.header = payload
        (self._missing,) = _BODY_SIZE.unpack_from(payload, _BODY_SIZE_AT)
        self.body = b""
        return self._missing == 0

    def clear(self) -> None:
        """Be ready for the next message."""
        self.method = self.header = self.body = b""

    def _is_complete(self) -> bool:
        if self._missing:
            return False
        self.body = b"".join(self._parts)
        self._parts.clear()
        return True


def text_at(payload: bytes, at: int) -> str:
    """Return the short string that begins at a place, however it is encoded.

    Args:
        payload: Where it is.
        at: The place.
    """
    start = at + 1
    data = payload[start : start + payload[at]]
    try:
        return data.decode()
    except UnicodeDecodeError:
        # What replaces the bytes is longer, and names have a limit.
        fitting = data.decode(errors="replace").encode()[:_TEXT_BYTES]
        return fitting.decode(errors="ignore")
