"""Tests of `orchestrator.partitions` under failures: zombies, lost leases, wrong clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import Commit, CommitResult, Lease, Publication, Settlement
from flow.runtime.orchestrator.batch import Batch
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.inbox import Recover
from tests.flow.runtime.clusters import Cluster, Process


def steal(cluster: Cluster, process: Process, partitions: set[int], owner: str = "thief") -> None:
    """Take partitions as somebody does whose clock says that their leases have run out."""
    for partition in partitions:
        ownership = cluster.database.partition(partition).ownership
        ownership.owner, ownership.epoch = owner, ownership.epoch + 1
        ownership.expires_ms = cluster.clock.now_ms() + 15_000


def partition_of(process: Process, execution: str) -> int:
    """Return the partition of an execution."""
    return process.engine.partition_of(execution)


async def test_a_zombie_writes_nothing_and_publishes_nothing() -> None:
    """A process that was stopped until its leases ran out does nothing with them afterwards."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        executions = await cluster.execute(20)
        await cluster.settle()
        one.freezer.freeze()
        cluster.gate.set()
        # Replies arrive, which it takes when it goes on, before it learns anything else.
        await cluster.advance(40)
        assert cluster.shares["b"] == 8
        written, published = one.committed(), len(one.broker.published)
        # It must not get new leases before its old ones were looked at.
        renewing = one.store.hold("renew")
        one.freezer.thaw()
        await cluster.settle()
        assert one.open == set()
        results = await cluster.results(executions)
        assert results == list(range(20))
        steps = [
            each for each in one.broker.published[published:] if each.exchange == "world.steps"
        ]
        assert steps == []
        assert one.committed() == written
        assert two.committed() > 0
        renewing.set()
        await cluster.advance(12)
        cluster.expect_spread()


async def test_a_zombie_is_stopped_by_its_clock_before_anybody_tells_it() -> None:
    """What a process decides after its leases ran out is not even sent to the store."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        cluster.gate.clear()
        await cluster.execute(5)
        await cluster.settle()
        one.freezer.freeze()
        cluster.gate.set()
        await cluster.advance(13)
        # Nobody has taken anything, so that only the clock can hold it back.
        calls = one.store.calls["commit"]
        renewing = one.store.hold("renew")
        one.freezer.thaw()
        await cluster.settle()
        assert one.open == set()
        assert one.store.calls["commit"] == calls
        renewing.set()
        await cluster.advance(6)
        assert cluster.shares == {"a": 8}


async def test_a_part_of_the_leases_is_lost() -> None:
    """If some partitions are lost, the others go on without a pause, and nothing is sent twice."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        cluster.gate.clear()
        executions = await cluster.execute(30)
        await cluster.settle()
        lost = {0, 1, 2}
        steal(cluster, one, lost)
        cluster.gate.set()
        await cluster.advance(1)
        assert one.open == set(range(8)) - lost
        kept = [each for each in executions if partition_of(one, each.id) not in lost]
        assert 0 < len(kept) < 30
        numbers = [int(each.id[1:]) for each in kept]
        assert await cluster.results(kept) == numbers
        assert cluster.clock.monotonic() < 5
        for number in numbers:
            assert [body for _, body in cluster.calls].count(number) == 2
        # The thief dies, and all is well again.
        await cluster.advance(25)
        assert one.open == set(range(8))
        assert await cluster.results(executions) == list(range(30))


async def test_what_is_written_of_a_batch_stands() -> None:
    """Of one commit, what belongs to a lost partition is left out, and the rest is acknowledged."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        await cluster.execute(1, prefix="warm")
        await cluster.settle()
        held = one.store.hold("commit")
        starting = asyncio.gather(
            *(cluster.workflow.execute(n, id=f"e{n}") for n in range(30)),
        )
        await cluster.settle()
        lost = {0, 1, 2, 3}
        steal(cluster, one, lost)
        held.set()
        await cluster.settle()
        (refused,) = [result for _, result in one.store.results if result.lost]
        assert refused == CommitResult(lost=frozenset(lost))
        there = {f"e{n}" for n in range(30) if cluster.database.row(f"e{n}") is not None}
        assert there == {f"e{n}" for n in range(30) if partition_of(one, f"e{n}") not in lost}
        await cluster.advance(25)
        executions = await cluster.until(starting)
        assert await cluster.results(executions) == list(range(30))


async def test_a_lease_that_is_lost_in_flight_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands of a commit whose partition was forgotten meanwhile are left to the next owner."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        await cluster.execute(1, prefix="warm")
        await cluster.settle()
        engine: Engine = one.engine
        commit = one.store.commit

        async def written_late(sealed: Commit) -> Any:
            # It is in the store, but the answer finds an owner that has given the partition up.
            result = await commit(sealed)
            if sealed.writes:
                monkeypatch.undo()
                engine.lose([sealed.writes[0].summary.partition])
            return result

        monkeypatch.setattr(one.store, "commit", written_late)
        sent = len(cluster.calls)
        starting = asyncio.gather(cluster.workflow.execute(7, id="late"))
        await cluster.settle()
        assert [call for call in cluster.calls[sent:] if call[1] == 7] == []
        await cluster.advance(20)
        executions = await cluster.until(starting)
        assert await cluster.results(executions) == [7]
        assert [call for call in cluster.calls if call[1] == 7] == [("first", 7), ("last", 7)]


async def test_a_store_that_is_away_for_a_minute() -> None:
    """When the store is back after a minute all executions go on, under the same two processes."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        executions = await cluster.execute(20)
        await cluster.settle()
        one.store.is_away = two.store.is_away = True
        cluster.gate.set()
        await cluster.advance(60)
        assert cluster.shares == {"a": 0, "b": 0}
        assert not one.host.health().is_ready
        one.store.is_away = two.store.is_away = False
        await cluster.advance(12)
        cluster.expect_spread()
        assert await cluster.results(executions) == list(range(20))
        assert one.host.health().is_ready


async def test_a_short_outage_loses_no_lease() -> None:
    """A store that is away for less than a lease lasts costs nobody a partition."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.advance(1)
        one.store.is_away = two.store.is_away = True
        await cluster.advance(6)
        one.store.is_away = two.store.is_away = False
        await cluster.advance(10)
        cluster.expect_spread()
        assert one.engine.counters["lost partitions"] == 0


@pytest.mark.parametrize("skew_ms", [-3_600_000, 3_600_000])
async def test_a_clock_that_is_wrong_by_an_hour(skew_ms: int) -> None:
    """Deadlines go by the store's clock: a machine whose own is wrong fires none early or late."""
    async with Cluster() as cluster:
        await cluster.start("a")
        await cluster.work()
        cluster.gate.clear()
        executions = await cluster.execute(10)
        await cluster.advance(20)
        await cluster.start("z", skew_ms=skew_ms)
        await cluster.stop("a")
        (two,) = cluster.processes.values()
        assert two.engine.clock.now_ms() == cluster.clock.now_ms()
        await cluster.advance(30)
        assert two.engine.counters["sent again"] == 0
        # 60 s after they were first sent, they are sent again.
        await cluster.advance(12)
        assert two.engine.counters["sent again"] == 10
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(10))
        row = cluster.database.row("e0")
        assert row is not None
        assert abs(row.summary.updated_ms - cluster.clock.now_ms()) < 1_000


async def test_a_partition_that_nobody_takes_is_taken_after_a_while() -> None:
    """What a member does not take, although it is there, goes to another one in the end."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        stuck = Lease(0, "stuck", 0)
        for _ in range(8):
            await one.store.store.renew("0-stuck", [stuck], 15_000)
            await cluster.advance(5)
        assert cluster.shares == {"a": 8}


async def test_what_was_taken_anew_in_flight_is_loaded_again() -> None:
    """A commit that is refused because we took its lease anew leaves no traces in memory."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        await cluster.execute(1, prefix="warm")
        await cluster.settle()
        cluster.gate.clear()
        (execution,) = await cluster.execute(1)
        await cluster.settle()
        held, engine = one.store.hold("commit"), one.engine
        cluster.gate.set()
        await cluster.settle()
        partition = engine.partition_of("e0")
        renewed = await one.store.store.acquire(partition, engine.owner, 15_000)
        assert renewed is not None
        engine.holdings.put(renewed, cluster.clock.monotonic() + 12)
        held.set()
        assert await cluster.results([execution]) == [0]
        assert any(result.lost == {partition} for _, result in one.store.results)
        row = cluster.database.row("e0")
        assert row is not None
        assert [record.seq for record in row.records] == list(range(1, len(row.records) + 1))


async def test_an_outage_takes_leases_again_once() -> None:
    """However many commits failed, what is open again is not taken from under itself."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        await cluster.execute(5)
        await cluster.advance(2)
        epochs = [lease.epoch for lease in one.engine.leases.values()]
        one.engine.inbox.put(Recover(tuple(range(8)), again=True))
        await cluster.settle()
        assert [lease.epoch for lease in one.engine.leases.values()] == epochs
        one.engine.failed(Batch(), again=True)
        one.engine.failed(Batch(), again=True)
        await cluster.settle()
        assert [lease.epoch for lease in one.engine.leases.values()] == [n + 1 for n in epochs]
        assert one.open == set(range(8))


async def test_a_failure_during_a_recovery_has_it_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a recovery had read before everything was forgotten is read and sent again at once."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        await cluster.execute(1, prefix="warm")
        await cluster.settle()
        engine, publish, is_away = one.engine, one.broker.publish, True

        async def without_steps(publications: Sequence[Publication]) -> Sequence[Settlement]:
            if is_away and any(each.exchange == "world.steps" for each in publications):
                raise BrokerUnavailable("memory://", "the test says so")
            return await publish(publications)

        monkeypatch.setattr(one.broker, "publish", without_steps)
        starting = asyncio.gather(*(cluster.workflow.execute(n, id=f"e{n}") for n in range(20)))
        await cluster.settle()
        cluster.calls.clear()
        looking = one.store.hold("due")
        engine.reset(range(8))
        engine.inbox.put(Recover(tuple(range(8))))
        await cluster.settle()
        engine.failed(Batch(), again=False)
        looking.set()
        is_away = False
        await cluster.settle()
        assert one.open == set(range(8))
        assert sorted(body for name, body in cluster.calls if name == "first") == list(range(20))
        assert await cluster.results(await cluster.until(starting)) == list(range(20))
