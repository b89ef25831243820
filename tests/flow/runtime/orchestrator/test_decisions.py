"""Tests of `orchestrator.decisions`: events, alarms, and the executions they are about."""

from __future__ import annotations

from typing import Any

import pytest

from flow import Flow, Status
from flow.codec import Cause
from flow.errors import CorruptRecord
from flow.kernel.events import Attempt, Event, StepSucceeded
from flow.runtime.orchestrator.decisions import PAUSE_MS, Decisions
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.live import LiveExecution
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import RETRY, Unsteady, single


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def test_an_event_about_nobody_is_counted() -> None:
    """An event for an execution that does not exist changes nothing, but settles its row."""
    app, _workflow = single()
    async with FlowHarness(app):
        engine = engine_of(app)
        decisions = Decisions(engine)
        decisions.decide("nobody", StepSucceeded(Attempt(1, 1, 1), b"1"), (3, 77))
        assert engine.counters["unknown execution"] == 1
        assert engine.committer.batch.settled == [(3, 77)]
        decisions.wake("nobody")
        decisions.wake("@3")
        assert not engine.committer.batch.touches


async def test_the_history_names_step_attempt_and_message() -> None:
    """What was decided on is written with the message behind it, the step and the attempt."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError("away"), 1])
        execution = await workflow.execute()
        await execution.result()
        events = await execution.history()
        assert events[1].reason.startswith("steps/s1 attempt 1: ")
        assert events[1].id
        assert events[2].reason == "RetryDue steps/s1"
        assert events[3].reason == "steps/s1 attempt 2"


async def test_a_false_alarm_moves_the_row_on() -> None:
    """When nothing is due after all, the row gets its next time, and is not found due again."""
    app, workflow = single(timeout=600)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        live = engine.residents.get("e-1")
        assert live is not None
        Decisions(engine).wake("e-1")
        assert engine.committer.batch.wakes == {"e-1": (live.partition, live.wake_ms())}
        await test.advance(61)
        due = await unsteady.store.due(live.partition, test.clock.now_ms(), 10)
        assert due.executions == ()
        assert due.next_ms == live.wake_ms()
        assert await execution.status() is Status.RUNNING


async def test_a_fault_of_ours_stops_one_execution_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An alarm that cannot be dealt with is tried again after a pause; the others go on."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute(id="e-1")
        await test.settle()
        engine = engine_of(app)
        apply = engine.apply

        def fail(live: LiveExecution, event: Event, cause: Cause) -> Any:
            if live.id == "e-1":
                raise ZeroDivisionError
            return apply(live, event, cause)

        monkeypatch.setattr(engine, "apply", fail)
        Decisions(engine).happened("e-1", StepSucceeded(Attempt(1, 1, 1), b"1"), None)
        await test.advance(10)
        assert engine.counters["poison"] == 2
        assert await workflow.run(id="e-2") == 1
        monkeypatch.undo()
        await test.advance(60)
        assert await execution.result() == 1


async def test_who_cannot_be_loaded_is_due_later() -> None:
    """An execution that cannot be loaded does not stay the first that is due."""
    app, _workflow = single()
    async with FlowHarness(app) as test:
        engine = engine_of(app)
        engine.residents.parked["e-1"] = CorruptRecord("e-1", "the test says so")
        Decisions(engine).wake("e-1")
        later = test.clock.now_ms() + PAUSE_MS
        assert engine.committer.batch.wakes == {"e-1": (engine.partition_of("e-1"), later)}
