"""Tests of `brokers.rabbitmq.convert`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pamqp.frame
import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from brokers.rabbitmq.convert import envelope_of, properties_of
from flow.ports import Envelope

FULL = Envelope(
    "step.request", b"{}", "m-1", "c-1", "back", {"flow-id": "ü", "empty": ""}, "text/plain"
)


def arrive(properties: Basic.Properties, body: bytes = b"{}") -> Envelope:
    """Return the envelope that properties arrive as, after a journey over the wire."""
    frame = pamqp.frame.marshal(ContentHeader(0, len(body), properties), 1)
    header = pamqp.frame.unmarshal(frame)[2]
    assert isinstance(header, ContentHeader)
    channel: Any = None
    return envelope_of(DeliveredMessage(Basic.Deliver(), header, body, channel))


def test_envelopes_travel_unchanged() -> None:
    """Every property arrives as it was sent, and the message is persistent."""
    properties = properties_of(FULL, "m-1")
    assert properties.delivery_mode == 2
    assert arrive(properties) == FULL


def test_another_id_on_the_wire_is_taken_back() -> None:
    """A message that had to travel under another id arrives with its own."""
    properties = properties_of(FULL, "w-1")
    assert properties.message_id == "w-1"
    assert arrive(properties) == FULL
    assert arrive(properties_of(Envelope("t", b"{}"), "made")).message_id == "made"


def test_plain_clients_may_leave_everything_out() -> None:
    """A message without any properties has empty ones."""
    assert arrive(Basic.Properties()) == Envelope("", b"{}", content_type="")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (-(2**40), "-1099511627776"),
        (0.5, "0.5"),
        (Decimal("1.25"), "1.25"),
        (bytearray(b"b\xc3\xbc\xff"), "bü\ufffd"),
        (datetime(2026, 11, 22, 8, 30, tzinfo=UTC), "2026-11-22T08:30:00+00:00"),
        (None, None),
        ({"a": 1}, None),
        ([1, 2], None),
    ],
)
def test_headers_of_plain_clients_become_text(value: Any, text: str | None) -> None:
    """Values of other types become text where that is natural, and are left out otherwise."""
    headers = arrive(Basic.Properties(headers={"h": value, "other": "x"})).headers
    assert headers.get("h") == text
    assert headers["other"] == "x"


def test_the_brokers_own_headers_are_left_out() -> None:
    """What the broker adds is not seen, and is not sent either."""
    headers: dict[str, Any] = {"x-delivery-count": 3, "x-first-death-queue": "q", "x-mine": "kept"}
    assert arrive(Basic.Properties(headers=headers)).headers == {"x-mine": "kept"}
    sent = properties_of(Envelope("t", b"", headers={"x-death": "forged", "x-mine": "kept"}), "m")
    assert sent.headers == {"x-mine": "kept"}


def test_deaths_are_told_as_everywhere() -> None:
    """A dead-lettered message says why it is here and from where, by its latest death."""
    deaths: Any = [
        {"reason": "rejected", "queue": "second", "count": 1},
        {"reason": "expired", "queue": "first", "count": 2},
    ]
    headers = arrive(Basic.Properties(headers={"x-death": deaths, "kept": "yes"})).headers
    assert headers == {
        "kept": "yes",
        "flow-death-reason": "rejected",
        "flow-death-queue": "second",
    }


@pytest.mark.parametrize("deaths", ["text", [], ["text"], [{}], [{"reason": 1, "queue": None}]])
def test_forged_deaths_do_no_harm(deaths: Any) -> None:
    """Whatever a client puts where the broker tells of deaths is ignored."""
    assert arrive(Basic.Properties(headers={"x-death": deaths})).headers == {}
