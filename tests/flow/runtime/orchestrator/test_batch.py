"""Tests of `orchestrator.batch`: what one group commit gathers."""

from __future__ import annotations

from dataclasses import replace

from flow import Flow, Status
from flow.codec import Cause, decode_record
from flow.kernel.decide import MACHINES
from flow.kernel.events import AbortRequested, SuspendRequested
from flow.kernel.tree import Changes, Tree
from flow.ports import Envelope
from flow.runtime.orchestrator.batch import SNAPSHOT_EVERY, Batch
from flow.runtime.orchestrator.commands import command_of
from flow.runtime.orchestrator.engine import Engine
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import Unsteady, single


class Letter:
    """A delivery that knows what became of it."""

    envelope = Envelope("x", b"")
    routing_key = ""
    redelivered = False

    def __init__(self) -> None:
        self.fate = ""

    def ack(self) -> None:
        """Be done with."""
        self.fate += "acked"

    def requeue(self) -> None:
        """Go back."""
        self.fate += "requeued"

    def reject(self) -> None:
        """Go to the dead."""
        self.fate += "rejected"


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


def test_an_empty_batch_is_nothing() -> None:
    """A batch is worth a turn of the committer if somebody waits, and a commit if it writes."""
    batch = Batch()
    assert not batch
    batch.deliver(Letter(), 0)
    assert batch
    assert not batch.writes
    batch.settled.append((0, 1))
    assert batch.writes


def test_what_is_passed_over_needs_a_commit() -> None:
    """A message that told nothing new may be let go only by the owner, which a commit shows."""
    batch = Batch()
    batch.deliver(Letter(), 0)
    batch.has_passed_over = True
    assert batch.writes


def test_letters_are_settled_with_the_batch() -> None:
    """After the commit deliveries are acknowledged and actions run, in order; else all go back."""
    batch, letter, done = Batch(), Letter(), list[int]()
    batch.deliver(letter, 0)
    batch.after(lambda: done.append(1))
    batch.after(lambda: done.append(2))
    batch.release()
    assert (letter.fate, done) == ("acked", [1, 2])
    batch, letter = Batch(), Letter()
    batch.deliver(letter, 0)
    batch.after(lambda: done.append(3))
    batch.discard()
    assert (letter.fate, done) == ("requeued", [1, 2])


async def test_a_record_says_what_and_why() -> None:
    """One execution gets one record a batch, with all causes and the last write of each node."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        (live,) = [engine.residents.get("e-1")]
        assert live is not None
        engine.apply(live, AbortRequested("c-1", "enough"), Cause("AbortRequested", "c-1", "me"))
        engine.apply(live, AbortRequested("c-2"), Cause("AbortRequested", "c-2"))
        batch = engine.committer.batch
        assert live.pins == 1
        numbers = iter(range(100, 200))
        sealed = batch.seal(engine.leases, 5, "0" * 16, lambda partition: next(numbers))
        (write,) = sealed.commit.writes
        assert (write.seq, write.is_snapshot, write.summary.status) == (2, False, Status.ABORTED)
        assert (write.summary.updated_ms, write.summary.wake_ms) == (5, None)
        record = decode_record(write.record, MACHINES)
        assert [cause.id for cause in record.causes] == ["c-1", "c-2"]
        paths = [node.path for node in record.nodes]
        assert len(paths) == len(set(paths))
        # The cancellation of what was out is a command of the same commit.
        ((row,), (command,)) = sealed.commit.outbox, sealed.commands
        assert (row.number, row.execution) == (100, "e-1")
        assert command_of(row, live) == replace(command, again=True)
        engine.committer.batch = Batch()


async def test_now_and_then_everything_is_written() -> None:
    """Every so many records comes one with the whole tree, from which loading can start."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        for _ in range(SNAPSHOT_EVERY // 2 + 5):
            await execution.suspend()
            await execution.resume()
        (stored,) = (await unsteady.store.load(["e-1"])).values()
        assert stored.seq > SNAPSHOT_EVERY
        assert len(stored.records) < SNAPSHOT_EVERY
        record = decode_record(stored.records[0], MACHINES)
        assert Tree.load(MACHINES, record.nodes).node("steps/s1").state is Status.RUNNING
        test.stub("work.s1", 7)
        await test.restart()
        assert await execution.result() == 7


async def test_what_is_written_is_woken_as_written() -> None:
    """A wake time that was noted before an execution changed in the same batch is not written."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        batch = engine.committer.batch
        batch.wakes |= {"e-1": (live.partition, None), "e-2": (0, 7)}
        engine.apply(live, SuspendRequested("c-1", "run"), Cause("SuspendRequested", "c-1", "me"))
        sealed = batch.seal(engine.leases, 5, "0" * 16, lambda partition: 100)
        assert sealed.commit.wakes == (("e-2", 7),)
        assert sealed.commit.writes[0].summary.wake_ms == live.wake_ms() is not None
        engine.committer.batch = Batch()


async def test_what_is_lost_is_left_out() -> None:
    """What is about a lost partition leaves the batch, and so does what may be about any."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        for name in ("e-1", "e-2"):
            await workflow.execute(id=name)
        await test.settle()
        engine = engine_of(app)
        lost, kept = engine.residents.get("e-1"), engine.residents.get("e-2")
        assert lost is not None
        assert kept is not None
        assert lost.partition != kept.partition
        batch = Batch()
        letters = {name: Letter() for name in ("lost", "kept", "any")}
        done: list[str] = []
        for name, partition in (("lost", lost.partition), ("kept", kept.partition), ("any", None)):
            batch.deliver(letters[name], partition)
            batch.after(lambda name=name: done.append(name), partition)  # type: ignore[misc]
        for live in (lost, kept):
            batch.touch(live, Cause("Touched"), Changes((), ()))
            batch.settled.append((live.partition, 1))
            batch.deletes[f"{live.id}-old"] = live.partition
            batch.wakes[f"{live.id}-late"] = (live.partition, 5)
        batch.drop(())
        assert len(batch.deliveries) == 3
        batch.drop({lost.partition})
        assert list(batch.touches) == ["e-2"]
        assert batch.settled == [(kept.partition, 1)]
        assert list(batch.deletes) == ["e-2-old"]
        assert list(batch.wakes) == ["e-2-late"]
        assert (lost.pins, kept.pins) == (0, 1)
        batch.release()
        assert done == ["kept"]
        fates = {name: letter.fate for name, letter in letters.items()}
        assert fates == {"lost": "requeued", "kept": "acked", "any": "requeued"}
