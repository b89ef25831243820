"""Tests of `orchestrator.reports`: what happened, in the order in which it did."""

from __future__ import annotations

import pytest

from flow import (
    ExecutionCompensated,
    ExecutionFailed,
    Flow,
    Report,
    RetryPolicy,
    Skip,
    Status,
    Step,
)
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.sagas import NO, stub_trip, trip


def told(report: Report) -> list[tuple[str, str, str]]:
    """Return each entry's step, action and status."""
    return [(each.step, each.action, each.status.value) for each in report.steps]


async def test_runs_come_first_and_then_undos_backwards() -> None:
    """There is an entry for each run and each undo; times, attempts and reasons are in them."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, hotel=Skip("no nights"), car=NO, undo_flight=OSError("away"))
        execution = await workflow.execute({"n": 1}, id="e-1")
        with pytest.raises(ExecutionFailed):
            await execution.result()
        report = await execution.report()
        assert told(report) == [
            ("flight", "run", "SUCCESS"),
            ("hotel", "run", "SKIPPED"),
            ("car", "run", "FAILURE"),
            ("car", "undo", "SUCCESS"),
            ("hotel", "undo", "SUCCESS"),
            ("flight", "undo", "FAILURE"),
        ]
        assert (report.workflow, report.execution, report.status) == (
            "trip",
            "e-1",
            Status.FAILURE,
        )
        assert (report.on_error, report.on_undo_error) == ("compensate", "continue")
        assert "steps/flight" in report.incident
        assert report.failure is not None
        assert report.failure.step == "car"
        failed = report.find("flight", "undo")
        assert failed is not None
        assert failed.failure is not None
        assert (failed.attempts, failed.failure.message) == (1, "away")
        skipped = report.find("hotel")
        assert skipped is not None
        assert skipped.reason == "no nights"
        assert report.started_ms == test.clock.now_ms() == report.ended_ms
        assert Report.from_yaml(report.to_yaml()) == report


async def test_what_had_nothing_to_undo_stands_where_its_turn_was() -> None:
    """Steps without an undo are in the report, in their places, as SKIPPED."""
    app = Flow("world", broker="memory://", store="memory://")
    first: Step[None] = Step.call("work.a", undo="work.undo")
    second: Step[None] = Step.call("work.b", requires=[first])
    third: Step[None] = Step.call("work.c", requires=[second], undo="work.undo")
    last: Step[None] = Step.call("work.d", requires=[third], undo="work.undo")
    workflow = app.workflow("w", first, second, third, last, on_error="compensate")
    async with FlowHarness(app) as test:
        for name, answer in (("a", 1), ("b", 2), ("c", 3), ("d", NO), ("undo", None)):
            test.stub(f"work.{name}", answer)
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        report = await execution.report()
        assert told(report)[4:] == [
            ("d", "undo", "SUCCESS"),
            ("c", "undo", "SUCCESS"),
            ("b", "undo", "SKIPPED"),
            ("a", "undo", "SUCCESS"),
        ]
        nothing = report.find("b", "undo")
        assert nothing is not None
        assert (nothing.reason, nothing.attempts) == ("nothing to undo", 0)


async def test_what_is_under_way_is_told_too() -> None:
    """An undo that is out is RUNNING, and what has to wait for it comes then, as PENDING."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_car=NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        report = await execution.report()
        assert told(report)[3:] == [
            ("car", "undo", "RUNNING"),
            ("hotel", "undo", "PENDING"),
            ("flight", "undo", "PENDING"),
        ]
        assert (report.status, report.ended_ms) == (Status.COMPENSATING, None)


async def test_a_sub_workflow_has_a_report_of_its_own() -> None:
    """It is one entry, with its steps and their undos inside; hooks are called what they are."""
    app, inner = trip()
    last: Step[None] = Step.call("work.last", requires=["inner"])
    hook: Step[None] = Step.call("work.hook")
    steps = (Step.sub_workflow(inner, id="inner"), last)
    workflow = app.workflow("outer", *steps, on_error="compensate", on_failure=hook)
    async with FlowHarness(app) as test:
        stub_trip(test)
        test.stub("work.last", NO)
        test.stub("work.hook", None)
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        report = await execution.report()
        assert told(report) == [
            ("inner", "run", "COMPENSATED"),
            ("last", "run", "FAILURE"),
            ("on_failure", "run", "SUCCESS"),
            ("last", "undo", "SKIPPED"),
        ]
        nested = report.steps[0].report
        assert nested is not None
        assert (nested.workflow, nested.execution) == ("trip", "e-1")
        assert told(nested)[3:] == [
            ("car", "undo", "SUCCESS"),
            ("hotel", "undo", "SUCCESS"),
            ("flight", "undo", "SUCCESS"),
        ]


async def test_a_run_begins_with_its_first_attempt() -> None:
    """A run and an undo that were tried again begin when they were first sent."""
    app = Flow("world", broker="memory://", store="memory://")
    retry = RetryPolicy(max_attempts=3, initial=2.0, factor=1.0, jitter=0.0)
    undo: Step[None] = Step.call("work.undo", retry=retry)
    workflow = app.workflow("w", Step.call("work.a", retry=retry, undo=undo), on_error="compensate")
    async with FlowHarness(app) as test:
        begin = test.clock.now_ms()
        test.stub("work.a", NO)
        test.stub("work.undo", [NO, NO, None])
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        times = [
            (each.attempts, (each.started_ms or 0) - begin, (each.ended_ms or 0) - begin)
            for each in (await execution.report()).steps
        ]
        assert times == [(3, 0, 4_000), (3, 4_000, 8_000)]


async def test_what_has_not_begun_is_no_entry() -> None:
    """Steps that did not go out are not in the report."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, hotel=NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        report = await execution.report()
        assert told(report) == [("flight", "run", "SUCCESS"), ("hotel", "run", "RUNNING")]
