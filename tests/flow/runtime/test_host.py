"""Tests of `flow.runtime.host`: the parts of a process, started and stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokers.memory import Hub, MemoryBroker
from flow import Status
from flow.clock import SystemThreads
from flow.errors import StoreUnavailable
from flow.handler import bind
from flow.ports import Namespace
from flow.runtime.host import Host, HostPorts, HostSettings
from flow.runtime.service import Endpoint
from flow.testing import FlowHarness, SeededChance, VirtualClock
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worlds import single


def ports(hub: Hub, store: MemoryStore | None, clock: VirtualClock) -> HostPorts:
    """Return ports in memory."""
    return HostPorts(
        broker=MemoryBroker(hub),
        store=store,
        clock=clock,
        chance=SeededChance(0, clock.now_ms),
        threads=SystemThreads(),
    )


async def test_a_process_plays_what_it_can() -> None:
    """Without a store nothing is orchestrated, and without endpoints nothing is served."""
    clock = VirtualClock()
    async with Host(ports(Hub(), None, clock), HostSettings(namespace="shop")) as host:
        assert (host.engine, host.worker) == (None, None)
    endpoints = {"a.b": Endpoint("a.b", bind(lambda: 1).handler)}
    settings = HostSettings(namespace="shop", endpoints=endpoints)
    async with Host(ports(Hub(), MemoryStore(clock.now_ms), clock), settings) as host:
        assert host.engine is not None
        assert host.worker is not None
        assert host.worker.snapshot().is_open
        assert len(host.engine.leases) == 8


async def test_a_process_leaves_in_good_order() -> None:
    """A process that ends gives its leases back, so that the next one has them at once."""
    clock, hub, database = VirtualClock(), Hub(), MemoryDatabase()
    settings = HostSettings(namespace="shop", partitions=3)
    for _ in range(2):
        store = MemoryStore(clock.now_ms, database)
        async with Host(ports(hub, store, clock), settings) as host:
            assert host.engine is not None
            assert len(host.engine.leases) == 3
    assert hub.stats().sessions == 0
    assert clock.waiting == 0


async def test_a_process_that_dies_hands_nothing_over() -> None:
    """A killed process keeps its leases, until they run out."""
    clock, hub, database = VirtualClock(), Hub(), MemoryDatabase()
    settings = HostSettings(namespace="shop", partitions=3)
    host = Host(ports(hub, MemoryStore(clock.now_ms, database), clock), settings)
    async with host:
        host.kill()
    assert clock.waiting == 0
    store = MemoryStore(clock.now_ms, database)
    await store.open(Namespace("shop", 3))
    assert await store.acquire(0, "next", 1_000) is None
    clock.move_to(60)
    assert await store.acquire(0, "next", 1_000) is not None


async def test_running_handlers_may_finish() -> None:
    """A process that ends waits for its handlers, and records what they answer."""
    app, workflow = single()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    app.service("work").endpoint(_named(wait, "s1"))
    async with FlowHarness(app) as test:
        execution = await workflow.execute(id="e-1")
        await test.settle()
        leaving = asyncio.gather(app.__aexit__(None, None, None))
        await settle()
        assert not leaving.done()
        gate.set()
        await leaving
        test._is_running = False
        await test.restart()
        assert await execution.status() is Status.SUCCESS
        assert len(test.calls("work.s1")) == 1


def _named(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


async def test_a_start_that_fails_cleans_up() -> None:
    """A process that cannot open its store disconnects, and raises what was wrong."""
    clock, hub = VirtualClock(), Hub()

    class Broken(MemoryStore):
        """A store that cannot be opened."""

        async def open(self, namespace: Namespace) -> Namespace:
            """Fail."""
            raise StoreUnavailable(self.url, "no such disk")

    host = Host(ports(hub, Broken(clock.now_ms), clock), HostSettings(namespace="shop"))
    with pytest.raises(StoreUnavailable, match="no such disk"):
        async with host:
            pass
    assert hub.stats().sessions == 0


async def test_a_part_that_fails_ends_the_process() -> None:
    """An unexpected error in a part leaves the block, instead of leaving a process half dead."""
    clock, hub = VirtualClock(), Hub()

    class Broken(MemoryStore):
        """A store with a bug."""

        async def commit(self, commit: Any) -> Any:
            """Fail."""
            raise ZeroDivisionError

    settings = HostSettings(namespace="shop")
    host = Host(ports(hub, Broken(clock.now_ms), clock), settings)

    async def run() -> None:
        async with host:
            assert host.engine is not None
            host.engine.settle(0, 1)
            clock.move_to(2)
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await run()
    assert hub.stats().sessions == 0


async def test_an_absent_store_does_not_hold_up_the_end() -> None:
    """A process whose store is away ends after a while, and disconnects."""
    clock, hub = VirtualClock(), Hub()

    class Absent(MemoryStore):
        """A store that goes away."""

        is_away = False

        async def commit(self, commit: Any) -> Any:
            """Commit, or fail."""
            self._check()
            return await super().commit(commit)

        async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Any:
            """Take a partition, or fail."""
            self._check()
            return await super().acquire(partition, owner, ttl_ms)

        async def release(self, leases: Any) -> None:
            """Give leases back, or fail."""
            self._check()
            await super().release(leases)

        def _check(self) -> None:
            if self.is_away:
                raise StoreUnavailable(self.url, "it is gone")

    store = Absent(clock.now_ms)
    host = Host(ports(hub, store, clock), HostSettings(namespace="shop"))
    await host.__aenter__()
    assert host.engine is not None
    store.is_away = True
    host.engine.settle(0, 1)
    host.engine.committer.notify()
    await settle()
    leaving = asyncio.gather(host.__aexit__(None, None, None))
    for _ in range(20):
        clock.move_to(clock.monotonic() + 1)
        await settle()
    assert leaving.done()
    await leaving
    assert hub.stats().sessions == 0
