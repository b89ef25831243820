"""Tests of `orchestrator.engine`: the state of an orchestrator, through the harness."""

from __future__ import annotations

import pytest

from flow import Flow, Status
from flow.codec import Cause
from flow.errors import StoreUnavailable
from flow.kernel.events import Attempt, StepSucceeded
from flow.ports import Commit, CommitResult, Publication
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.protocol import Outcome, StepReply, StepRequest, correlation_of
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.clusters import Cluster
from tests.flow.runtime.worlds import RETRY, chain, single, stub_chain


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def reply(app: Flow, execution: str, attempt: Attempt, body: bytes) -> None:
    """Answer an attempt, as a worker does."""
    engine = engine_of(app)
    envelope = StepReply(outcome=Outcome.SUCCESS, body=body).envelope(
        engine.chance.new_id(), correlation_of(execution, attempt)
    )
    partition = str(engine_partition(engine, execution))
    await engine.publisher.publish(Publication(engine.addresses.mailbox, partition, envelope))


def engine_partition(engine: Engine, execution: str) -> int:
    """Return the partition of an execution that is in memory."""
    live = engine.residents.get(execution)
    assert live is not None
    return live.partition


async def test_duplicates_of_replies_do_nothing() -> None:
    """A result that comes twice is recorded once; the first one stays."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s3", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = engine_of(app).residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        for _ in range(3):
            await reply(app, "e-1", Attempt(node.created, live.data.epoch, 1), b'"another"')
        await test.settle()
        step = await execution.step("s1")
        assert step["response"] == 1
        assert engine_of(app).counters["Dropped"] == 3
        assert len(await execution.history()) == 3


async def test_a_success_of_an_older_attempt_counts() -> None:
    """A success that comes while the next attempt is waited for is taken all the same."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 2])
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = engine_of(app).residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        await reply(app, "e-1", Attempt(node.created, live.data.epoch, 1), b"1")
        assert await execution.result() == 1
        await test.advance(60)
        assert len(test.calls("work.s1")) == 1


async def test_answers_to_nobody_are_counted() -> None:
    """Answers about executions, steps, attempts and epochs that there are not change nothing."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = engine_of(app).residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        for attempt in (
            Attempt(node.created + 99, live.data.epoch, 1),
            Attempt(node.created, live.data.epoch + 1, 1),
            Attempt(node.created, live.data.epoch, 2),
        ):
            await reply(app, "e-1", attempt, b"1")
        await test.settle()
        assert engine_of(app).counters["Dropped"] == 3
        assert await execution.status() is Status.RUNNING


async def test_a_request_that_comes_twice_is_run_once() -> None:
    """A worker that gets the same request again answers with what it has answered before."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        execution = await workflow.execute(id="e-1")
        await execution.result()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        request = StepRequest(
            endpoint="work.s1",
            body=b"null",
            correlation=correlation_of("e-1", Attempt(node.created, live.data.epoch, 1)),
            reply_to=engine.addresses.mailbox_queue(live.partition),
        )
        envelope = request.envelope(engine.chance.new_id())
        await engine.publisher.publish(Publication(engine.addresses.steps, "work.s1", envelope))
        await test.settle()
        assert len(test.calls("work.s1")) == 1
        assert engine.counters["Dropped"] == 1


async def test_the_leases_are_those_of_the_lifeline() -> None:
    """An engine holds every partition of a store that is its own."""
    app, _workflow = single()
    async with FlowHarness(app):
        engine = engine_of(app)
        assert sorted(engine.leases) == list(range(8))
        first = engine.holdings.next_number(3)
        engine.holdings.numbered(3, first + 10)
        assert engine.holdings.next_number(3) == first + 11


async def test_a_late_reply_is_dropped_and_counted() -> None:
    """The answer to an attempt that was aborted meanwhile changes nothing, and is counted."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = engine_of(app).residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        await execution.abort()
        await test.settle()
        # Its worker has said that it was cancelled, which nobody waits for.
        assert engine_of(app).counters["Dropped"] == 1
        await reply(app, "e-1", Attempt(node.created, live.data.epoch, 1), b"1")
        await test.settle()
        assert engine_of(app).counters["Dropped"] == 2
        assert await execution.status() is Status.ABORTED
        assert (await execution.step("s1"))["response"] is None


async def test_a_decision_that_breaks_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fault of ours in a decision the execution goes on from what its tree says."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        event = StepSucceeded(Attempt(node.created, live.data.epoch, 1), b"1")
        with monkeypatch.context() as patch:
            # The last thing that a decision does: by then all is counted.
            patch.setattr("flow.kernel.turn._ACCEPTED", {})
            with pytest.raises(KeyError):
                engine.apply(live, event, Cause("StepSucceeded", "m-1", ""))
        assert engine.committer.batch.touches == {}
        await reply(app, "e-1", event.attempt, b"1")
        assert await execution.result() == 3


async def test_nobody_waits_on_after_an_end_of_unknown_outcome() -> None:
    """Who waits is let go although the commit that ended the execution was not known to be done."""
    async with Cluster(partitions=1) as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        cluster.gate.clear()
        (execution,) = await cluster.execute(1)
        cluster.clock.call_at(cluster.clock.monotonic() + 1, cluster.gate.set)
        real = one.store.store.commit

        async def doubtful(commit: Commit) -> CommitResult:
            result = await real(commit)
            if any(write.summary.status is Status.SUCCESS for write in commit.writes):
                raise StoreUnavailable(one.store.url, "it was done, and nobody knows")
            return result

        one.store.store.commit = doubtful  # type: ignore[method-assign]
        assert await cluster.results([execution]) == [0]
        await cluster.advance(1)
        assert len(one.engine.waiters) == 0
