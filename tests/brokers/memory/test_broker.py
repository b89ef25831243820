"""Tests of `brokers.memory.broker`, beyond those that every broker has to pass."""

from __future__ import annotations

import asyncio

import pytest

from brokers.memory.broker import BREATH, MemoryBroker
from brokers.memory.hub import Hub
from flow.errors import BrokerUnavailable
from flow.ports import Delivery, Envelope, Publication, Queue, Topology

MESSAGE = Publication("", "q", Envelope("t", b"x"))
TOPOLOGY = Topology(queues=(Queue("q"),))


async def test_each_has_a_hub_of_its_own() -> None:
    """Without a hub, a connection gets one that nobody else is on."""
    first, second = MemoryBroker(), MemoryBroker(url="memory://second")
    await first.open()
    await second.open()
    await first.declare(TOPOLOGY)
    assert first.hub.depth("q") == 0
    assert second.hub.stats().queues == ()
    assert second.url == "memory://second"


async def test_opening_twice_is_harmless() -> None:
    """To open a connection that is open changes nothing."""
    broker = MemoryBroker()
    await broker.open()
    await broker.open()
    assert broker.hub.stats().sessions == 1
    await broker.close()
    assert broker.hub.stats().sessions == 0


async def test_the_error_names_the_broker() -> None:
    """Using a closed connection names its URL."""
    with pytest.raises(BrokerUnavailable, match="memory://here"):
        await MemoryBroker(url="memory://here").publish([MESSAGE])


async def test_a_lost_connection_is_told_and_can_be_opened_again() -> None:
    """When the hub is wiped the owner is told, once, and may connect again."""
    hub, lost = Hub(), list[bool]()
    broker = MemoryBroker(hub, on_close=lambda: lost.append(True))
    await broker.open()
    await broker.declare(TOPOLOGY)
    hub.wipe()
    assert lost == [True]
    with pytest.raises(BrokerUnavailable):
        await broker.publish([MESSAGE])
    await broker.open()
    await broker.declare(TOPOLOGY)
    await broker.publish([MESSAGE])
    await broker.close()
    assert lost == [True]


async def test_a_busy_publisher_lets_consumers_work() -> None:
    """Somebody who publishes without a pause does not keep deliveries from happening."""
    broker, taken = MemoryBroker(), list[Delivery]()
    await broker.open()
    await broker.declare(TOPOLOGY)
    await broker.consume("q", 10_000, taken.append)
    for _ in range(BREATH * 4):
        await broker.publish([MESSAGE])
    assert len(taken) >= BREATH * 2


async def test_deliveries_come_after_consume_returns() -> None:
    """No message is received before the subscription is in the hands of its owner."""
    broker, taken = MemoryBroker(), list[Delivery]()
    await broker.open()
    await broker.declare(TOPOLOGY)
    await broker.publish([MESSAGE])
    subscription = await broker.consume("q", 1, taken.append)
    assert taken == []
    await subscription.cancel()
    await asyncio.sleep(0)
    assert taken == []
    assert broker.hub.depth("q") == 1
