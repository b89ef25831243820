"""Tests of `worker.worker`: several processes, several versions, one flow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow import Flow, Message, Status, Step, StepContext
from flow.errors import InvalidName
from flow.ports import Envelope, Publication
from flow.runtime.orchestrator.engine import Engine
from flow.testing import FlowHarness
from tests.flow.runtime.workers import die, endpoint, working
from tests.flow.runtime.worlds import chain, echo, single

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def test_an_abort_reaches_another_process() -> None:
    """A handler that runs elsewhere is cancelled; what it says all the same is dropped, counted."""
    app, workflow = single()
    ended: list[str] = []

    async def stubborn(_body: Any) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
        return 7

    async with FlowHarness(app) as test, working(test, endpoint(stubborn)) as other:
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = engine_of(app).residents.get("e-1")
        assert live is not None
        node = live.tree.node("steps/s1")
        correlation = f"e-1/{live.data.epoch}/{node.created}/1"
        mailbox = engine_of(app).addresses.mailbox_queue(live.partition)
        await execution.abort()
        await test.settle()
        assert ended == ["cancelled"]
        assert other.worker is not None
        # It has ignored the cancellation, and its result goes out as it is.
        assert other.worker.snapshot().answered == 1
        assert other.worker.snapshot().running == 0
        assert engine_of(app).counters["Dropped"] == 1
        late = Envelope("step.reply", b"7", "r1", correlation)
        await test._broker.publish([Publication("", mailbox, late)])
        await test.settle()
        assert engine_of(app).counters["Dropped"] == 2
        assert await execution.status() is Status.ABORTED


async def test_an_old_and_a_new_version_side_by_side() -> None:
    """A flow that needs what only the new version has ends, though the old one gets requests."""
    app, workflow = chain(2)
    count = 20
    async with (
        FlowHarness(app) as test,
        working(test, endpoint(echo)) as old,
        working(test, endpoint(echo), endpoint(echo, "work.s2")),
    ):
        starts = (workflow.execute(number, id=f"e{number}") for number in range(count))
        executions = await asyncio.gather(*starts)
        results = await asyncio.gather(*(each.result() for each in executions))
        assert results == list(range(count))
        assert old.worker is not None
        refused = old.worker.snapshot().refused
        assert 0 < refused < 10 * count
        assert engine_of(app).counters["refused"] == refused
        report = await executions[0].describe()
        assert [step["attempt"] for step in report["steps"]] == [1, 1]


async def test_only_an_old_version_is_no_hot_loop() -> None:
    """While nobody has the endpoint, few requests are sent; the view names it; then all end."""
    app, workflow = chain(2)
    count = 50
    async with FlowHarness(app) as test, working(test, endpoint(echo)) as old:
        async with working(test, endpoint(echo, "work.s2")):
            await test.settle()
        starts = (workflow.execute(number, id=f"e{number}") for number in range(count))
        executions = await asyncio.gather(*starts)
        await test.advance(10)
        assert old.worker is not None
        early = old.worker.snapshot().refused
        assert early <= count + 15
        await test.advance(600)
        # One is tried for all of them, at most every few seconds.
        assert old.worker.snapshot().refused - early <= 150
        steps = (await executions[7].describe())["steps"]
        assert steps[1]["waiting_for"] == "work.s2"
        assert (steps[1]["status"], steps[1]["attempt"]) == ("RUNNING", 1)
        async with working(test, endpoint(echo), endpoint(echo, "work.s2")):
            results = await asyncio.gather(*(each.result() for each in executions))
            assert results == list(range(count))
            steps = (await executions[7].describe())["steps"]
            assert "waiting_for" not in steps[1]


async def test_metadata_travels_through_two_services() -> None:
    """Both services and every subscriber see the same trace; response headers are in the report."""
    app = Flow("world", broker="memory://", store="memory://")
    one: Step[Any] = Step.call("work.s1")
    two: Step[Any] = Step.call("ship.send", requires=[one])
    told: Step[Any] = Step.publish("orders.sent", requires=[two])
    workflow = app.workflow("w", one, two, told)
    seen: dict[str, dict[str, str]] = {}

    async def first(message: Message) -> Message:
        seen["first"] = dict(message.headers)
        return Message({"model": "m-7"}, b"1")

    async def second(_body: Any, context: StepContext) -> int:
        seen["second"] = dict(context.headers)
        return 2

    async def listen(message: Message) -> None:
        seen["listener"] = dict(message.headers)

    async with (
        FlowHarness(app) as test,
        working(test, endpoint(first)),
        working(test, endpoint(second, "ship.send")),
        working(test, endpoint(listen, "mail.note", topics=("orders.*",))),
    ):
        headers = {"traceparent": TRACE, "tenant": "t1"}
        execution = await workflow.execute({}, headers=headers)
        await execution.result()
        await test.settle()
        assert seen == {"first": headers, "second": headers, "listener": headers}
        steps = (await execution.describe())["steps"]
        assert steps[0]["headers"] == {"model": "m-7"}
        assert (await execution.step("s1"))["headers"] == {"model": "m-7"}


@pytest.mark.parametrize("name", ["flow-key", "CC", "bcc", "X-Death", "Flow-Outcome"])
async def test_headers_of_the_system_are_refused(name: str) -> None:
    """Nobody starts with them, no handler answers with them, and none that arrive are seen."""
    app, workflow = single()
    seen: list[dict[str, str]] = []

    async def work(message: Message) -> Message:
        seen.append(dict(message.headers))
        return Message({name: "1"}, b"1")

    async with FlowHarness(app) as test, working(test, endpoint(work)):
        with pytest.raises(InvalidName):
            await workflow.execute({}, headers={name: "1"})
        execution = await workflow.execute({}, headers={"a": "b"})
        await test.advance(1)
        report = await execution.describe()
        assert report["status"] == "FAILURE"
        assert report["steps"][0]["failure"]["type"] == "flow.errors.InvalidName"
        assert seen == [{"a": "b"}]


async def test_a_reply_that_is_confirmed_late_is_sent_again() -> None:
    """A worker whose broker confirms late runs nothing twice, and answers every copy."""
    app, workflow = single()
    ran: list[int] = []

    async def work(_body: Any) -> int:
        ran.append(1)
        return len(ran)

    async with FlowHarness(app) as test, working(test, endpoint(work)) as host:
        gate = asyncio.Event()
        broker: Any = host._ports.broker
        real = broker.publish

        async def publish(publications: Any) -> Any:
            settlements = await real(publications)
            await gate.wait()
            return settlements

        broker.publish = publish
        execution = await workflow.execute(id="e-1")
        assert await execution.result() == 1
        assert host.worker is not None
        assert host.worker.snapshot().answered == 0
        gate.set()
        await test.settle()
        assert (host.worker.snapshot().answered, ran) == (1, [1])


async def test_a_process_that_dies_with_a_short_attempt() -> None:
    """The broker gives the request out again: another process has it at once."""
    app, workflow = single()

    async def hang(_body: Any) -> int:
        await asyncio.Event().wait()
        return 0

    async with FlowHarness(app) as test, working(test, endpoint(hang)) as host:
        execution = await workflow.execute(5)
        await test.settle()
        await die(test, host)
        async with working(test, endpoint(echo)):
            assert await execution.result() == 5
            assert test.clock.monotonic() < 1
