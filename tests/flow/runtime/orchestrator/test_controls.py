"""Tests of `orchestrator.controls`: abort with compensation, undo and resolve, end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flow import ExecutionCompensated, ExecutionFailed, Flow, RetryPolicy, Status, Step
from flow.errors import ExecutionAborted, InvalidInput, NotPossible, UnknownStep
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.plain import plain_client
from tests.flow.runtime.sagas import BACKWARD, FORWARD, NO, made, stub_trip, trip


def behind(gate: asyncio.Event) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return a handler that waits for a gate."""

    async def wait() -> None:
        await gate.wait()

    return wait


async def test_a_failure_in_the_middle_is_taken_back() -> None:
    """What ran is undone, the last first, and whoever waits hears of it only at the end."""
    app, workflow = trip()
    gate = asyncio.Event()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_flight=behind(gate))
        running = asyncio.gather(workflow.run({"n": 1}, id="e-1"), return_exceptions=True)
        await test.settle()
        execution = app.executions.get("e-1")
        assert await execution.status() is Status.COMPENSATING
        assert not running.done()
        gate.set()
        (outcome,) = await running
        assert isinstance(outcome, ExecutionCompensated)
        assert str(outcome) == "execution 'e-1' was compensated: step 'car': ValueError: no"
        assert outcome.report["status"] == "COMPENSATED"
        assert made(test) == [*FORWARD, *BACKWARD]
        assert all(call.input == {"n": 1} for call in test._calls)
        assert await execution.status() is Status.COMPENSATED


async def test_a_failed_undo_is_for_a_person() -> None:
    """It ends in FAILURE with an incident that can be found, tried again, and is then gone."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_hotel=[OSError("away"), None])
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result()
        assert not isinstance(caught.value, ExecutionCompensated)
        assert made(test) == [*FORWARD, *BACKWARD]
        (row,) = await app.client.ask("list", {"incidents": True})
        assert (row["id"], row["status"]) == ("e-1", "FAILURE")
        assert "steps/hotel" in row["incident"]
        with pytest.raises(NotPossible, match="undo the others too, or resolve"):
            await execution.resume()
        assert await execution.undo(reason="the hotel is back") is Status.COMPENSATING
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert made(test)[6:] == ["undo.hotel"]
        assert await app.client.ask("list", {"incidents": True}) == []


async def test_a_person_resolves_what_could_not_be_undone() -> None:
    """An undo that failed counts as done from then on, with the reason in history and report."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_hotel=OSError("away"))
        execution = await workflow.execute(id="e-1")
        await test.settle()
        assert await execution.resolve("hotel", "called them") is Status.COMPENSATED
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        (event,) = (await execution.history())[-1:]
        assert (event.type, event.reason) == ("ResolveRequested", "hotel: called them")
        entry = (await execution.report()).find("hotel", "undo")
        assert entry is not None
        assert (entry.status, entry.reason) == (Status.SKIPPED, "resolved: called them")
        assert await app.client.ask("list", {"incidents": True}) == []


async def test_what_cannot_be_resolved_is_refused() -> None:
    """There has to be a reason, a step, and an undo of it that failed."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_hotel=OSError("away"))
        execution = await workflow.execute(id="e-1")
        await test.settle()
        with pytest.raises(InvalidInput, match="reason"):
            await execution.resolve("hotel", " ")
        with pytest.raises(InvalidInput, match="step"):
            await execution.resolve("", "done")
        with pytest.raises(UnknownStep, match="'hotle'"):
            await execution.resolve("hotle", "done")
        with pytest.raises(NotPossible, match="undo of steps/flight is SUCCESS"):
            await execution.resolve("flight", "done")
        assert await execution.resolve("steps/hotel", "done") is Status.COMPENSATED


async def test_an_abort_with_compensation_waits_for_what_runs() -> None:
    """What a handler has done by then is undone once it is known, and the rest with it."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, hotel=NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        status = await execution.abort("not wanted", compensate=True)
        assert status is Status.COMPENSATING
        with pytest.raises(ExecutionCompensated, match="not wanted"):
            await execution.result()
        assert made(test) == ["book.flight", "book.hotel", "undo.hotel", "undo.flight"]
        (event,) = [each for each in await execution.history() if each.type == "AbortRequested"]
        assert event.reason == "with compensation: not wanted"


async def test_an_abort_leaves_what_ran_unless_told_otherwise() -> None:
    """An abort alone undoes nothing; it can be undone by hand later, as a whole or in part."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        assert await execution.abort("enough") is Status.ABORTED
        with pytest.raises(ExecutionAborted):
            await execution.result()
        await test.settle()
        assert made(test) == FORWARD
        await execution.undo("hotel")
        with pytest.raises(ExecutionAborted):
            await execution.result()
        assert made(test)[3:] == ["undo.car", "undo.hotel"]
        await execution.undo()
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert made(test)[5:] == ["undo.flight"]


async def test_a_success_is_undone_by_hand() -> None:
    """What has succeeded can be taken back; its steps may be named by ids, paths, or as steps."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test)
        execution = await workflow.execute(id="e-1")
        assert await execution.result() == "car"
        await execution.undo("steps/hotel", "car")
        with pytest.raises(ExecutionFailed, match="StepsUndone"):
            await execution.result()
        assert made(test)[3:] == ["undo.car", "undo.hotel"]
        with pytest.raises(UnknownStep, match="'hotle'"):
            await execution.undo("hotle")
        await execution.undo(reason="all of it")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert await execution.undo() is Status.COMPENSATED
        assert made(test)[3:] == BACKWARD


async def test_a_command_is_obeyed_once() -> None:
    """The same command again is answered as it was the first time, and undoes nothing twice."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_hotel=OSError("away"))
        await workflow.execute(id="e-1")
        await test.settle()
        asked = {"command": "c-1"}
        for _ in range(3):
            assert await app.client.ask("undo", asked, "e-1") == {"status": "COMPENSATING"}
            await test.settle()
        assert made(test)[6:] == ["undo.hotel"]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("abort", {"compensate": "yes"}),
        ("undo", {"steps": "hotel"}),
        ("undo", {"steps": [1]}),
        ("resolve", {"step": "hotel"}),
        ("suspend", {"clock": "stopped"}),
    ],
)
async def test_arguments_are_checked(verb: str, arguments: dict[str, Any]) -> None:
    """What makes no sense is refused, and nothing is done."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        with pytest.raises(InvalidInput):
            await app.client.ask(verb, arguments, "e-1")
        assert await execution.status() is Status.RUNNING


async def test_what_is_being_undone_is_left_alone() -> None:
    """It is neither suspended, resumed, aborted nor deleted; asking again changes nothing."""
    app, workflow = trip()
    gate = asyncio.Event()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_flight=behind(gate))
        execution = await workflow.execute(id="e-1")
        await test.settle()
        for refused in (execution.suspend, execution.resume, execution.abort, execution.delete):
            with pytest.raises(NotPossible, match="COMPENSATING"):
                await refused()
        assert await execution.abort(compensate=True) is Status.COMPENSATING
        (row,) = await app.executions.list(status=["compensating"])
        assert row["ended_ms"] is None
        gate.set()
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert made(test) == [*FORWARD, *BACKWARD]


async def test_modes_may_be_chosen_at_the_start() -> None:
    """An execution says for itself what its failures lead to, and so does one failed undo."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test, car=NO, undo_hotel=OSError("away"))
        stopped = await workflow.execute(id="e-1", on_error="stop")
        with pytest.raises(ExecutionFailed):
            await stopped.result()
        assert made(test) == FORWARD
        halted = await workflow.execute(id="e-2", on_undo_error="stop")
        with pytest.raises(ExecutionFailed):
            await halted.result()
        assert made(test)[6:] == ["undo.car", "undo.hotel"]
        report = await halted.report()
        assert (report.on_error, report.on_undo_error) == ("compensate", "stop")


async def test_undos_are_tried_again_like_any_step() -> None:
    """An undo with a policy of its own waits between attempts while nothing else is running."""
    app = Flow("world", broker="memory://", store="memory://")
    retry = RetryPolicy(max_attempts=3, initial=5.0, jitter=0.0)
    step: Step[Any] = Step.call("book.car", undo=Step.call("undo.car", retry=retry))
    workflow = app.workflow("w", step, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("book.car", NO)
        test.stub("undo.car", [OSError("away"), OSError("away"), None])
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        undos = test.calls("undo.car")
        assert [call.attempt for call in undos] == [1, 2, 3]
        assert {call.idempotency_key for call in undos} == {"e-1:steps/car/undo"}
        assert test.clock.monotonic() >= 10


async def test_who_waits_for_good_is_told_of_each_end() -> None:
    """A waiter in the store is told of the failure, and again when a person resolves the undo."""
    app, _ = trip()
    async with FlowHarness(app) as test, plain_client(test) as client:
        stub_trip(test, car=NO, undo_hotel=OSError("away"))
        asked = await client.trigger("trip", b"1", {"flow-id": "e-1", "flow-wait": "result"})
        await test.settle()
        await client.ask("resolve", "e-1", step="hotel", reason="done")
        await test.settle()
        ends = [answer["status"] for _, answer in client.answers_to(asked)]
        assert ends == ["FAILURE", "COMPENSATED"]


async def test_plain_messages_abort_and_undo() -> None:
    """Any AMQP client can abort with compensation, undo, and resolve."""
    app, workflow = trip()
    async with FlowHarness(app) as test, plain_client(test) as client:
        stub_trip(test, car=NEVER, undo_hotel=[OSError("away"), OSError("away")])
        await workflow.execute(id="e-1")
        await test.settle()
        asked = [await client.ask("abort", "e-1", compensate=True)]
        await test.advance(70)
        asked.append(await client.ask("undo", "e-1", steps=["hotel"], command="again"))
        await test.settle()
        asked.append(await client.ask("resolve", "e-1", step="hotel", reason="by hand"))
        await test.settle()
        answers = [answer["status"] for each in asked for _, answer in client.answers_to(each)]
        assert answers == ["COMPENSATING", "COMPENSATING", "COMPENSATED"]
