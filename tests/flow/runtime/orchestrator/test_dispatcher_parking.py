"""Tests of `orchestrator.dispatcher`: commands that wait for endpoints, without holding memory."""

from __future__ import annotations

import asyncio
from typing import Any

from flow import Execution, Flow, Status, Step
from flow.ports import Delivery, Envelope, JournalRecord, Publication
from flow.runtime.orchestrator.engine import Engine, EngineSettings
from flow.runtime.orchestrator.inbox import Recover
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import Unsteady, echo, single


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def test_many_wait_and_hold_up_nobody() -> None:
    """They leave the memory, count as nobody's load, others go on, and in the end all end."""
    app, workflow = single()
    other = app.workflow("other", Step.call("work.other"))
    count, wave = 1_000, 250
    settings = EngineSettings(live_bytes=125_000, unsettled=wave)
    async with FlowHarness(app, engine=settings) as test:
        test.stub("work.other", 1)
        executions: list[Execution[Any]] = []
        for first in range(0, count, wave):
            starts = (workflow.execute(n, id=f"e{n}") for n in range(first, first + wave))
            executions = await asyncio.gather(*starts)
        await test.settle()
        engine = engine_of(app)
        assert engine.dispatcher.unsettled == 0
        assert len(engine.dispatcher._parking) == count
        assert await other.run() == {"other": 1}
        assert len(engine.residents) < wave
        (step,) = (await app.executions.get("e3").describe())["steps"]
        assert step["waiting_for"] == "work.s1"
        test.stub("work.s1", echo)
        results = await asyncio.gather(*(each.result() for each in executions))
        assert results == list(range(count - wave, count))
        await test.advance(5)
        assert await app.executions.list(status=[Status.RUNNING]) == []
        assert len(test.calls("work.s1")) == count
        assert engine.dispatcher.unsettled == len(engine.dispatcher._parking) == 0
        assert engine.dispatcher.waiting == {}


async def test_what_was_aborted_while_it_waited_is_passed_over() -> None:
    """Commands that nobody wants any more are settled without a pause for each of them."""
    app, workflow = single()
    async with FlowHarness(app, engine=EngineSettings(live_bytes=1)) as test:
        executions = await asyncio.gather(*(workflow.execute(n, id=f"e{n}") for n in range(50)))
        await test.settle()
        await asyncio.gather(*(each.abort() for each in executions[:49]))
        await test.advance(25)
        engine = engine_of(app)
        assert len(engine.dispatcher._parking) <= 1
        assert sum(len(each) for each in engine.dispatcher.waiting.values()) == 1
        (step,) = (await executions[0].describe())["steps"]
        assert (step["status"], "waiting_for" in step) == ("ABORTED", False)
        test.stub("work.s1", echo)
        assert await executions[49].result() == 49


async def test_what_was_deleted_while_it_waited_is_gone() -> None:
    """The command of an execution that does not exist any more is settled."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        execution = await workflow.execute(1, id="e-1")
        await test.settle()
        await execution.abort()
        await execution.delete()
        await test.advance(20)
        engine = engine_of(app)
        assert (len(engine.dispatcher._parking), engine.dispatcher.waiting) == (0, {})


async def test_a_crash_forgets_nobody_who_waits() -> None:
    """What is parked is in the store: the next owner parks it again, and it is sent in the end."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        await asyncio.gather(*(workflow.execute(n, id=f"e{n}") for n in range(20)))
        await test.settle()
        await test.restart()
        await test.settle()
        assert len(engine_of(app).dispatcher._parking) == 20
        test.stub("work.s1", echo)
        results = [await app.executions.get(f"e{n}").result() for n in range(20)]
        assert results == list(range(20))


async def test_too_many_parked_commands_count() -> None:
    """Beyond a bound what is parked makes starts wait, so that memory has an end."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        await asyncio.gather(*(workflow.execute(n, id=f"e{n}") for n in range(10)))
        await test.settle()
        dispatcher = engine_of(app).dispatcher
        assert dispatcher.load == 0
        dispatcher._parking._count += 200_000
        assert dispatcher.load == 10
        dispatcher._parking._count -= 200_000


async def test_what_waits_for_a_repair_keeps_its_row() -> None:
    """A command whose execution cannot be loaded any more is not taken for one of a deleted one."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        execution = await workflow.execute(id="bad")
        await test.settle()
        engine = engine_of(app)
        engine.residents.remove("bad")
        row = unsteady.store._database.row("bad")
        assert row is not None
        records = list(row.records)
        row.records[0] = JournalRecord(1, b'{"not": "a record"}', is_snapshot=True)
        await test.advance(30)
        assert list(engine.residents.parked) == ["bad"]
        outbox = unsteady.store._database.partition(row.summary.partition).outbox
        assert [each.execution for each in outbox.values()] == ["bad"]
        row.records[:] = records
        test.stub("work.s1", 5)
        await test.restart()
        assert await execution.result() == 5
        assert test.clock.monotonic() < 40


async def test_what_waited_when_its_partition_was_lost_is_sent_again() -> None:
    """Nobody remembers an attempt that waited for an endpoint, so it is not taken for waiting."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        refused: list[Delivery] = []
        assert app.host is not None
        broker, addresses = app.host._ports.broker, app.host.addresses
        await broker.declare(addresses.worker("old", ("work.s1",)))
        await broker.consume(addresses.service_queue("work"), 10, refused.append)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        engine, envelope = engine_of(app), refused[0].envelope
        refusal = Envelope("step.refused", b"null", correlation_id=envelope.correlation_id)
        await broker.publish([Publication("", envelope.reply_to, refusal)])
        refused[0].ack()
        await test.settle()
        assert engine.dispatcher.waiting == {"e-1": {"steps/s1": "work.s1"}}
        partition = engine.partition_of("e-1")
        engine.reset([partition])
        engine.inbox.put(Recover((partition,)))
        await test.settle()
        assert engine.dispatcher.waiting == {}
        assert len(refused) == 1
        await test.advance(61)
        assert len(refused) == 2
        answer = Envelope("", b"7", correlation_id=refused[1].envelope.correlation_id)
        await broker.publish([Publication("", envelope.reply_to, answer)])
        assert await execution.result() == 7


class OldWorker:
    """A worker that lacks the endpoint, on a broker that may take its time to confirm requests."""

    def __init__(self, app: Flow) -> None:
        assert app.host is not None
        self.addresses = app.host.addresses
        self.broker: Any = app.host._ports.broker
        self.requests: list[Delivery] = []
        self.confirms = asyncio.Event()
        self.confirms.set()

    async def begin(self) -> None:
        """Receive requests."""
        await self.broker.declare(self.addresses.worker("old", ("work.s1",)))
        queue = self.addresses.service_queue("work")
        await self.broker.consume(queue, 10, self.requests.append)
        real = self.broker.publish

        async def publish(publications: Any) -> Any:
            settlements = await real(publications)
            if any(each.exchange == self.addresses.steps for each in publications):
                await self.confirms.wait()
            return settlements

        self.broker.publish = publish

    async def refuse(self) -> None:
        """Refuse the last request."""
        envelope = self.requests[-1].envelope
        refusal = Envelope("step.refused", b"null", correlation_id=envelope.correlation_id)
        await self.broker.publish([Publication("", envelope.reply_to, refusal)])
        self.requests[-1].ack()


async def test_a_refusal_may_overtake_the_confirm() -> None:
    """What is refused again before the broker has confirmed it waits, and is sent again soon."""
    app, workflow = single()
    waits = {"e-1": {"steps/s1": "work.s1"}}
    async with FlowHarness(app) as test:
        worker = OldWorker(app)
        await worker.begin()
        execution = await workflow.execute(id="e-1")
        for count in (1, 2, 3):
            await test.settle()
            assert len(worker.requests) == count
            await worker.refuse()
            worker.confirms.set()
            await test.settle()
            assert engine_of(app).dispatcher.waiting == waits
            worker.confirms.clear()
            await test.advance(2)
        assert engine_of(app).counters["refused"] == 3
        worker.confirms.set()
        await test.settle()
        assert engine_of(app).dispatcher.waiting == {}
        envelope = worker.requests[-1].envelope
        answer = Envelope("", b"7", correlation_id=envelope.correlation_id)
        await worker.broker.publish([Publication("", envelope.reply_to, answer)])
        assert await execution.result() == 7
        assert test.clock.monotonic() < 60


async def test_a_refusal_that_comes_twice_parks_once() -> None:
    """Of several copies of a request, all of them refused, one is sent again."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        worker = OldWorker(app)
        await worker.begin()
        await workflow.execute(id="e-1")
        await test.settle()
        for _ in range(3):
            await worker.refuse()
            await test.settle()
        engine = engine_of(app)
        assert (engine.counters["refused"], len(engine.dispatcher.refusals)) == (1, 1)
        await test.advance(2)
        assert len(worker.requests) == 2
