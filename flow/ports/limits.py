"""What every broker takes: the limits of AMQP, which a flow must not meet only when it grows.

A flow begins with a broker in its own process and moves to RabbitMQ without a change of its code.
So the broker in the process refuses what RabbitMQ would refuse.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from flow.errors import InvalidInput, TooLarge
from flow.ports.broker import Publication

__all__ = ["HEADERS_BYTES", "HEADER_NAME_BYTES", "NAME_BYTES", "check_publication"]

NAME_BYTES: Final = 255
"""Bytes of the longest name, key, id or type."""
HEADER_NAME_BYTES: Final = 128
"""Bytes of the longest name of a header."""
HEADERS_BYTES: Final = 112 * 1024
"""Bytes of everything about a message but its body: it has to fit into one frame of 128 KiB."""

_ROUTING_HEADERS: Final = frozenset({"cc", "bcc"})
_FIELD_BYTES: Final = 6
"""Bytes of one header besides its name and value."""
_TEXTS: Final = (
    "exchange",
    "routing key",
    "type",
    "message id",
    "correlation id",
    "reply address",
    "content type",
)


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
    headers = envelope.headers
    texts = (
        publication.exchange,
        publication.routing_key,
        envelope.type,
        envelope.message_id,
        envelope.correlation_id,
        envelope.reply_to,
        envelope.content_type,
    )
    # Nearly all messages are plain and short enough that a look at their texts put together is
    # enough: 10 calls instead of 50. Only what fails that is looked at one by one.
    short, names = "".join(texts), ""
    everything = short
    if headers:
        names = "".join(headers)
        everything = f"{short}{names}{''.join(headers.values())}"
    if (
        everything.isascii()
        and "cc" not in names.lower()
        and (len(short) <= NAME_BYTES or max(map(len, texts)) <= NAME_BYTES)
        and (len(names) <= HEADER_NAME_BYTES or max(map(len, headers)) <= HEADER_NAME_BYTES)
    ):
        size = len(everything) + _FIELD_BYTES * len(headers)
    else:
        size = _check_each(texts, headers)
    if size > HEADERS_BYTES:
        raise TooLarge("the headers of a message", size, HEADERS_BYTES)
    return size


def _check_each(texts: Iterable[str], headers: Mapping[str, str]) -> int:
    size = sum(
        _check_length(what, text, NAME_BYTES) for what, text in zip(_TEXTS, texts, strict=True)
    )
    return size + _check_headers(headers)


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
