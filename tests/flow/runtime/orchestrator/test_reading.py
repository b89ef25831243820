"""Tests of `orchestrator.reading`: questions that are answered in tasks of their own."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import NotPossible, RequestError
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.orchestrator.reading import told
from flow.runtime.protocol import Request
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import single


async def test_a_question_that_is_asked_again_takes_no_more_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a pause takes long, and is asked for again and again, others are heard all the same."""
    app, workflow = single()
    async with FlowHarness(app, engine=EngineSettings(prefetch=2)) as test:
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        pause, may_go_on = engine.store.pause, asyncio.Event()

        async def wait(workflow: str, command: str) -> None:
            await may_go_on.wait()
            await pause(workflow, command)

        monkeypatch.setattr(engine.store, "pause", wait)
        pausing = asyncio.gather(app.workflows.pause(workflow.id))
        await test.advance(600)
        # Both come by the queue that knows no partition.
        assert [row["id"] for row in await app.workflows.list()] == [workflow.id]
        may_go_on.set()
        await pausing
        assert await app.workflows.paused() == (workflow.id,)


def test_who_asked_is_told_of_errors_that_are_not_ours() -> None:
    """An error of the framework is told as it is, and any other one as a failed request."""
    request = Request(verb="list", arguments={})
    ours = NotPossible("suspend", "e1", "SUCCESS", "nothing")
    assert told(ours, request) is ours
    strange = told(KeyError("x"), request)
    assert isinstance(strange, RequestError)
    assert "KeyError" in str(strange)
