"""What every broker takes: the limits of AMQP, which a flow must not meet only when it grows.

A flow begins with a broker in its own process and moves to RabbitMQ without a change of its code.
So the broker in the process refuses what RabbitMQ would refuse.
"""

from collections.abc import Mapping
from typing import Final

from flow.errors import InvalidInput, TooLarge
from flow.ports.broker import Publication

__all__ = ["HEADERS_BYTES", "HEADER_NAME_BYTES", "NAME_BYTES", "check_publication"]

NAME_BYTES: Final = 255
"""Bytes of the longest name, key, id or type."""
HEADER_NAME_BYTES: Final = 128
"""Bytes of the longest name of a header."""
HEADERS_BYTES: Final = 64 * 1024
"""Bytes of everything about a message but its body: it has to fit into one frame."""

_ROUTING_HEADERS: Final = frozenset({"cc", "bcc"})
_FIELD_BYTES: Final = 6
"""Bytes of one header besides its name and value."""


def check_publication(publication: Publication) -> int:
    """Make sure that a publication can be sent; return the bytes of all but its body.

    Args:
        publication: The message and its destination.

    Raises:
        InvalidInput: A text is longer than AMQP allows, or is no Unicode; or a header would send
            copies elsewhere.
        TooLarge: Its headers and names do not fit into one frame.
    """
    envelope = publication.envelope
    size = 0
    for what, text in (
        ("exchange", publication.exchange),
        ("routing key", publication.routing_key),
        ("type", envelope.type),
        ("message id", envelope.message_id),
        ("correlation id", envelope.correlation_id),
        ("reply address", envelope.reply_to),
        ("content type", envelope.content_type),
    ):
        size += _check_length(what, text, NAME_BYTES)
    if envelope.headers:
        size += _check_headers(envelope.headers)
    if size > HEADERS_BYTES:
        raise TooLarge("the headers of a message", size, HEADERS_BYTES)
    return size


def _check_headers(headers: Mapping[str, str]) -> int:
    size = 0
    for name, value in headers.items():
        if name.lower() in _ROUTING_HEADERS:
            raise InvalidInput(
                f"header {name!r} of a message",
                "RabbitMQ would send copies to the queues that it names",
            )
        size += _check_length(f"name {name[:40]!r} of a header", name, HEADER_NAME_BYTES)
        size += _size(f"header {name!r}", value) + _FIELD_BYTES
    return size


def _check_length(what: str, text: str, limit: int) -> int:
    size = _size(what, text)
    if size > limit:
        raise InvalidInput(
            f"the {what} of a message", f"it has {size} bytes; at most {limit} are allowed"
        )
    return size


def _size(what: str, text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the {what} of a message", "it is no Unicode text") from error
