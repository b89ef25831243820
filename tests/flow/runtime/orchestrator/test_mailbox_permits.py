"""Tests of `orchestrator.mailbox`: steps that run at most once, from the store to the handler."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow import ExecutionFailed, Flow, Status, StepContext
from flow.errors import NotPossible
from flow.ports import Delivery, Envelope, Publication
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.service import WorkerSettings
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.workers import die, endpoint, working
from tests.flow.runtime.worlds import Unsteady, away, single


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


class Charge:
    """A handler that counts how often it begins, and may wait."""

    def __init__(self) -> None:
        self.began = 0
        self.may_end = asyncio.Event()

    async def run(self, _body: Any = None) -> int:
        """Begin, and wait."""
        self.began += 1
        await self.may_end.wait()
        return self.began


async def test_a_step_that_runs_at_most_once_runs() -> None:
    """Asked, permitted, run and answered; the report says which worker it was."""
    app, workflow = single(at_most_once=True)
    async with FlowHarness(app) as test:
        test.stub("work.s1", 7)
        assert await workflow.run() == 7
        assert engine_of(app).counters["step.permit"] == 1
        assert len(test.calls("work.s1")) == 1


async def test_a_worker_that_dies_leaves_an_incident() -> None:
    """Its attempt never runs again; the execution waits for a person, who can abort it."""
    app, workflow = single(at_most_once=True, heartbeat=10, timeout=9e5)
    charge, other = Charge(), Charge()
    async with FlowHarness(app) as test, working(test, endpoint(charge.run)) as first:
        execution = await workflow.execute(id="e-1")
        await test.advance(60)
        assert (charge.began, (await execution.describe())["incident"]) == (1, "")
        await die(test, first)
        async with working(test, endpoint(other.run)):
            await test.advance(26)
            assert (await execution.describe())["incident"] == ""
            await test.advance(4)
            report = await execution.describe()
            assert "steps/s1" in report["incident"]
            assert report["status"] == "RUNNING"
            (found,) = await app.client.ask("list", {"incidents": True})
            assert found["id"] == "e-1"
            await test.advance(86_400)
            assert (charge.began, other.began) == (1, 0)
            with pytest.raises(NotPossible, match="abort"):
                await execution.resume()
            await execution.abort()
            assert await execution.status() is Status.ABORTED
            await test.advance(3_600)
            assert (charge.began, other.began) == (1, 0)


async def test_a_request_that_comes_again_is_denied() -> None:
    """After the permit another worker that gets a copy of the request drops it."""
    app, workflow = single(at_most_once=True)
    charge, other = Charge(), Charge()
    async with FlowHarness(app) as test, working(test, endpoint(charge.run)) as first:
        broker = first._ports.broker
        sent: list[Publication] = []
        real = test._broker.publish

        async def publish(publications: Any) -> Any:
            sent.extend(each for each in publications if each.envelope.type == "step.request")
            return await real(publications)

        test._broker.publish = publish  # type: ignore[method-assign]
        execution = await workflow.execute(id="e-1")
        await test.settle()
        assert charge.began == 1
        await die(test, first)
        async with working(test, endpoint(other.run)) as second:
            await real([sent[0]])
            await test.settle()
            assert second.worker is not None
            assert second.worker.snapshot().denied == 1
            assert (charge.began, other.began) == (1, 0)
            assert engine_of(app).counters["step.denied"] == 1
        await execution.abort()
        assert broker is not second._ports.broker


async def test_a_late_reply_counts_and_ends_the_incident() -> None:
    """A worker that was cut off for a while answers in the end: the execution goes on."""
    app, workflow = single(at_most_once=True, heartbeat=10, timeout=9e5)
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        correlation = f"e-1/{live.data.epoch}/{node.created}/1"
        test._workers.cancel()
        await test._workers.stop()
        await test._workers.start()
        await test.advance(40)
        assert (await execution.describe())["incident"]
        mailbox = engine.addresses.mailbox_queue(live.partition)
        beat = Envelope("step.heartbeat", b"0.5", "b1", correlation)
        await test._broker.publish([Publication("", mailbox, beat)])
        await test.settle()
        report = await execution.describe()
        assert (report["incident"], report["steps"][0]["progress"]) == ("", 0.5)
        await test.advance(31)
        assert (await execution.describe())["incident"]
        reply = Envelope("step.reply", b"9", "r1", correlation)
        await test._broker.publish([Publication("", mailbox, reply)])
        assert await execution.result() == 9
        assert (await execution.describe())["incident"] == ""


async def test_before_the_permit_the_attempt_is_sent_again() -> None:
    """A worker that dies before it asks costs nothing: another one gets the permit."""
    app, workflow = single(at_most_once=True)
    async with FlowHarness(app) as test:
        execution = await workflow.execute(id="e-1")
        await test.advance(200)
        test.stub("work.s1", 3)
        assert await execution.result() == 3


async def test_an_abort_comes_before_the_permit() -> None:
    """Once an abort is answered, a worker that asks is denied, and nothing runs."""
    app, workflow = single(at_most_once=True)
    charge = Charge()
    async with FlowHarness(app) as test:
        execution = await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        asked = Envelope(
            "step.started",
            b"null",
            "s1",
            f"e-1/{live.data.epoch}/{node.created}/1",
            "",
            {"flow-permit": "p1", "flow-worker": "w1"},
        )
        await execution.abort()
        mailbox = engine.addresses.mailbox_queue(live.partition)
        await test._broker.publish([Publication("", mailbox, asked)])
        await test.settle()
        assert (engine.counters["step.permit"], engine.counters["step.denied"]) == (0, 1)
        async with working(test, endpoint(charge.run)):
            await test.advance(600)
            assert charge.began == 0


async def test_a_permit_that_was_not_committed_is_not_sent() -> None:
    """If the store fails nobody hears of the permit; it is told once it is written down."""
    app, workflow = single(at_most_once=True)
    unsteady = Unsteady()
    told: list[tuple[str, bool]] = []
    async with FlowHarness(app, store=unsteady) as test:
        await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        correlation = f"e-1/{live.data.epoch}/{node.created}/1"

        def receive(delivery: Delivery) -> None:
            writes = [write for commit in unsteady.store.commits for write in commit.writes]
            is_written = any(b'"permit":"p1"' in write.record for write in writes)
            told.append((delivery.envelope.type, is_written))
            delivery.ack()

        await test._broker.declare(engine.addresses.worker("w1", ()))
        await test._broker.consume(engine.addresses.cancel_queue("w1"), 10, receive)
        unsteady.store.before = [away()]
        headers = {"flow-permit": "p1", "flow-worker": "w1"}
        asked = Envelope("step.started", b"null", "s1", correlation, "", headers)
        mailbox = engine.addresses.mailbox_queue(live.partition)
        await test._broker.publish([Publication("", mailbox, asked)])
        await test.advance(30)
        assert told == [("step.permit", True)]
        assert engine.counters["lost batches"] == 1


async def test_a_takeover_between_permit_and_reply() -> None:
    """A new owner knows the permit: it sends nothing again, and takes the reply."""
    app, workflow = single(at_most_once=True, heartbeat=50, timeout=9e5)
    charge = Charge()
    async with FlowHarness(app) as test, working(test, endpoint(charge.run)):
        await workflow.execute(id="e-1")
        await test.settle()
        assert charge.began == 1
        await test.restart()
        await test.advance(100)
        charge.may_end.set()
        assert await app.executions.get("e-1").result() == 1
        assert charge.began == 1


async def test_a_worker_that_drains_says_that_it_gives_up() -> None:
    """A handler that does not end in time is cut short: with a permit that is an incident."""
    app, workflow = single(at_most_once=True)
    charge = Charge()
    async with FlowHarness(app) as test:
        settings = WorkerSettings(drain_s=0.001)
        execution = None
        test.automatic = True
        host = working(test, endpoint(charge.run), settings=settings)
        process = await host.__aenter__()
        execution = await workflow.execute(id="e-1")
        await test.settle()
        assert process.worker is not None
        leaving = asyncio.gather(host.__aexit__(None, None, None))
        await test.advance(1)
        await leaving
        await test.settle()
        assert "steps/s1" in (await execution.describe())["incident"]
        assert engine_of(app).counters["released"] == 1


async def test_a_long_step_that_is_released_is_sent_again_at_once() -> None:
    """A worker that ends gives a long attempt to another one, and no attempt is spent."""
    app, workflow = single(heartbeat=60)
    charge, other = Charge(), Charge()
    other.may_end.set()
    async with FlowHarness(app) as test:
        host = working(test, endpoint(charge.run), settings=WorkerSettings(drain_s=0.001))
        await host.__aenter__()
        execution = await workflow.execute(id="e-1")
        await test.settle()
        leaving = asyncio.gather(host.__aexit__(None, None, None))
        await test.advance(1)
        await leaving
        async with working(test, endpoint(other.run)):
            await test.advance(2)
            assert (charge.began, other.began) == (1, 1)
            assert await execution.result() == 1
            assert (await execution.step("s1"))["attempt"] == 1


@pytest.mark.parametrize(
    "headers",
    [{"flow-permit": ""}, {"flow-permit": "p"}, {"flow-permit": "p", "flow-worker": "a b"}],
)
async def test_who_asks_has_to_say_who_it_is(headers: dict[str, str]) -> None:
    """A question without a sane name and worker goes to the dead, and grants nothing."""
    app, workflow = single(at_most_once=True)
    async with FlowHarness(app) as test:
        await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        correlation = f"e-1/{live.data.epoch}/{node.created}/1"
        asked = Envelope("step.started", b"null", "s1", correlation, "", headers)
        mailbox = engine.addresses.mailbox_queue(live.partition)
        await test._broker.publish([Publication("", mailbox, asked)])
        await test.settle()
        assert engine.counters["InvalidName"] == 1
        assert live.tree.node("steps/s1").data.permit == ""


async def test_a_failure_is_final() -> None:
    """A handler that runs at most once and fails is not tried again, even if it asks for it."""
    app, workflow = single(at_most_once=True)

    async with FlowHarness(app) as test:

        async def fail(_body: Any, context: StepContext) -> int:
            raise ConnectionError(context.idempotency_key)

        test.stub("work.s1", fail)
        with pytest.raises(ExecutionFailed, match="steps/s1"):
            await workflow.run()
        assert len(test.calls("work.s1")) == 1
