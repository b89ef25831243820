"""Tests of `brokers.rabbitmq.properties`, which is compared with the library's codec."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pamqp.frame
import pytest
from hypothesis import given, strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from brokers.rabbitmq import properties as properties_module
from brokers.rabbitmq.convert import BROKERS_OWN, envelope_from, properties_of
from brokers.rabbitmq.frames import HEADER, frame_of
from brokers.rabbitmq.properties import envelope_at, properties_at, wire_id_at
from brokers.rabbitmq.wire import MALFORMED, trouble_of
from flow.ports import Envelope

short = st.text(max_size=40).filter(lambda text: len(text.encode()) <= 255)
names = st.text(min_size=1, max_size=20) | st.sampled_from([*BROKERS_OWN, "flow-message-id"])
values = (
    st.text(max_size=60)
    | st.integers(-(2**60), 2**60)
    | st.booleans()
    | st.none()
    | st.binary(max_size=9).map(bytearray)
    | st.decimals(-100, 100, places=2)
    | st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC))
    | st.lists(st.integers(0, 9), max_size=2)
    | st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=2)
)
envelopes = st.builds(
    Envelope,
    type=short,
    body=st.just(b"{}"),
    message_id=short,
    correlation_id=short,
    reply_to=short,
    headers=st.dictionaries(names, st.text(max_size=60), max_size=5),
    content_type=short,
)


def header_of(properties: bytes, size: int = 2) -> bytes:
    """Return the payload of a header frame with these flags and values."""
    return struct.pack(">HHQ", 60, 0, size) + properties


def as_the_library(header: bytes, body: bytes = b"{}") -> Envelope:
    """Return what the library makes of a header."""
    frame = frame_of(HEADER, 1, header)
    reason = trouble_of(frame)
    if reason is not None:
        return Envelope("", body, headers={MALFORMED: reason}, content_type="")
    found = pamqp.frame.unmarshal(frame)[2]
    assert isinstance(found, ContentHeader)
    return envelope_from(found.properties, body)


@given(envelopes, short.filter(bool))
def test_what_is_written_is_what_the_library_would_write(envelope: Envelope, wire_id: str) -> None:
    """The bytes of an envelope mean, to the library, what its own bytes would."""
    header = header_of(properties_at(envelope, wire_id))
    found = pamqp.frame.unmarshal(frame_of(HEADER, 1, header))[2]
    assert isinstance(found, ContentHeader)
    assert dict(found.properties) == dict(properties_of(envelope, wire_id))
    assert wire_id_at(header) == wire_id


@given(envelopes)
def test_envelopes_travel_unchanged(envelope: Envelope) -> None:
    """What is written is read again, without what belongs to the broker."""
    wire_id = envelope.message_id or "made"
    found = envelope_at(header_of(properties_at(envelope, wire_id)), b"{}")
    headers = {name: each for name, each in envelope.headers.items() if name not in BROKERS_OWN}
    own_id = headers.pop("flow-message-id", wire_id)
    assert found == envelope._replace(message_id=own_id, headers=headers)


@given(
    st.dictionaries(names, values, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "content_type": short,
            "content_encoding": short,
            "delivery_mode": st.integers(1, 2),
            "priority": st.integers(0, 9),
            "correlation_id": short,
            "reply_to": short,
            "expiration": short,
            "message_id": short,
            "timestamp": st.just(datetime(2026, 1, 1, tzinfo=UTC)),
            "message_type": short,
            "user_id": short,
            "app_id": short,
        },
    ),
)
def test_plain_clients_are_read_as_the_library_reads_them(
    headers: dict[str, Any], others: dict[str, Any]
) -> None:
    """Whatever properties and headers a client sends, both ways to read them agree."""
    content = ContentHeader(0, 2, Basic.Properties(headers=headers or None, **others))
    header = pamqp.frame.marshal(content, 1)[7:-1]
    assert envelope_at(header, b"{}") == as_the_library(header)


@given(st.binary(max_size=120))
def test_garbage_is_read_as_the_library_reads_it(garbage: bytes) -> None:
    """Bytes that are no properties are rejected as ever, and never raise."""
    header = header_of(garbage)
    assert envelope_at(header, b"{}") == as_the_library(header)
    assert isinstance(wire_id_at(header), str)


@given(envelopes, st.data())
def test_damage_is_read_as_the_library_reads_it(envelope: Envelope, data: st.DataObject) -> None:
    """Properties of ours with a byte changed, or cut, are what the library takes them for."""
    header = bytearray(header_of(properties_at(envelope, "id")))
    place = data.draw(st.integers(12, len(header) - 1))
    header[place] = data.draw(st.integers(0, 255))
    damaged = bytes(header[: data.draw(st.integers(place, len(header)))])
    assert envelope_at(damaged, b"{}") == as_the_library(damaged)


@pytest.mark.parametrize("size", [0, 1, 11, 13])
def test_headers_without_properties_are_rejected(size: int) -> None:
    """A header frame that is too short is a message to reject."""
    assert MALFORMED in envelope_at(header_of(b"\0\0")[:size], b"").headers


def test_what_is_usual_does_not_need_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of ours is read without the library's decoder; one with a number is not."""
    with monkeypatch.context() as patch:
        patch.setattr(properties_module, "_foreign", None)
        envelope = Envelope("t", b"", "m", "c", "r", {"h": "v", "ü": "ü"})
        assert envelope_at(header_of(properties_at(envelope, "m")), b"") == envelope
    numbers = Basic.Properties(headers={"h": 7, "d": Decimal("1.5")})
    header = pamqp.frame.marshal(ContentHeader(0, 0, numbers), 1)[7:-1]
    assert envelope_at(header, b"").headers == {"h": "7", "d": "1.5"}
