"""Tests of `flow.runtime.lifeline`: leases, and several orchestrators on one store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Lease, Namespace, Renewal
from flow.runtime.lifeline import Lifeline
from flow.runtime.tasks import TaskGroup
from flow.testing import FlowHarness, VirtualClock
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worlds import chain, stub_chain


class Process:
    """A lifeline on a shared database."""

    def __init__(self, clock: VirtualClock, database: MemoryDatabase | None, owner: str) -> None:
        self.clock = clock
        self.store = FickleStore(clock.now_ms, database)
        self.changes: list[tuple[list[int], list[int]]] = []
        self.lifeline = Lifeline(self.store, clock, owner, 4, self._changed)

    def _changed(self, taken: Sequence[int], lost: Sequence[int]) -> None:
        self.changes.append((list(taken), list(lost)))

    async def open(self) -> None:
        """Open the store, and take what is free."""
        await self.store.open(Namespace("shop", 4))
        await self.lifeline.acquire()


class FickleStore(MemoryStore):
    """A store whose renewals fail as often as a test says, and whose leases are out of reach."""

    faults = 0
    closed: int | None = None

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition."""
        if partition == self.closed:
            raise StoreUnavailable(self.url, "the test says so")
        return await super().acquire(partition, owner, ttl_ms)

    async def renew(self, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend leases."""
        if self.faults:
            self.faults -= 1
            raise StoreUnavailable(self.url, "the test says so")
        return await super().renew(leases, ttl_ms)


async def pass_time(clock: VirtualClock, seconds: float) -> None:
    """Let time pass."""
    end = clock.monotonic() + seconds
    await settle()
    while (due := clock.next_s()) is not None and due <= end:
        clock.move_to(due)
        await settle()
    clock.move_to(end)
    await settle()


async def test_an_exclusive_store_needs_no_renewals() -> None:
    """With a store that nobody else can open all partitions are taken once, for good."""
    clock = VirtualClock()
    process = Process(clock, None, "a")
    await process.open()
    assert process.changes == [([0, 1, 2, 3], [])]
    await process.lifeline.run()
    assert clock.waiting == 0


async def test_leases_are_renewed_while_they_are_held() -> None:
    """Leases are renewed in time, and nobody else gets them as long as they are."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, two = Process(clock, database, "one"), Process(clock, database, "two")
    await one.open()
    await two.open()
    assert (len(one.lifeline.leases), len(two.lifeline.leases)) == (4, 0)
    async with TaskGroup() as tasks:
        tasks.start(one.lifeline.run(), "one")
        tasks.start(two.lifeline.run(), "two")
        await pass_time(clock, 120)
        assert (len(one.lifeline.leases), two.changes) == (4, [])


async def test_a_dead_owner_is_replaced() -> None:
    """What its owner renews no longer is taken over by another after the lease has run out."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, two = Process(clock, database, "one"), Process(clock, database, "two")
    await one.open()
    await two.open()
    async with TaskGroup() as tasks:
        tasks.start(two.lifeline.run(), "two")
        await pass_time(clock, 14)
        assert two.changes == []
        await pass_time(clock, 6)
        assert two.changes == [([0, 1, 2, 3], [])]
        # The first one comes back, and learns that all is lost.
        tasks.start(one.lifeline.run(), "one")
        await pass_time(clock, 6)
        assert one.changes[-1] == ([], [0, 1, 2, 3])
        assert one.lifeline.leases == {}


async def test_a_failed_renewal_is_tried_again() -> None:
    """One renewal that fails loses nothing, for the next one comes in time."""
    clock, database = VirtualClock(), MemoryDatabase()
    process = Process(clock, database, "one")
    await process.open()
    process.store.faults = 1
    async with TaskGroup() as tasks:
        tasks.start(process.lifeline.run(), "one")
        await pass_time(clock, 60)
        assert process.changes == [([0, 1, 2, 3], [])]


async def test_what_is_given_back_is_free_at_once() -> None:
    """After a release another process can take everything without waiting."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, two = Process(clock, database, "one"), Process(clock, database, "two")
    await one.open()
    await one.lifeline.release()
    await two.open()
    assert (len(one.lifeline.leases), len(two.lifeline.leases)) == (0, 4)


async def test_taking_again_makes_a_new_epoch() -> None:
    """After an unknown outcome leases are taken again; what is lost by then is given up."""
    clock, database = VirtualClock(), MemoryDatabase()
    one = Process(clock, database, "one")
    await one.open()
    epochs = [lease.epoch for lease in one.lifeline.leases.values()]
    await one.lifeline.take_again()
    assert [lease.epoch for lease in one.lifeline.leases.values()] == [n + 1 for n in epochs]
    clock.move_to(60)
    thief = Process(clock, database, "two")
    await thief.open()
    await one.lifeline.take_again()
    assert one.lifeline.leases == {}
    assert one.changes[-1][1] != []


async def test_a_lost_lease_drops_what_it_covers() -> None:
    """An orchestrator whose leases were taken writes nothing more, and gets them back later."""
    app, workflow = chain()
    database = MemoryDatabase()
    async with FlowHarness(app, store=lambda clock: MemoryStore(clock.now_ms, database)) as test:
        stub_chain(test)
        assert await workflow.run(id="before") == 3
        thief = MemoryStore(test.clock.now_ms, database)
        await thief.open(Namespace("world", 8))
        for partition in range(8):
            database.partition(partition).ownership.expires_ms = 0
            assert await thief.acquire(partition, "thief", 15_000)
        waiting = asyncio.gather(workflow.run(id="meanwhile"))
        await test.advance(10)
        assert not waiting.done()
        assert list(await thief.load(["meanwhile"])) == []
        await thief.release([Lease(n, "thief", 2) for n in range(8)])
        (result,) = await waiting
        assert result == 3
        assert await app.executions.get("before").result() == 3
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["lost batches"] >= 1


async def test_what_was_taken_before_a_fault_is_told() -> None:
    """Partitions that were taken before the store failed are owned, and whoever cares is told."""
    clock, database = VirtualClock(), MemoryDatabase()
    process = Process(clock, database, "one")
    await process.store.open(Namespace("shop", 4))
    process.store.closed = 2
    with pytest.raises(StoreUnavailable):
        await process.lifeline.acquire()
    assert process.changes == [([0, 1], [])]
    process.store.closed = None
    await process.lifeline.acquire()
    assert process.changes == [([0, 1], []), ([2, 3], [])]
