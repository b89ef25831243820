"""Tests of `orchestrator.recovery`: a compensation goes on after a crash, and backwards only."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow import ExecutionCompensated, Flow, RetryPolicy, Status, Step
from flow.ports import Clock
from flow.testing import NEVER, FlowHarness
from store.sqlite import SqliteStore
from tests.flow.runtime.sagas import BACKWARD, FORWARD, NO, made, stub_trip, trip
from tests.flow.runtime.worlds import Unsteady, away


async def test_a_crash_in_the_middle_of_an_undo() -> None:
    """What is undone is not undone again, what was out is sent again, and the rest follows."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_hotel=[NEVER, None])
        execution = await workflow.execute({"n": 1}, id="e-1")
        await test.settle()
        await test.restart()
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert made(test) == [*FORWARD, "undo.car", "undo.hotel", "undo.hotel", "undo.flight"]
        # The same attempt was sent again: a crash spends none.
        assert [call.attempt for call in test.calls("undo.hotel")] == [1, 1]


async def test_a_crash_between_a_run_and_its_record() -> None:
    """A run whose success nobody wrote down is repeated forwards, and undone once with the rest."""
    app, workflow = trip()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_trip(test, car=NO)
        unsteady.store.before = [None, None, away()]
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        undos = [name for name in made(test) if name.startswith("undo.")]
        assert undos == BACKWARD
        assert len(test.calls("book.hotel")) == 1


@pytest.mark.parametrize("number", range(3, 9))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_any_commit(when: str, number: int) -> None:
    """Whichever commit fails or is not known of, every undo is recorded once, in order."""
    app, workflow = trip()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_trip(test, car=NO)
        faults = [None] * number + [away()]
        if when == "before":
            unsteady.store.before = list(faults)
        else:
            unsteady.store.after = list(faults)
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        report = await execution.report()
        undos = [(each.step, each.status) for each in report.steps if each.action == "undo"]
        assert undos == [(name, Status.SUCCESS) for name in ("car", "hotel", "flight")]
        firsts = list(dict.fromkeys(made(test)))
        assert firsts == [*FORWARD, *BACKWARD]


async def test_a_failed_undo_waits_for_its_retry_over_a_crash() -> None:
    """The retry of an undo comes when it would have come without the crash."""
    app = Flow("world", broker="memory://", store="memory://")
    retry = RetryPolicy(max_attempts=2, initial=10.0, jitter=0.0)
    step: Step[None] = Step.call("book.car", undo=Step.call("undo.car", retry=retry))
    workflow = app.workflow("w", step, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("book.car", NO)
        test.stub("undo.car", [OSError("away"), None])
        execution = await workflow.execute(id="e-1")
        await test.settle()
        test.crash()
        await test.advance(4)
        await test.restart()
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert test.clock.monotonic() == 10


async def test_waiting_for_word_survives_a_crash() -> None:
    """An attempt of which nothing is heard is left to a person in time, whoever owns it by then."""
    app, workflow = trip(settle_within=30)
    async with FlowHarness(app) as test:
        for endpoint in ("book.flight", *BACKWARD):
            test.stub(endpoint, None)
        assert app.host is not None
        # There is a queue, and nobody who takes from it.
        await test._broker.declare(app.host.addresses.worker("plain", ("book.hotel",)))
        await workflow.execute(id="e-1")
        await test.settle()
        execution = app.executions.get("e-1")
        assert await execution.abort("enough", compensate=True) is Status.COMPENSATING
        await test.advance(10)
        await test.restart()
        await test.advance(19)
        assert await execution.status() is Status.COMPENSATING
        assert made(test) == ["book.flight"]
        await test.advance(2)
        report = await execution.report()
        assert report.status is Status.FAILURE
        unknown = report.find("hotel", "undo")
        assert unknown is not None
        assert unknown.failure is not None
        assert (unknown.attempts, unknown.failure.type) == (0, "flow.errors.OutcomeUnknown")
        assert made(test) == ["book.flight", "undo.flight"]
        # Whoever asks for it once more does not want to wait for word.
        await execution.undo("hotel")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert made(test)[2:] == ["undo.hotel"]


@pytest.mark.parametrize("undone", range(3))
async def test_another_process_goes_on_backwards(tmp_path: Path, undone: int) -> None:
    """A new flow on the same SQLite file continues a compensation after a kill."""
    file = tmp_path / "trip.db"

    def store(clock: Clock) -> SqliteStore:
        return SqliteStore(file, clock.now_ms)

    app, workflow = trip()
    async with FlowHarness(app, store=store) as test:
        stub_trip(test, car=NO, **{BACKWARD[undone].replace(".", "_"): NEVER})
        await workflow.execute({"n": 1}, id="e-1")
        await test.settle()
        assert made(test) == [*FORWARD, *BACKWARD[: undone + 1]]
    app, _ = trip()
    async with FlowHarness(app, store=store) as test:
        stub_trip(test, car=NO)
        with pytest.raises(ExecutionCompensated):
            await app.executions.get("e-1").result()
        assert made(test) == BACKWARD[undone:]
        assert all(call.input == {"n": 1} for call in test._calls)
