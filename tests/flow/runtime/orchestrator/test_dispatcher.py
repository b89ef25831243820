"""Tests of `orchestrator.dispatcher`: publishing what was committed, through the harness."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow import Execution, ExecutionFailed, Flow, Status, Step, Workflow
from flow.kernel.commands import RunStep
from flow.ports import Binding, Queue, Topology
from flow.runtime.orchestrator.commands import Command
from flow.runtime.orchestrator.dispatcher import Dispatcher
from flow.runtime.orchestrator.engine import Engine
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import chain, echo, single, stub_chain

MANY = 500


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def start_many(workflow: Workflow[Any], count: int) -> list[Execution[Any]]:
    """Start executions."""
    starts = (workflow.execute(number, id=f"e{number}") for number in range(count))
    return await asyncio.gather(*starts)


async def test_an_endpoint_that_nobody_serves_is_waited_for() -> None:
    """Many wait for a worker that never was there: none fails, and few messages are published."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        executions = await start_many(workflow, MANY)
        await test.settle()
        published = test._broker.published_count
        await test.advance(300)
        assert test._broker.published_count - published < 100
        assert await app.executions.list(status=[Status.FAILURE]) == []
        test.stub("work.s1", echo)
        results = await asyncio.gather(*(each.result() for each in executions))
        assert results == list(range(MANY))
        assert len(test.calls("work.s1")) == MANY
        await test.advance(2)
        assert engine_of(app).dispatcher.unsettled == 0


async def test_a_worker_that_is_away_fails_nobody() -> None:
    """A thousand wait five minutes in a queue: none fails, and none is sent four times."""
    app, workflow = single()
    count = 1_000
    async with FlowHarness(app) as test:
        assert app.host is not None
        addresses = app.host.addresses
        queue = f"{addresses.steps}.work.s1"
        await test._broker.declare(
            Topology(
                queues=(Queue(queue, dead_letter=addresses.dead),),
                bindings=(Binding(queue, addresses.steps, "work.s1"),),
            )
        )
        executions = await start_many(workflow, count)
        await test.advance(300)
        assert count <= test._hub.depth(queue) <= 3 * count
        assert await app.executions.list(status=[Status.FAILURE]) == []
        test.stub("work.s1", echo)
        results = await asyncio.gather(*(each.result() for each in executions))
        assert results == list(range(count))
        await test.settle()
        assert test._hub.depth(queue) == 0
        # The copies of a request that the worker has just answered are not run again.
        assert len(test.calls("work.s1")) == count


async def test_a_reply_that_was_lost_is_asked_for_again() -> None:
    """An attempt of which nothing is heard is sent again after a minute, and spends nothing."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        lost = asyncio.Event()

        async def lose() -> None:
            # The worker that has it dies without a word: here, it just stays away.
            await lost.wait()

        test.stub("work.s1", lose)
        execution = await workflow.execute()
        await test.advance(59)
        assert len(test.calls("work.s1")) == 1
        assert engine_of(app).counters["sent again"] == 0
        await test.advance(1)
        # The step's own time is over by now, too.
        with pytest.raises(ExecutionFailed):
            await execution.result()


async def test_an_assembled_input_may_be_too_large() -> None:
    """A request above its cap fails the step, and names what it is made of."""
    app = Flow("world", broker="memory://", store="memory://")
    parts: list[Step[Any]] = [Step.call("work.part", id=f"p{n}") for n in range(10)]
    whole: Step[Any] = Step.call("work.whole", input={step.id: step.output for step in parts})
    workflow = app.workflow("w", *parts, whole)
    async with FlowHarness(app) as test:
        test.stub("work.part", "x" * 250_000)
        test.stub("work.whole", 1)
        with pytest.raises(ExecutionFailed, match="the input of step 'whole'"):
            await workflow.run()
        assert test.calls("work.whole") == []


async def test_a_mapping_that_finds_nothing_fails_its_step() -> None:
    """An input that refers to a field that is not there fails the step, which names it."""
    app = Flow("world", broker="memory://", store="memory://")
    one: Step[Any] = Step.call("work.s1")
    two: Step[Any] = Step.call("work.s2", input={"id": one.output.order.id})
    workflow = app.workflow("w", one, two)
    async with FlowHarness(app) as test:
        test.stub("work.s1", {"order": {"nr": 5}})
        test.stub("work.s2", 1)
        with pytest.raises(ExecutionFailed, match="has no 'id'"):
            await workflow.run()


async def test_a_late_reply_is_dropped() -> None:
    """The answer to an attempt that was aborted changes nothing, and is counted."""
    app, workflow = single()
    gate = asyncio.Event()

    async def stubborn() -> int:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            return 7
        return 8

    async with FlowHarness(app) as test:
        test.stub("work.s1", stubborn)
        execution = await workflow.execute()
        await test.settle()
        await execution.abort()
        await test.settle()
        assert await execution.status() is Status.ABORTED
        assert (await execution.step("s1"))["response"] is None


async def test_what_is_on_its_way_is_forgotten() -> None:
    """After a takeover nothing that was on its way before is sent any more."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        execution = await workflow.execute(id="e-1")
        await execution.result()
        dispatcher: Dispatcher = engine_of(app).dispatcher
        dispatcher.forget()
        assert dispatcher.unsettled == 0


async def test_a_command_that_nobody_wants_lets_its_step_go() -> None:
    """When a command for an older attempt is dropped, the step does not count as waiting still."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        stale = RunStep(attempt=9, epoch=live.data.epoch)
        live.waiting[node.path] = "work.s1"
        engine.dispatcher.send([Command(None, live, node.path, stale, node.created)])
        assert live.waiting == {}
        await test.advance(61)
        assert engine.counters["sent again"] == 1
