"""Tests of `orchestrator.incarnations`: how a broker is noticed that has lost everything."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.memory import Hub, MemoryBroker
from flow.errors import BrokerUnavailable, StoreUnavailable
from flow.ports import BrokerEvent, Namespace, Topology
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator.incarnations import Incarnations
from flow.runtime.tasks import TaskGroup
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle


class Watcher:
    """A process that looks."""

    def __init__(self, hub: Hub, database: MemoryDatabase, first: int) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(hub)
        self.store = MemoryStore(self.clock.now_ms, database)
        self.found: list[str] = []
        self.incarnations = Incarnations(
            self.broker,
            self.store,
            Addresses("shop"),
            self.clock,
            CountingChance(first=first),
            self.found.append,
        )

    async def open(self) -> None:
        """Connect."""
        await self.broker.open()
        await self.store.open(Namespace("shop", 1))


async def watchers(count: int = 2) -> tuple[Hub, list[Watcher]]:
    """Return processes on one broker and one store."""
    hub, database = Hub(), MemoryDatabase()
    made = [Watcher(hub, database, 100 * number + 1) for number in range(count)]
    for each in made:
        await each.open()
    return hub, made


async def test_a_broker_that_lost_nothing_is_the_same() -> None:
    """Whoever looks finds the same incarnation, as long as nothing is lost."""
    hub, (one, two) = await watchers()
    await one.incarnations.look()
    await two.incarnations.look()
    hub.cut()
    await settle()
    await one.incarnations.look()
    assert len(set(one.found + two.found)) == 1
    assert await two.broker.has_exchange(f"shop.incarnation.{one.found[0]}")


async def test_a_broker_that_lost_everything_is_another_one() -> None:
    """After a loss all agree on a new incarnation, whoever looks first."""
    hub, (one, two) = await watchers()
    await one.incarnations.look()
    await two.incarnations.look()
    hub.wipe()
    await settle()
    await two.incarnations.look()
    await one.incarnations.look()
    assert one.found[1] == two.found[1] != one.found[0]


async def test_of_several_who_notice_one_wins() -> None:
    """Two who notice the loss at the same time agree on one new incarnation."""
    hub, (one, two) = await watchers()
    await one.incarnations.look()
    await two.incarnations.look()
    hub.wipe()
    await settle()
    declare = one.broker.declare

    async def overtaken(topology: Topology, *, keep: bool = True) -> None:
        await declare(topology, keep=keep)
        one.broker.declare = declare  # type: ignore[method-assign]
        await two.incarnations.look()

    one.broker.declare = overtaken  # type: ignore[method-assign]
    await one.incarnations.look()
    assert one.found[1] == two.found[1] != one.found[0]
    assert await one.broker.has_exchange(f"shop.incarnation.{one.found[1]}")


async def test_an_incarnation_is_never_declared_a_second_time() -> None:
    """A loss between the making of the exchange and its first use is noticed by everybody."""
    hub, (one, two) = await watchers()
    await one.incarnations.look()
    hub.wipe()
    await settle()
    incarnate = one.store.incarnate

    async def wiped(expected: str, new: str) -> str:
        standing = await incarnate(expected, new)
        if new:
            hub.wipe()
        return standing

    one.store.incarnate = wiped  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailable):
        await one.incarnations.look()
    await settle()
    lost = await incarnate("", "")
    # The id is in the store, and its exchange is lost: this is not the broker that it stands for.
    await two.incarnations.look()
    assert two.found[0] not in {lost, *one.found}


async def test_it_looks_whenever_the_connection_is_another_one() -> None:
    """It looks after each reconnect, and tries again while the store is away."""
    hub, (one, _) = await watchers()
    faults: list[Any] = [StoreUnavailable("memory://", "the test says so")] * 3
    incarnate = one.store.incarnate

    async def away(expected: str, new: str) -> str:
        if faults:
            raise faults.pop()
        return await incarnate(expected, new)

    one.store.incarnate = away  # type: ignore[method-assign]
    stop = one.broker.watch(one.incarnations.hear)
    async with TaskGroup() as tasks:
        tasks.start(one.incarnations.run(), "incarnations")
        one.incarnations.hear(BrokerEvent.LOST)
        await settle()
        assert one.found == []
        hub.cut()
        await settle()
        assert one.found == []
        await one.clock.advance(5)
        assert len(one.found) == 1
        hub.wipe()
        await settle()
        assert len(one.found) == 2
        assert one.found[0] != one.found[1]
        stop()
