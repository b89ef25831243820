"""Tests of `orchestrator.sweeper`: everything is sent again after the broker has lost it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from flow import RetryPolicy, Status
from flow.errors import BrokerUnavailable
from flow.ports import Publication, Settlement
from flow.runtime.orchestrator import sweeper
from flow.runtime.orchestrator.inbox import Sweep
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.clusters import Cluster, Process
from tests.flow.runtime.worlds import Unsteady, single


def incarnations(cluster: Cluster) -> set[str]:
    """Return to which incarnations of the broker partitions were sent."""
    return {
        cluster.database.partition(number).ownership.incarnation
        for number in range(cluster.partitions)
    }


async def waiting(cluster: Cluster, count: int) -> list[Any]:
    """Start executions whose first step is out, and lose the handlers' memory of them."""
    cluster.gate.clear()
    executions = await cluster.execute(count)
    await cluster.settle()
    assert len(cluster.calls) == min(count, 100)
    return executions


async def lose_all(cluster: Cluster) -> None:
    """Let the broker lose everything, and the worker with its memory of what it runs."""
    assert cluster.app.host is not None
    cluster.app.host.kill()
    cluster.hub.wipe()
    await cluster.until(cluster.app.__aexit__(None, None, None))
    cluster.calls.clear()


@pytest.mark.parametrize("page", [7, 200])
async def test_all_orchestrators_sweep_what_is_theirs(
    page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the broker was wiped each execution ends soon, whichever orchestrator noticed first."""
    monkeypatch.setattr(sweeper, "PAGE", page)
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        (before,) = incarnations(cluster)
        executions = await waiting(cluster, 60)
        await lose_all(cluster)
        await cluster.work()
        begun = cluster.clock.monotonic()
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(60))
        # Nobody had to wait for the silence of a worker.
        assert cluster.clock.monotonic() - begun < 20
        assert one.engine.counters["swept"] > 0
        assert two.engine.counters["swept"] > 0
        assert Counter(cluster.calls) == Counter(
            (name, number) for name in ("first", "last") for number in range(60)
        )
        await cluster.advance(1)
        (after,) = incarnations(cluster)
        assert after != before


async def test_a_sweep_is_paced() -> None:
    """A sweep has no more than a page on its way, and others are served in between."""
    async with Cluster(partitions=1) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        executions = await waiting(cluster, 90)
        most, publish = 0, one.broker.publish

        async def counted(publications: Sequence[Publication]) -> Sequence[Settlement]:
            nonlocal most
            firsts = [each for each in publications if each.routing_key == "work.first"]
            most = max(most, len(firsts))
            return await publish(publications)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweeper, "PAGE", 10)
            patch.setattr(one.broker, "publish", counted)
            await lose_all(cluster)
            await cluster.work()
            cluster.gate.set()
            assert await cluster.results(executions) == list(range(90))
        assert one.engine.counters["swept"] >= 90
        assert 0 < most <= 10


async def test_who_dies_in_the_middle_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sweep whose owner dies is done again by whoever takes the partition."""
    monkeypatch.setattr(sweeper, "PAGE", 5)
    monkeypatch.setattr(sweeper, "AHEAD", 1)
    async with Cluster(partitions=2) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        executions = await waiting(cluster, 40)
        _stop_sweeps_after(one, 2)
        await lose_all(cluster)
        await cluster.settle()
        assert 0 < one.engine.counters["swept"] < 40
        (before,) = incarnations(cluster)
        await cluster.kill("a")
        # What the first half of the sweep had sent is lost as well.
        cluster.hub.wipe()
        (two,) = await cluster.start("b")
        await cluster.work()
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(40))
        assert two.engine.counters["swept"] == 40
        assert cluster.clock.monotonic() < 60
        await cluster.settle()
        assert incarnations(cluster) != {before}


def _stop_sweeps_after(process: Process, pages: int) -> None:
    store, count = process.store.store, 0
    active = store.active

    async def some(partition: int, wake_by_ms: int, after: str, limit: int) -> Any:
        nonlocal count
        count += 1
        if count > pages:
            process.freezer.freeze()
        return await active(partition, wake_by_ms, after, limit)

    store.active = some  # type: ignore[method-assign]


async def test_a_partition_that_moves_takes_its_sweep_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was not swept before a partition was handed over is swept by its new owner."""
    monkeypatch.setattr(sweeper, "PAGE", 5)
    async with Cluster(partitions=2) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        executions = await waiting(cluster, 60)
        sweeping = one.store.hold("active")
        await lose_all(cluster)
        await cluster.settle()
        assert one.host.health().orchestrator is not None
        assert one.host.health().orchestrator.is_sweeping  # type: ignore[union-attr]
        starting = cluster.start("b")
        await cluster.until(_both(starting, sweeping))
        await cluster.work()
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(60))
        cluster.expect_spread()
        assert not one.host.health().orchestrator.is_sweeping  # type: ignore[union-attr]
        assert len(incarnations(cluster)) == 1


async def _both(starting: Any, sweeping: Any) -> None:
    sweeping.set()
    await starting


async def test_a_broker_that_is_only_away_is_not_swept() -> None:
    """A connection that is lost and made again, to a broker that lost nothing, sends nothing."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        executions = await waiting(cluster, 10)
        published = [len(each.broker.published) for each in (one, two)]
        cluster.hub.cut()
        await cluster.advance(2)
        assert [each.broker.health.generation for each in (one, two)] == [2, 2]
        assert [len(each.broker.published) for each in (one, two)] == published
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(10))
        assert len(cluster.calls) == 20


async def test_what_is_not_durable_is_not_swept() -> None:
    """A sweep sends no attempt before its commit: the steps before it may not be recorded yet."""
    async with Cluster(partitions=1) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        executions = await waiting(cluster, 5)
        committing = one.store.hold("commit")
        cluster.gate.set()
        await cluster.settle()
        cluster.hub.wipe()
        await cluster.advance(2)
        assert not [each for each in one.broker.published if each.routing_key == "work.last"]
        committing.set()
        assert await cluster.results(executions) == list(range(5))
        assert one.engine.counters["swept"] > 0


async def test_a_store_that_is_away_holds_a_sweep_up() -> None:
    """A sweep whose store is away for a moment goes on where it was."""
    async with Cluster(partitions=1) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        executions = await waiting(cluster, 20)
        sweeping = one.store.hold("active")
        await lose_all(cluster)
        await cluster.work()
        one.store.is_away = True
        sweeping.set()
        await cluster.advance(2)
        assert one.engine.counters["swept"] == 0
        one.store.is_away = False
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(20))
        assert one.engine.counters["swept"] == 20


async def test_a_broker_that_is_away_holds_a_sweep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker takes nothing, the next page of a sweep waits."""
    monkeypatch.setattr(sweeper, "PAGE", 5)
    async with Cluster(partitions=1) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        executions = await waiting(cluster, 20)
        publish, is_away = one.broker.publish, True

        async def unavailable(publications: Sequence[Publication]) -> Sequence[Settlement]:
            if is_away:
                raise BrokerUnavailable("memory://", "the test says so")
            return await publish(publications)

        monkeypatch.setattr(one.broker, "publish", unavailable)
        await lose_all(cluster)
        await cluster.settle()
        await cluster.advance(20)
        assert one.engine.counters["swept"] == 5
        is_away = False
        await cluster.work()
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(20))
        assert one.engine.counters["swept"] == 20


@pytest.mark.parametrize("count", [2, 30])
async def test_what_merely_waits_is_not_looked_at(count: int) -> None:
    """A start with another broker loads what is out, and nothing of what waits for a retry."""
    day = RetryPolicy(max_attempts=2, initial=86_400, maximum=86_400, jitter=0)
    app, workflow = single(retry=day, timeout=600)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", [*[ConnectionError()] * count, NEVER, 7])
        for number in range(count):
            await workflow.execute(id=f"waits-{number}")
            await test.settle()
        out = await workflow.execute(id="out")
        await test.advance(500)
        test.crash(broker=True)
        unsteady.store.loaded.clear()
        reads = unsteady.store.reads
        await test.restart()
        await test.settle()
        # By the silence it would have been sent again only after another 400 s.
        assert await out.status() is Status.SUCCESS
        assert unsteady.store.loaded == ["out"]
        assert unsteady.store.reads - reads < 60


async def test_nobody_waits_for_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a sweep has ever more to do, a process is ready at once, and serves others."""
    pages = 0

    async def endless(self: sweeper.Sweeper, item: Sweep) -> None:
        nonlocal pages
        pages += 1
        if pages < 10_000:
            self._engine.inbox.put(Sweep(item.partition, item.term, "e-1"))

    monkeypatch.setattr(sweeper.Sweeper, "step", endless)
    async with Cluster(partitions=1) as cluster:
        await cluster.start("a")
        assert 0 < pages < 1_000
        await cluster.work()
        executions = await cluster.execute(3)
        assert await cluster.results(executions) == [0, 1, 2]
        assert pages < 10_000
