"""Tests of `brokers.memory.broker`, beyond those that every broker has to pass."""

from __future__ import annotations

import asyncio

import pytest

from brokers.memory.broker import BREATH, MemoryBroker
from brokers.memory.hub import Hub
from flow.errors import BrokerUnavailable
from flow.ports import (
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Envelope,
    Exchange,
    Publication,
    Queue,
    Topology,
)
from tests.brokers.memory.waiting import turns

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


async def test_a_lost_connection_is_told_and_can_be_opened_at_once() -> None:
    """When the hub is wiped the owner is told, once, and need not wait for the next session."""
    hub, lost = Hub(), list[bool]()
    broker = MemoryBroker(hub, on_close=lambda: lost.append(True))
    await broker.open()
    await broker.declare(TOPOLOGY)
    hub.wipe()
    assert (lost, broker.health.is_connected) == ([True], False)
    with pytest.raises(BrokerUnavailable, match="ended the session"):
        await broker.publish([MESSAGE])
    await broker.open()
    assert broker.health == BrokerHealth(is_connected=True, generation=2)
    await broker.publish([MESSAGE])
    await turns()
    assert hub.stats().sessions == 1
    await broker.close()
    assert lost == [True]


async def test_a_wiped_hub_is_filled_again() -> None:
    """What was kept is declared and consumed again by the next turn, before watchers are told."""
    hub, events, taken = Hub(), list[tuple[BrokerEvent, int]](), list[Delivery]()
    broker, other = MemoryBroker(hub), MemoryBroker(hub)
    await broker.open()
    await other.open()
    broker.watch(lambda event: events.append((event, len(hub.stats().queues))))
    await broker.declare(TOPOLOGY)
    await broker.declare(Topology((Exchange("incarnation", "direct"),)), keep=False)
    await broker.consume("q", 10, taken.append)
    hub.wipe()
    await turns()
    assert events == [(BrokerEvent.LOST, 0), (BrokerEvent.CONNECTED, 1)]
    assert not await broker.has_exchange("incarnation")
    await other.publish([MESSAGE])
    await turns()
    assert len(taken) == 1


async def test_a_conflict_after_a_wipe_is_reported() -> None:
    """If others were faster and declared it otherwise, that is reported and the rest goes on."""
    hub, reports = Hub(), list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context["message"]))
    broker = MemoryBroker(hub)
    await broker.open()
    await broker.declare(Topology((Exchange("e", "direct"),)))
    await broker.declare(TOPOLOGY)
    hub.wipe()
    hub.connect().declare(Topology((Exchange("e", "topic"),)))
    await turns()
    assert reports == ["what was declared before is refused now"]
    assert hub.depth("q") == 0
    assert broker.health.is_connected


async def test_a_closed_connection_is_not_made_again() -> None:
    """Whoever closes a connection that was just lost does not get another one."""
    hub = Hub()
    broker = MemoryBroker(hub)
    await broker.open()
    hub.cut()
    await broker.close()
    await turns()
    assert (hub.stats().sessions, broker.health.is_connected) == (0, False)


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
