"""Tests of `orchestrator.lookups`: lists, histories and definitions, through the harness."""

from __future__ import annotations

from typing import Any

import pytest

from flow import Status, Step
from flow.errors import InvalidOption, UnknownExecution, UnknownWorkflow
from flow.runtime.orchestrator.lookups import query_of
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import RETRY, single


async def test_lists_are_filtered_and_paged() -> None:
    """Executions are listed newest first, by status, workflow and labels, page by page."""
    app, workflow = single()
    other = app.workflow("other", Step.call("work.s2"))
    async with FlowHarness(app) as test:
        test.stub("work.s1", [1, ValueError()])
        test.stub("work.s2", 1)
        for number in range(4):
            await workflow.execute(id=f"e{number}", labels={"odd": str(number % 2)})
            await test.advance(1)
        await (await other.execute(id="o1")).result()
        rows = app.executions.list
        assert [row["id"] for row in await rows()] == ["o1", "e3", "e2", "e1", "e0"]
        assert [row["id"] for row in await rows(workflow="single", limit=2)] == ["e3", "e2"]
        page = await rows(workflow="single", limit=2, before="e2")
        assert [row["id"] for row in page] == ["e1", "e0"]
        assert [row["id"] for row in await rows(status=["SUCCESS"])] == ["o1", "e0"]
        failed = await rows(status=[Status.FAILURE], labels={"odd": "1"})
        assert [row["id"] for row in failed] == ["e3", "e1"]
        with pytest.raises(InvalidOption, match="FAILURE"):
            await rows(status=["FAILURES"])
        with pytest.raises(UnknownExecution):
            await rows(before="nobody")


async def test_history_tells_who_did_what() -> None:
    """The history has every event, with its time, its step and its attempt."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError("away"), 1])
        execution = await workflow.execute()
        await execution.result()
        events = await execution.history()
        assert [event.type for event in events] == [
            "ExecutionStarted",
            "StepFailed",
            "TimerFired",
            "StepSucceeded",
        ]
        assert "steps/s1 attempt 1" in events[1].reason
        assert "away" in events[1].reason
        assert events[-1].at_ms == test.clock.now_ms()
        assert [event.seq for event in await execution.history(events[1].seq)] == [3, 4]


async def test_workflows_are_kept() -> None:
    """Workflows can be saved, listed, loaded and removed, by whoever has a client."""
    app, workflow = single()
    step: Step[Any] = Step.call("work.s2")
    async with FlowHarness(app) as test:
        test.stub("work.s2", 2)
        made = await app.workflows.create("made", step, output=step, version="v1")
        rows = await app.workflows.list()
        assert [(row["id"], row["version"], row["steps"]) for row in rows] == [
            ("made", "v1", 1),
            ("single", "", 1),
        ]
        assert rows[0]["hash"] == made.hash
        loaded = await app.workflows.load("made")
        assert loaded.definition == made.definition
        assert await loaded.run() == 2
        await app.workflows.remove("made")
        with pytest.raises(UnknownWorkflow):
            await made.run()
        assert [row["id"] for row in await app.workflows.list()] == [workflow.id]


def test_a_query_is_read() -> None:
    """The arguments of a list become a query, within its limits."""
    query = query_of({"statuses": ["failed"], "limit": 10**9, "labels": {"a": "b"}})
    assert query.statuses == (Status.FAILURE,)
    assert (query.limit, query.labels) == (10_000, {"a": "b"})
    assert query_of({"limit": -1}).limit == 1
