"""From envelopes to AMQP properties and back.

Theory of operation
-------------------
Out: what RabbitMQ would act upon, cut short in silence, or answer by closing the connection was
refused before (`flow.ports.limits`). What the broker adds by itself is not sent.

In: whoever can reach a queue may put anything into it. Values of headers become text where that
is natural; tables and lists are left out. What the broker adds of its own is left out too, so that
a message looks the same each time it is delivered; but where a dead-lettered message comes from is
told under the names that every broker of flowmq uses.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from flow.ports import Envelope

__all__ = ["envelope_from", "envelope_of", "properties_of"]

DEATH_REASON: Final = "flow-death-reason"
DEATH_QUEUE: Final = "flow-death-queue"
ORIGINAL_ID: Final = "flow-message-id"
"""Header with the message's own id where another one had to be used on the wire."""
PERSISTENT: Final = 2
BROKERS_OWN: Final = frozenset(
    {
        "x-acquired-count",
        "x-death",
        "x-delivery-count",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
    }
)


def properties_of(envelope: Envelope, wire_id: str) -> Basic.Properties:
    """Return the properties that an envelope is sent with.

    Args:
        envelope: The message.
        wire_id: The id that it has on the wire: its own, or another one if that is in use.
    """
    headers: dict[str, Any] = {
        name: value for name, value in envelope.headers.items() if name not in BROKERS_OWN
    }
    if envelope.message_id and wire_id != envelope.message_id:
        headers[ORIGINAL_ID] = envelope.message_id
    return Basic.Properties(
        content_type=envelope.content_type or None,
        headers=headers or None,
        delivery_mode=PERSISTENT,
        correlation_id=envelope.correlation_id or None,
        reply_to=envelope.reply_to or None,
        message_id=wire_id,
        message_type=envelope.type or None,
    )


def envelope_of(message: DeliveredMessage) -> Envelope:
    """Return the envelope that a message arrived as.

    Args:
        message: What the library has received.
    """
    return envelope_from(message.header.properties, message.body)


def envelope_from(properties: Basic.Properties, body: bytes) -> Envelope:
    """Return the envelope of a message.

    Args:
        properties: Its properties.
        body: Its body.
    """
    headers: dict[str, str] = {}
    message_id = properties.message_id or ""
    if properties.headers:
        headers = _headers_of(properties.headers)
        message_id = headers.pop(ORIGINAL_ID, message_id)
    return Envelope(
        type=properties.message_type or "",
        body=body,
        message_id=message_id,
        correlation_id=properties.correlation_id or "",
        reply_to=properties.reply_to or "",
        headers=headers,
        content_type=properties.content_type or "",
    )


def _headers_of(fields: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in fields.items():
        if name not in BROKERS_OWN and (text := _text_of(value)) is not None:
            headers[name] = text
    if "x-death" in fields:
        headers.update(_death_of(fields["x-death"]))
    return headers


def _text_of(value: object) -> str | None:
    """Return a value as text, or None for what has no natural text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return str(value)
        case bytes() | bytearray():
            return bytes(value).decode(errors="replace")
        case datetime():
            return value.isoformat()
        case _:
            return None


def _death_of(deaths: object) -> dict[str, str]:
    """Return why and from where a message was dead-lettered last."""
    if not isinstance(deaths, list) or not deaths:
        return {}
    latest = cast("list[object]", deaths)[0]
    if not isinstance(latest, dict):
        return {}
    table = cast("dict[str, object]", latest)
    marks = {DEATH_REASON: table.get("reason"), DEATH_QUEUE: table.get("queue")}
    return {name: value for name, value in marks.items() if isinstance(value, str)}
