"""Properties of messages as bytes: written from an envelope, and read into one. Pure.

Theory of operation
-------------------
What flowmq sends has few properties, all of them text, and headers that are text too. Those are
written and read here, in one pass over the bytes. Everything else, such as a time, a header that
is a number, or bytes that are no text, is left to the library's decoder (pamqp), and what that
cannot decode is handed over as a message that says so, to be rejected. So a message looks the same
whichever way it was read; a test compares both.
"""

import struct
from functools import lru_cache
from typing import Final

import pamqp.frame
from pamqp.header import ContentHeader

from brokers.rabbitmq.convert import BROKERS_OWN, ORIGINAL_ID, envelope_from
from brokers.rabbitmq.frames import HEADER, frame_of
from brokers.rabbitmq.wire import MALFORMED, trouble_of
from flow.ports import Envelope

__all__ = ["envelope_at", "properties_at", "wire_id_at"]

CONTENT_TYPE: Final = 0x8000
HEADERS: Final = 0x2000
DELIVERY_MODE: Final = 0x1000
CORRELATION_ID: Final = 0x0400
REPLY_TO: Final = 0x0200
MESSAGE_ID: Final = 0x0080
TYPE: Final = 0x0020

_FLAGS_AT: Final = 12
_VALUES_AT: Final = 14
_FOREIGN: Final = 0xFFFF & ~(
    CONTENT_TYPE | HEADERS | DELIVERY_MODE | CORRELATION_ID | REPLY_TO | MESSAGE_ID | TYPE
)
_TEXTS: Final = (CORRELATION_ID, REPLY_TO, MESSAGE_ID, TYPE)
_PERSISTENT: Final = b"\x02"
_SIZE: Final = struct.Struct(">I")
_TEXT: Final = ord("S")
_LENGTHS: Final = tuple(bytes([number]) for number in range(256))


def properties_at(envelope: Envelope, wire_id: str) -> bytes:
    """Return the flags and values that an envelope is sent with.

    Args:
        envelope: The message, which is within the limits of AMQP.
        wire_id: The id that it has on the wire: its own, or another one if that is in use.
    """
    flags = DELIVERY_MODE | MESSAGE_ID
    parts = [b"", b""]
    if envelope.content_type:
        flags |= CONTENT_TYPE
        parts.append(_repeated(envelope.content_type))
    if envelope.headers or (wire_id != envelope.message_id and envelope.message_id):
        table = _table_of(envelope, wire_id)
        if table:
            flags |= HEADERS
            parts += (_SIZE.pack(len(table)), table)
    parts.append(_PERSISTENT)
    if envelope.correlation_id:
        flags |= CORRELATION_ID
        parts.append(_short(envelope.correlation_id))
    if envelope.reply_to:
        flags |= REPLY_TO
        parts.append(_repeated(envelope.reply_to))
    parts.append(_short(wire_id))
    if envelope.type:
        flags |= TYPE
        parts.append(_repeated(envelope.type))
    parts[0] = flags.to_bytes(2)
    return b"".join(parts)


def envelope_at(header: bytes, body: bytes) -> Envelope:
    """Return the envelope that a message arrived as.

    Args:
        header: The payload of its header frame.
        body: Its body.
    """
    try:
        return _plain(header, body)
    except (IndexError, ValueError, struct.error):
        return _foreign(header, body)


def wire_id_at(header: bytes) -> str:
    """Return the id that a message had on its way, or an empty string.

    Args:
        header: The payload of its header frame.
    """
    frame = frame_of(HEADER, 1, header)
    found = None if trouble_of(frame) else pamqp.frame.unmarshal(frame)[2]
    return found.properties.message_id or "" if isinstance(found, ContentHeader) else ""


def _plain(header: bytes, body: bytes) -> Envelope:
    """Return the envelope of a message that has text only; raise for another one."""
    flags = header[_FLAGS_AT] << 8 | header[_FLAGS_AT + 1]
    if flags & _FOREIGN:
        raise ValueError(flags)
    at = _VALUES_AT
    content_type = ""
    headers: dict[str, str] = {}
    if flags & CONTENT_TYPE:
        end = at + 1 + header[at]
        content_type, at = header[at + 1 : end].decode(), end
    if flags & HEADERS:
        end = at + 4 + _SIZE.unpack_from(header, at)[0]
        headers, at = _plain_headers(header, at + 4, end), end
    if flags & DELIVERY_MODE:
        at += 1
    texts: list[str] = []
    for flag in _TEXTS:
        if flags & flag:
            end = at + 1 + header[at]
            texts.append(header[at + 1 : end].decode())
            at = end
        else:
            texts.append("")
    if at > len(header):
        raise IndexError(at)
    correlation_id, reply_to, message_id, type_ = texts
    if headers:
        message_id = headers.pop(ORIGINAL_ID, message_id)
    return Envelope(type_, body, message_id, correlation_id, reply_to, headers, content_type)


def _plain_headers(header: bytes, at: int, end: int) -> dict[str, str]:
    """Return headers that are text, all of them; raise if one is not."""
    headers: dict[str, str] = {}
    while at < end:
        kind_at = at + 1 + header[at]
        value_at = kind_at + 5
        if header[kind_at] != _TEXT:
            raise ValueError(kind_at)
        name = header[at + 1 : kind_at].decode()
        at = value_at + _SIZE.unpack_from(header, kind_at + 1)[0]
        if name not in BROKERS_OWN:
            headers[name] = header[value_at:at].decode(errors="replace")
    if at != end:
        raise IndexError(at)
    return headers


def _foreign(header: bytes, body: bytes) -> Envelope:
    """Return the envelope of any message, as the library reads it."""
    frame = frame_of(HEADER, 1, header)
    reason = trouble_of(frame)
    if reason is not None:
        return Envelope("", body, headers={MALFORMED: reason}, content_type="")
    found = pamqp.frame.unmarshal(frame)[2]
    if not isinstance(found, ContentHeader):  # pragma: no cover - the frame says so
        raise TypeError(found)
    return envelope_from(found.properties, body)


def _table_of(envelope: Envelope, wire_id: str) -> bytes:
    """Return the headers as a table, without its size."""
    parts: list[bytes] = []
    for name, value in envelope.headers.items():
        if name not in BROKERS_OWN:
            data = value.encode()
            parts += (_name(name), _SIZE.pack(len(data)), data)
    if envelope.message_id and wire_id != envelope.message_id:
        data = envelope.message_id.encode()
        parts += (_name(ORIGINAL_ID), _SIZE.pack(len(data)), data)
    return b"".join(parts)


def _short(text: str) -> bytes:
    data = text.encode()
    return _LENGTHS[len(data)] + data


@lru_cache(maxsize=1024)
def _repeated(text: str) -> bytes:
    """Return a short string of which there are few."""
    return _short(text)


@lru_cache(maxsize=1024)
def _name(text: str) -> bytes:
    """Return the name of a header, and that its value is text."""
    return _short(text) + b"S"
