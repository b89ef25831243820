"""Tests of `flow.ports.broker`: what is more than a signature."""

from __future__ import annotations

from flow.errors import BrokerUnavailable
from flow.ports import PartlyPublished, Settlement


def test_what_is_partly_published_is_an_outage_that_knows_more() -> None:
    """Who does not care which outcomes are known catches it as any other outage."""
    error = PartlyPublished("amqp://mq", "no confirm", [Settlement.CONFIRMED, None])
    assert isinstance(error, BrokerUnavailable)
    assert (error.url, error.reason) == ("amqp://mq", "no confirm")
    assert error.settlements == (Settlement.CONFIRMED, None)
    assert "no confirm" in str(error)
