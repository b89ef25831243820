"""Tests of `orchestrator.dispatcher`: what is not wanted any more before anybody got it."""

from __future__ import annotations

import pytest

from flow import ExecutionCompensated, Flow, Status, Step
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import echo


async def test_what_was_never_sent_has_never_begun() -> None:
    """An attempt that waited for its endpoint when it was aborted needs no undo, and nobody."""
    app = Flow("saga", broker="memory://", store="memory://")
    first = Step.call("work.first", id="first", undo="work.undo")
    second = Step.call("nobody.serves", id="second", requires=[first], undo="work.undo")
    workflow = app.workflow("trip", first, second)
    async with FlowHarness(app) as test:
        test.stub("work.first", echo)
        test.stub("work.undo", echo)
        execution = await workflow.execute(1, id="e1")
        await test.settle()
        assert await execution.abort(compensate=True) is Status.COMPENSATING
        # Less than it is waited for word of an attempt, and as long as a parked one may wait.
        await test.advance(15)
        report = await execution.report()
        assert report.status is Status.COMPENSATED
        undo = report.find("second", "undo")
        assert undo is not None
        assert (undo.status, undo.attempts) == (Status.SKIPPED, 0)
        assert len(test.calls("work.undo")) == 1
        with pytest.raises(ExecutionCompensated):
            await execution.result()
