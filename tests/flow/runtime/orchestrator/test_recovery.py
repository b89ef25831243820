"""Tests of `orchestrator.recovery`: crashes, a broker that lost everything, takeovers."""

from __future__ import annotations

import asyncio

import pytest

from flow import Status
from flow.errors import BrokerUnavailable
from flow.ports import Commit, CommitResult, JournalRecord, Lease, OutboxRow
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.orchestrator.inbox import Recover
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import (
    RETRY,
    Unsteady,
    UnsteadyStore,
    away,
    chain,
    single,
    stub_chain,
)


async def test_a_crash_loses_nothing() -> None:
    """After a crash an execution goes on where it was, and repeats no step that succeeded."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", [NEVER, 2])
        execution = await workflow.execute()
        await test.settle()
        test.crash()
        await test.restart()
        assert await execution.result() == 3
        assert [len(test.calls(f"work.s{n}")) for n in (1, 2, 3)] == [1, 2, 1]
        # The same attempt was sent again: a crash spends none.
        assert [call.attempt for call in test.calls("work.s2")] == [1, 1]


async def test_a_retry_survives_a_crash() -> None:
    """A backoff goes on after a crash, and ends when it would have ended without."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute()
        await test.settle()
        test.crash()
        await test.advance(0.5)
        await test.restart()
        assert await execution.result() == 1
        assert test.clock.monotonic() == 1


async def test_what_came_due_meanwhile_happens_at_once() -> None:
    """What became due while nobody was there is done as soon as somebody is."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute()
        await test.settle()
        test.crash()
        await test.advance(3_600)
        await test.restart()
        await test.settle()
        assert len(test.calls("work.s1")) == 2
        assert await execution.status() is Status.SUCCESS


async def test_whoever_waits_hears_of_a_crash() -> None:
    """A request that is open when the process dies fails, and can be made again."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        waiting = asyncio.gather(workflow.run(id="e-1"), return_exceptions=True)
        await test.settle()
        test.crash()
        (error,) = await waiting
        assert isinstance(error, BrokerUnavailable)
        await test.restart()
        test.stub("work.s1", 1)
        await test.advance(61)
        assert await workflow.run(id="e-1") == 1


@pytest.mark.parametrize("broker", [False, True])
async def test_the_outbox_is_sent_again(*, broker: bool) -> None:
    """What was committed but not published when the process died is published by the next one."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        executions = [await workflow.execute(id=f"e{n}") for n in range(20)]
        test.crash(broker=broker)
        stub_chain(test)
        await test.restart()
        assert [await each.result() for each in executions] == [3] * 20
        assert len(test.calls("work.s1")) == 20


async def test_a_broker_that_lost_everything_is_swept() -> None:
    """When the broker has forgotten all requests, every attempt that is out is sent again."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", [*[NEVER] * 30, 2])
        executions = [await workflow.execute(id=f"e{n}") for n in range(30)]
        await test.settle()
        test.crash(broker=True)
        await test.restart()
        start = test.clock.monotonic()
        assert [await each.result() for each in executions] == [3] * 30
        assert test.clock.monotonic() - start < 1
        assert len(test.calls("work.s1")) == 30
        assert len(test.calls("work.s2")) == 60


async def test_a_broker_that_lost_nothing_is_not_swept() -> None:
    """A restart without a loss sends no attempt again that the broker still has."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        for number in range(10):
            await workflow.execute(id=f"e{number}")
        await test.advance(2)
        assert len(test.calls("work.s1")) == 10
        stub_chain(test)
        await test.restart()
        await test.advance(1)
        # Each request was unsettled, and came again once; nobody sent a second copy.
        assert len(test.calls("work.s1")) == 20


async def test_a_sweep_goes_through_everybody() -> None:
    """A sweep under a tiny memory finds executions that do not fit into it together."""
    app, workflow = single()
    engine = EngineSettings(live_bytes=20_000)
    async with FlowHarness(app, engine=engine) as test:
        executions = [await workflow.execute(id=f"e{n}") for n in range(100)]
        await test.advance(2)
        test.crash(broker=True)
        test.stub("work.s1", 1)
        await test.restart()
        assert [await each.result() for each in executions] == [1] * 100
        assert len(test.calls("work.s1")) == 100


async def test_recovery_waits_for_the_store() -> None:
    """A store that is away during recovery is asked again until it is there."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        test.stub("work.s2", [NEVER, 2])
        execution = await workflow.execute()
        await test.settle()
        test.crash()
        unsteady.store.outbox_faults = [away(), away(), away()]
        start = test.clock.monotonic()
        await test.restart()
        # All partitions are asked for at the same time; each waits half a second to a whole one.
        assert start + 0.5 <= test.clock.monotonic() <= start + 3
        assert await execution.result() == 3


async def test_a_fault_while_one_partition_is_taken_harms_no_other() -> None:
    """When everything had to be forgotten, all partitions are recovered, not only the new one."""
    app, workflow = single(retry=RETRY)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute(id="e-1")
        await test.settle()
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        live = engine.residents.get("e-1")
        assert live is not None
        unsteady.store.outbox_faults = [away()]
        engine.inbox.put(Recover(((live.partition + 1) % 8,)))
        await test.advance(5)
        assert len(test.calls("work.s1")) == 2
        assert await execution.status() is Status.SUCCESS


async def test_a_parked_execution_keeps_its_commands() -> None:
    """What an execution that cannot be loaded had to send is kept, and sent once it is repaired."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        execution = await workflow.execute(id="bad")
        gone = await workflow.execute(id="gone")
        await test.settle()
        database = unsteady.store._database
        row, other = database.row("bad"), database.row("gone")
        assert row is not None
        assert other is not None
        test.crash()
        records = list(row.records)
        row.records[0] = JournalRecord(1, b'{"not": "a record"}', is_snapshot=True)
        # One is gone without its outbox row, as after a repair by hand.
        del database._rows["gone"]
        await test.restart()
        await test.advance(3)
        outbox = database.partition(row.summary.partition).outbox
        assert [each.execution for each in outbox.values()] == ["bad"]
        assert database.partition(other.summary.partition).outbox == {}
        assert gone.id == "gone"
        row.records[:] = records
        test.stub("work.s1", 5)
        await test.restart()
        assert await execution.result() == 5


@pytest.mark.parametrize(
    "command",
    [b'{"task": "SendRocket", "path": "steps/s1", "node": 3}', b'{"task": "RunStep"}', b"[]", b"{"],
)
async def test_a_row_that_cannot_be_read_harms_no_other(command: bytes) -> None:
    """A command that this version does not know is kept, and the partition is opened without it."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        execution = await workflow.execute(id="e-1")
        await test.settle()
        row = unsteady.store._database.row("e-1")
        assert row is not None
        test.crash()
        outbox = unsteady.store._database.partition(row.summary.partition).outbox
        odd = max(outbox) + 1
        outbox[odd] = OutboxRow(row.summary.partition, odd, "e-1", command)
        await test.restart()
        test.stub("work.s1", 5)
        assert await execution.result() == 5
        await test.advance(2)
        assert list(outbox) == [odd]


@pytest.mark.parametrize("moment", range(4))
async def test_what_is_written_at_the_last_moment_is_read(moment: int) -> None:
    """A commit given up for lost may be written until the lease is taken; only then is it read."""

    class Orphaning(UnsteadyStore):
        """A store in which one commit goes on after nobody waits for it any more."""

        orphan: Commit | None = None

        async def commit(self, commit: Commit) -> CommitResult:
            """Commit."""
            if len(self.commits) == moment and self.orphan is None:
                self.commits.append(commit)
                self.orphan = commit
                raise away()
            return await super().commit(commit)

        async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
            """Take a partition, which waits for the transaction that is under way."""
            if self.orphan is not None and self.orphan.leases:
                orphan, self.orphan = self.orphan, Commit(leases=())
                await super().commit(orphan)
            return await super().acquire(partition, owner, ttl_ms)

    app, workflow = chain()
    async with FlowHarness(app, store=Orphaning) as test:
        stub_chain(test)
        assert await workflow.run(id="e-1") == 3
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["lost batches"] == 1
        assert test.clock.monotonic() < 30
