"""Tests of `orchestrator.views`: executions as documents, through the harness."""

from __future__ import annotations

from typing import Any

import pytest

from flow import ExecutionFailed, Flow, Step
from flow.errors import UnknownStep
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import chain, stub_chain


async def test_a_report_tells_everything() -> None:
    """The report has what was asked for, when, how it ended, and every step in order."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        execution = await workflow.execute(
            {"n": 1}, id="e-1", headers={"h": "1"}, labels={"l": "2"}, timeout=60
        )
        await execution.result()
        report = await execution.describe()
        assert report["id"] == "e-1"
        assert report["workflow"] == "chain"
        assert report["definition"] == workflow.hash
        assert (report["input"], report["output"]) == ({"n": 1}, 3)
        assert (report["headers"], report["labels"]) == ({"h": "1"}, {"l": "2"})
        assert report["started_ms"] == report["ended_ms"] == test.clock.now_ms()
        assert report["deadline_ms"] == test.clock.now_ms() + 60_000
        assert report["failure"] is None
        assert [step["id"] for step in report["steps"]] == ["s1", "s2", "s3"]
        assert [step["path"] for step in report["steps"]] == ["steps/s1", "steps/s2", "steps/s3"]


async def test_a_failure_comes_with_its_report() -> None:
    """Whoever waits for a failed execution gets the report, with the traceback of the handler."""
    app = Flow("world", broker="memory://", store="memory://")

    @app.step
    async def explode(body: Any) -> None:
        secret: dict[str, int] = {}
        secret["missing"]

    workflow = app.workflow("w", explode)
    async with FlowHarness(app):
        with pytest.raises(ExecutionFailed, match="KeyError: 'missing'") as caught:
            await workflow.run()
        (step,) = caught.value.report["steps"]
        assert step["failure"]["type"] == "builtins.KeyError"
        assert 'secret["missing"]' in step["failure"]["traceback"]
        assert caught.value.report["failure"]["message"]


async def test_sub_workflows_are_shown_inside() -> None:
    """A sub-workflow shows its own steps, and they are found by a path of ids."""
    app = Flow("world", broker="memory://", store="memory://")
    inner = app.workflow("inner", Step.call("work.i1"))
    sub: Step[Any] = Step.sub_workflow(inner.definition)
    outer = app.workflow("outer", sub, on_end=Step.call("work.end"))
    async with FlowHarness(app) as test:
        test.stub("work.i1", "in")
        test.stub("work.end", None)
        execution = await outer.execute(7)
        assert await execution.result() == {"inner": {"i1": "in"}}
        await test.settle()
        report = await execution.describe()
        view, hook = report["steps"]
        assert view["steps"][0]["output"] == "in"
        assert (hook["hook"], hook["status"]) == ("on_end", "SUCCESS")
        step = await execution.step("inner/i1")
        assert (step["path"], step["request"], step["response"]) == (
            "steps/inner/steps/i1",
            7,
            "in",
        )
        for wrong in ("inner/nope", "nope/i1", "inner/i1/x"):
            with pytest.raises(UnknownStep):
                await execution.step(wrong)


async def test_what_did_not_run_says_why() -> None:
    """Steps that are left out, and fallbacks that nobody needed, are SKIPPED with a reason."""
    app = Flow("world", broker="memory://", store="memory://")
    plan_b: Step[Any] = Step.call("work.b")
    plan_a: Step[Any] = Step.call("work.a", fallback=plan_b)
    before: Step[Any] = Step.call("work.before")
    after: Step[Any] = Step.call("work.after", requires=[before, plan_a])
    workflow = app.workflow("w", before, plan_a, plan_b, after)
    async with FlowHarness(app) as test:
        for name in ("before", "a", "b", "after"):
            test.stub(f"work.{name}", name)
        execution = await workflow.execute(skip=["before"])
        await execution.result()
        steps = {step["id"]: step for step in (await execution.describe())["steps"]}
        assert (steps["before"]["status"], steps["b"]["status"]) == ("SKIPPED", "SKIPPED")
        assert steps["b"]["reason"] == "nobody needed it to stand in"
        assert steps["before"]["reason"]


async def test_rows_are_short() -> None:
    """The row of an execution has what a list shows."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        await workflow.run(id="e-1", labels={"a": "b"})
        (row,) = await app.executions.list()
        now = test.clock.now_ms()
        assert row == {
            "id": "e-1",
            "workflow": "chain",
            "definition": workflow.hash,
            "status": "SUCCESS",
            "created_ms": now,
            "updated_ms": now,
            "ended_ms": now,
            "incident": "",
            "labels": {"a": "b"},
        }


async def test_an_undo_is_shown_with_its_step() -> None:
    """What takes a step back, and how that went, is a part of the step; so is its late result."""
    app = Flow("world", broker="memory://", store="memory://")
    first: Step[Any] = Step.call("work.first")
    second: Step[Any] = Step.call("work.second", requires=[first], undo="work.back")
    last: Step[Any] = Step.call("work.last", requires=[second])
    workflow = app.workflow("w", first, second, last, on_error="compensate")
    async with FlowHarness(app) as test:
        for name, answer in (("first", 1), ("second", 2), ("last", ValueError("no"))):
            test.stub(f"work.{name}", answer)
        test.stub("work.back", "back")
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionFailed):
            await execution.result()
        view = await execution.describe()
        assert (view["status"], view["output"]) == ("COMPENSATED", None)
        undos = {step["id"]: step["undo"] for step in view["steps"]}
        assert {name: undo["status"] for name, undo in undos.items()} == {
            "first": "SKIPPED",
            "second": "SUCCESS",
            "last": "SKIPPED",
        }
        told = undos["second"]
        assert (told["id"], told["kind"], told["target"], told["path"], told["output"]) == (
            "back",
            "call",
            "work.back",
            "steps/second/undo",
            "back",
        )
        assert (undos["first"]["reason"], undos["first"]["attempt"]) == ("nothing to undo", 0)
        step = await execution.step("second")
        assert (step["response"], step["undo"]["status"]) == (2, "SUCCESS")
