"""How the fields of a frame are laid out as bytes.

Numbers are unsigned and in network order. Strings come in a block: how many there are, the bytes
of all of them, the characters of each, then the strings in UTF-8 without anything between them,
so that one call decodes them all. A body is its length and its bytes. Bytes that do not follow
this raise `CorruptRecord`, and nothing else.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

from flow.errors import CorruptRecord
from flow.ports import Envelope

__all__ = ["Reader", "pack_blob", "pack_message", "pack_texts", "unpack_message"]

_LENGTH: Final = struct.Struct(">I")
_BLOCK: Final = struct.Struct(">II")
# The strings of an envelope that are always there; headers follow them in pairs.
_ENVELOPE_TEXTS: Final = 5


class Reader:
    """Takes the fields of a frame apart, from the first to the last.

    Args:
        data: The frame.
        at: Where the fields begin, in bytes.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

    def numbers(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Return the numbers of *layout*.

        Raises:
            CorruptRecord: The frame ends before.
        """
        return layout.unpack(self.take(layout.size))

    def texts(self) -> list[str]:
        """Return a block of strings.

        Raises:
            CorruptRecord: It is cut short, or is no UTF-8.
        """
        count, size = self.numbers(_BLOCK)
        lengths = struct.unpack(f">{count}I", self.take(4 * count))
        try:
            block = self.take(size).decode()
        except UnicodeDecodeError as error:
            raise CorruptRecord("a frame", str(error)) from error
        texts: list[str] = []
        start = 0
        for length in lengths:
            end = start + length
            texts.append(block[start:end])
            start = end
        if start != len(block):
            raise CorruptRecord("a frame", f"its strings have {len(block)} characters, not {start}")
        return texts

    def blob(self) -> bytes:
        """Return a body.

        Raises:
            CorruptRecord: It is cut short.
        """
        (length,) = self.numbers(_LENGTH)
        return self.take(length)

    def take(self, length: int) -> bytes:
        """Return the next *length* bytes.

        Raises:
            CorruptRecord: The frame ends before.
        """
        end = self._at + length
        if end > len(self._data):
            raise CorruptRecord("a frame", f"it ends at {len(self._data)}, in a field up to {end}")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._at)


def pack_texts(texts: Sequence[str]) -> bytes:
    """Return a block of strings as bytes.

    Raises:
        UnicodeEncodeError: One of them cannot be written in UTF-8.
    """
    block = "".join(texts).encode()
    return struct.pack(f">{len(texts) + 2}I", len(texts), len(block), *map(len, texts)) + block


def pack_blob(data: bytes) -> bytes:
    """Return a body with its length before it."""
    return _LENGTH.pack(len(data)) + data


def pack_message(places: Sequence[str], envelope: Envelope) -> bytes:
    """Return an envelope as bytes.

    Args:
        places: Strings that go with it: an exchange, a routing key.
        envelope: The message.

    Raises:
        UnicodeEncodeError: A string cannot be written in UTF-8.
    """
    texts = [
        *places,
        envelope.type,
        envelope.message_id,
        envelope.correlation_id,
        envelope.reply_to,
        envelope.content_type,
    ]
    for header in envelope.headers.items():
        texts += header
    return pack_texts(texts) + pack_blob(envelope.body)


def unpack_message(reader: Reader, places: int) -> tuple[list[str], Envelope]:
    """Return what `pack_message` was given.

    Args:
        reader: Where the bytes come from.
        places: How many strings go with the envelope.

    Raises:
        CorruptRecord: The bytes are something else.
    """
    texts = reader.texts()
    body = reader.blob()
    headers = texts[places + _ENVELOPE_TEXTS :]
    if len(texts) < places + _ENVELOPE_TEXTS or len(headers) % 2:
        raise CorruptRecord("a frame", f"{len(texts)} strings make no message")
    kind, message_id, correlation_id, reply_to, content_type = texts[
        places : places + _ENVELOPE_TEXTS
    ]
    envelope = Envelope(
        kind,
        body,
        message_id,
        correlation_id,
        reply_to,
        dict(zip(headers[::2], headers[1::2], strict=True)),
        content_type,
    )
    return texts[:places], envelope
