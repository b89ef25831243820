"""Tests of `orchestrator.committer`: commits that are refused, or whose outcome is unknown."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from flow import ExecutionEvent, Workflow
from flow.clock import SystemClock
from flow.codec import decode_record
from flow.errors import CorruptRecord, InvalidInput
from flow.kernel.decide import MACHINES
from flow.ports import Commit, CommitResult
from flow.runtime.addresses import partition_of
from flow.runtime.orchestrator.committer import Committer
from flow.runtime.orchestrator.inbox import Received, Source
from flow.runtime.orchestrator.leases import Leases
from flow.runtime.trouble import Trouble
from flow.testing import FlowHarness
from tests.flow.runtime.clusters import Cluster
from tests.flow.runtime.orchestrator.test_admission import Letter
from tests.flow.runtime.worlds import (
    RETRY,
    Unsteady,
    UnsteadyStore,
    away,
    chain,
    single,
    stub_chain,
)


async def recorded_once(workflow: Workflow[Any], count: int) -> list[list[ExecutionEvent]]:
    """Run executions, and return their histories."""
    executions = [await workflow.execute(id=f"e{number}") for number in range(count)]
    assert await asyncio.gather(*(each.result() for each in executions)) == [3] * count
    return [await each.history() for each in executions]


def expect_each_once(histories: list[list[ExecutionEvent]]) -> None:
    """Check that every result of a chain of three was recorded exactly once."""
    for events in histories:
        types = Counter(event.type for event in events)
        assert types == {"ExecutionStarted": 1, "StepSucceeded": 3}


@pytest.mark.parametrize("moment", range(8))
async def test_a_commit_that_never_arrived(moment: int) -> None:
    """A commit that fails before it is written is decided again, whichever one it is."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        unsteady.store.before = [*[None] * moment, away()]
        expect_each_once(await recorded_once(workflow, 5))
        # No message was lost by it: nobody had to wait for a silence to be noticed.
        assert test.clock.monotonic() < 30


@pytest.mark.parametrize("moment", range(8))
async def test_a_commit_whose_answer_was_lost(moment: int) -> None:
    """A commit that was written although it failed is not written a second time."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        unsteady.store.after = [*[None] * moment, away()]
        expect_each_once(await recorded_once(workflow, 5))
        # No message was lost by it: nobody had to wait for a silence to be noticed.
        assert test.clock.monotonic() < 30


async def test_a_store_that_fails_all_the_time() -> None:
    """Half of all commits fail, before or after they are written, and still all is well."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        unsteady.store.before = [None, away(), None, None] * 8
        unsteady.store.after = [None, away(), None] * 8
        expect_each_once(await recorded_once(workflow, 20))
        assert unsteady.store.after == []


async def test_a_conflict_is_loaded_again() -> None:
    """A commit that the store refuses as a conflict is forgotten, and decided again."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        conflict = CommitResult(conflicts=frozenset({"e0"}))
        unsteady.store.before = [None, None, conflict, conflict]
        expect_each_once(await recorded_once(workflow, 5))
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["lost batches"] == 2


async def test_a_poisonous_batch_is_taken_apart() -> None:
    """What the store cannot hold is found, and does not hold up the others."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        unsteady.store.before = [InvalidInput("the row", "it has a NUL"), None]
        results = await asyncio.gather(*(workflow.run(id=f"e{n}") for n in range(5)))
        assert results == [3] * 5


async def test_settled_rows_are_deleted_later() -> None:
    """Outbox rows that did their work go with the next commit, or after a second."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        execution = await workflow.execute()
        await test.settle()
        test.stub("work.s1", 1)
        await test.advance(5)
        assert await execution.result() == 1
        await test.advance(2)
        rows = [await unsteady.store.outbox(partition, 0, 10) for partition in range(8)]
        assert not any(rows)


class Host:
    """A host that nothing is asked of."""

    leases: dict[int, Any] = {}  # noqa: RUF012 - it stays empty


async def test_nothing_to_write_is_done_at_once() -> None:
    """A batch without changes touches no store, and lets those go who waited for it."""
    clock, host = SystemClock(), Host()
    leases, trouble = Leases(clock), Trouble(clock)
    committer = Committer(Unsteady()(clock), host, clock, leases, trouble)  # type: ignore[arg-type]
    await committer.drained()
    seen: list[str] = []
    committer.notify()
    committer.batch.after(lambda: seen.append("done"))
    committer.notify()
    running = asyncio.gather(committer.run(), return_exceptions=True)
    await committer.drained()
    assert seen == ["done"]
    running.cancel()


async def test_an_alarm_that_cannot_be_written_parks_its_execution() -> None:
    """Poison that came from no message is set aside, and does not come back at once for ever."""
    app, workflow = single(retry=RETRY)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        await workflow.execute(id="e-1")
        await test.settle()
        unsteady.store.before = [InvalidInput("the row", "it has a NUL")]
        await test.advance(2)
        assert app.host is not None
        assert app.host.engine is not None
        assert list(app.host.engine.residents.parked) == ["e-1"]
        with pytest.raises(CorruptRecord, match="it has a NUL"):
            await app.executions.get("e-1").describe()


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_message_is_acknowledged_after_the_commit(*, is_written: bool) -> None:
    """What a message has caused is durable before it is acknowledged; else it goes back."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.advance(1)
        partition = one.engine.partition_of("e")
        letter = Letter("e")
        letter.envelope = letter.envelope._replace(
            type="request.start", body=b'{"workflow":"pair"}'
        )
        commits = one.store.hold("commit")
        one.engine.inbox.put(Received(letter, Source.PARTITION, partition))
        await cluster.settle()
        assert cluster.database.row("e") is None
        assert letter.fate == ""
        one.store.is_away = not is_written
        commits.set()
        await cluster.settle()
        assert letter.fate == ("acked" if is_written else "requeued")
        assert (cluster.database.row("e") is not None) is is_written


async def test_what_was_decided_upon_a_failed_commit_goes_back_too() -> None:
    """A start that found the execution in memory is not accepted if that one was not written."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.advance(1)
        partition = one.engine.partition_of("e")
        letters = [Letter("e"), Letter("e")]
        commits = one.store.hold("commit")
        for letter in letters:
            begin = letter.envelope._replace(type="request.start", body=b'{"workflow":"pair"}')
            letter.envelope = begin
            one.engine.inbox.put(Received(letter, Source.PARTITION, partition))
            await cluster.settle()
        assert [letter.fate for letter in letters] == ["", ""]
        one.store.is_away = True
        commits.set()
        await cluster.settle()
        assert [letter.fate for letter in letters] == ["requeued", "requeued"]


async def test_poison_among_many_alarms_is_found() -> None:
    """Of many that are due at the same moment, only those that cannot be written are parked."""
    home = partition_of("e3", 8)
    names = [name for n in range(99) if partition_of(name := f"e{n}", 8) == home][:6]
    bad = {names[1], names[4]}

    class Picky(UnsteadyStore):
        """A store that cannot hold what becomes of two executions."""

        is_picky = False

        async def commit(self, commit: Commit) -> CommitResult:
            """Commit."""
            if self.is_picky and bad & {write.summary.id for write in commit.writes}:
                raise InvalidInput("the row", "it has a NUL")
            return await super().commit(commit)

    app, workflow = single(retry=RETRY)
    async with FlowHarness(app, store=Picky) as test:
        test.stub("work.s1", [*[ConnectionError()] * 6, *[1] * 4])
        executions = [await workflow.execute(id=name) for name in names]
        await test.settle()
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        Picky.is_picky = True
        await test.advance(5)
        assert set(engine.residents.parked) == bad
        others = [each for each in executions if each.id not in bad]
        assert [await each.result() for each in others] == [1] * 4


async def test_stamps_grow_over_a_takeover() -> None:
    """A new owner stamps later than the one before, although the store's clock went back."""
    async with Cluster(partitions=1) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        cluster.gate.clear()
        (execution,) = await cluster.execute(1)
        await cluster.settle()
        now_ms = cluster.clock.now_ms
        one.store.store._now_ms = lambda: now_ms() - 3_600_000
        (two,) = await cluster.start("b")
        two.store.store._now_ms = one.store.store._now_ms
        await cluster.stop("a")
        await cluster.advance(30)
        cluster.gate.set()
        assert await cluster.results([execution]) == [0]
        row = cluster.database.row(execution.id)
        assert row is not None
        stamps = [decode_record(each.record, MACHINES).stamp for each in row.records]
        assert len(stamps) > 2
        assert stamps == sorted(set(stamps))
        assert two.committed() > 0
