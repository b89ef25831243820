"""Tests of `brokers.rabbitmq.examining`."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.rabbitmq import examining
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.url import parse
from flow.errors import BrokerUnavailable
from flow.ports import Finding, Level
from tests.brokers.rabbitmq.peers import connected
from tests.servers.rabbitmq import RabbitServer


@pytest.mark.parametrize(
    ("properties", "level", "detail"),
    [
        ({"product": "RabbitMQ", "version": "3.10.8"}, Level.FINE, "RabbitMQ 3.10.8"),
        ({"product": "RabbitMQ", "version": "4.1.0-rc.1"}, Level.FINE, "RabbitMQ 4.1.0-rc.1"),
        ({"product": "RabbitMQ", "version": "3.9.29"}, Level.PROBLEM, "RabbitMQ 3.9.29"),
        ({"product": "RabbitMQ", "version": "x"}, Level.WARNING, "RabbitMQ x"),
        ({"product": "LavinMQ", "version": "2.0.0"}, Level.WARNING, "LavinMQ 2.0.0"),
        ({}, Level.WARNING, "? ?"),
    ],
)
def test_versions_are_judged(properties: dict[str, Any], level: Level, detail: str) -> None:
    """RabbitMQ from 3.10 on is fine; older ones lack something, others may."""
    finding = examining._version(properties)
    assert (finding.level, finding.detail) == (level, detail)
    assert bool(finding.advice) is (level is not Level.FINE)


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("amqp://localhost", Level.FINE),
        ("amqps://broker.example", Level.FINE),
        ("amqp://broker.example", Level.WARNING),
    ],
)
def test_plain_connections_to_elsewhere_are_warned_of(url: str, level: Level) -> None:
    """A connection without TLS is fine on this machine only."""
    assert examining._encryption(parse(url)).level is level


def test_a_blocked_broker_is_a_problem() -> None:
    """That the broker takes no messages is told with its reason."""
    link = Link("amqp://h")
    assert examining._alarm(link).level is Level.FINE
    link.note_blocked("low on memory")
    finding = examining._alarm(link)
    assert (finding.level, finding.detail) == (Level.PROBLEM, "blocked: low on memory")


async def test_a_good_broker_is_fine(broker_url: str) -> None:
    """Everything about a broker that works is found fine, and nothing is left behind."""
    async with connected(broker_url) as broker:
        findings = await broker.examine()
        again = await broker.examine()
    assert {finding.level for finding in findings} == {Level.FINE}
    assert [finding.subject for finding in findings] == [
        "broker",
        "encryption",
        "heartbeat",
        "alarms",
        "exclusive queues",
        "quorum queues",
        "publishing",
    ]
    assert findings[2] == Finding(Level.FINE, "heartbeat", "10 s to publish, 5 s to receive")
    assert again == findings
    with pytest.raises(BrokerUnavailable):
        await broker.examine()


async def test_missing_permissions_are_named(broker_url: str, rabbitmq: RabbitServer) -> None:
    """A user who may do nothing learns what it may not do, in the broker's words."""
    vhost = broker_url.rpartition("/")[2]
    await rabbitmq.ctl("add_user", f"nobody-{vhost}", "pw")
    await rabbitmq.ctl("set_permissions", "-p", vhost, f"nobody-{vhost}", "^$", "^$", "^$")
    url = broker_url.replace("guest:guest", f"nobody-{vhost}:pw")
    async with connected(url) as broker:
        findings = {finding.subject: finding for finding in await broker.examine()}
    for subject in ("exclusive queues", "quorum queues", "publishing"):
        assert findings[subject].level is Level.PROBLEM
        assert "ACCESS_REFUSED" in findings[subject].detail
        assert "permissions" in findings[subject].advice
