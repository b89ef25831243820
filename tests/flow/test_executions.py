"""Tests of `flow.executions`: executions as users hold them, through the harness."""

from __future__ import annotations

import asyncio

import pytest

from flow import ExecutionAborted, ExecutionCompensated, ExecutionFailed, Report, Status
from flow.errors import InvalidName, UnknownExecution
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.sagas import NO, stub_trip, trip
from tests.flow.runtime.worlds import RETRY, chain, single, stub_chain


async def test_a_handle_needs_nothing_but_the_id() -> None:
    """An execution can be held by its id from anywhere, and shows itself when asked."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        started = await workflow.execute(id="e-1")
        held = app.executions.get("e-1")
        assert repr(held) == repr(started) == "<Execution 'e-1'>"
        assert await held.result() == 3
        assert await held.steps() == dict.fromkeys(("s1", "s2", "s3"), Status.SUCCESS)
        with pytest.raises(InvalidName):
            app.executions.get("a b")
        with pytest.raises(UnknownExecution):
            await app.executions.get("nobody").result()


async def test_many_wait_for_the_same_end() -> None:
    """Everybody who waits for an execution gets its result."""
    app, workflow = single()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app) as test:
        test.stub("work.s1", wait)
        execution = await workflow.execute()
        waiting = asyncio.gather(*(execution.result() for _ in range(50)))
        await test.settle()
        gate.set()
        assert await waiting == [1] * 50


async def test_how_it_ended_is_raised() -> None:
    """A failed execution raises its failure with the report, and an aborted one the reason."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ValueError("no"), NEVER])
        failed = await workflow.execute(id="failed")
        for _ in range(2):
            with pytest.raises(ExecutionFailed, match=r"'failed' failed: .*no") as caught:
                await failed.result()
            assert caught.value.report["status"] == "FAILURE"
        aborted = await workflow.execute(id="aborted")
        await aborted.abort("enough")
        with pytest.raises(ExecutionAborted, match="'aborted' was aborted: enough"):
            await aborted.result()


async def test_control_by_id() -> None:
    """Executions are suspended, resumed, aborted and deleted by their ids, too."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", ConnectionError())
        await workflow.execute(id="e-1")
        await test.settle()
        assert await app.executions.suspend("e-1", "stop") is Status.SUSPENDED
        assert await app.executions.resume("e-1") is Status.RUNNING
        assert await app.executions.abort("e-1", "why") is Status.ABORTED
        await app.executions.delete("e-1")
        assert await app.executions.list() == []


async def test_following_waits_for_what_happens() -> None:
    """Iterating gives each event when it happens, also to two who follow at the same time."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute()

        async def follow() -> list[tuple[str, int]]:
            return [(event.type, event.at_ms) async for event in execution]

        one, two = await asyncio.gather(follow(), follow())
        assert one == two
        start = one[0][1]
        assert [(kind, at - start) for kind, at in one] == [
            ("ExecutionStarted", 0),
            ("StepFailed", 0),
            ("TimerFired", 1_000),
            ("StepSucceeded", 1_000),
        ]


async def test_reasons_and_commands_are_kept() -> None:
    """The history has why somebody intervened, with the id of the command."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", ConnectionError())
        execution = await workflow.execute()
        await test.settle()
        await execution.suspend(reason="lunch")
        await execution.resume("back")
        await execution.abort("tired")
        events = (await execution.history())[-3:]
        assert [(event.type, event.reason) for event in events] == [
            ("SuspendRequested", "lunch"),
            ("ResumeRequested", "back"),
            ("AbortRequested", "tired"),
        ]
        assert len({event.id for event in events}) == 3


async def test_what_was_taken_back_is_told() -> None:
    """Whoever waits for what was compensated gets an error of its own, which is a failure too."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=[NO, "car"], undo_hotel=[OSError("away"), None])
        await workflow.execute(id="e-1")
        await test.settle()
        assert [row["id"] for row in await app.executions.list(incidents=True)] == ["e-1"]
        assert await app.executions.resolve("e-1", "hotel", "phoned") is Status.COMPENSATED
        assert await app.executions.list(incidents=True) == []
        with pytest.raises(ExecutionFailed, match="was compensated: step 'car'") as caught:
            await app.executions.get("e-1").result()
        assert isinstance(caught.value, ExecutionCompensated)
        assert await workflow.run(id="e-2") == "car"
        assert await app.executions.undo("e-2", reason="not wanted") is Status.COMPENSATING
        with pytest.raises(ExecutionCompensated, match="was compensated: on request"):
            await app.executions.get("e-2").result()


async def test_a_report_is_a_value() -> None:
    """A report can be looked through, written and read back; everything is in `describe`."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO)
        execution = await workflow.execute({"n": 1}, id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        report = await execution.report()
        assert [each.step for each in report.failed()] == ["car"]
        assert Report.from_json(report.to_json()) == report
        assert (await execution.describe())["input"] == {"n": 1}
        with pytest.raises(UnknownExecution):
            await app.executions.get("nobody").report()
