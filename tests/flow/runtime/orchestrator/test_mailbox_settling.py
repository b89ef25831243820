"""Tests of `orchestrator.mailbox`: word of attempts that were ended by force."""

from __future__ import annotations

import asyncio

import pytest

from flow import ExecutionAborted, ExecutionCompensated, Flow, Skip, Status
from flow.ports import Envelope, Publication
from flow.runtime.orchestrator.live import FIRST_SILENCE_MS
from flow.runtime.publisher import Told
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.orchestrator.test_dispatcher import engine_of
from tests.flow.runtime.orchestrator.test_publications_again import PlainWorker
from tests.flow.runtime.sagas import made, stub_trip, trip
from tests.flow.runtime.worlds import single


async def say(test: FlowHarness, request: Envelope, body: bytes, **headers: str) -> None:
    """Reply to a request as a plain worker does: `outcome="cancelled", began="0"`."""
    told = {f"flow-{name}": value for name, value in headers.items()}
    reply = Envelope("step.reply", body, correlation_id=request.correlation_id, headers=told)
    await test._broker.publish([Publication("", request.reply_to, reply)])
    await test.settle()


async def begun(app: Flow, test: FlowHarness) -> Envelope:
    """Run a trip to the hotel, which a plain worker has; return its request."""
    for endpoint in ("book.flight", "undo.flight", "undo.hotel"):
        test.stub(endpoint, None)
    worker = PlainWorker(app, test)
    await worker.serve("book.hotel")
    await app.defined["trip"].execute({"n": 1}, id="e-1")
    await test.settle()
    return next(
        each.envelope
        for each in worker.requests
        if each.envelope.headers["flow-endpoint"] == "book.hotel"
    )


@pytest.mark.parametrize(
    ("body", "headers", "undone"),
    [
        (b"null", {"outcome": "cancelled", "began": "0"}, False),
        (b"null", {"outcome": "cancelled", "began": "1"}, True),
        (b"null", {"outcome": "cancelled"}, True),
        (b'"booked"', {}, True),
        (b'"why"', {"outcome": "skip"}, True),
        (b'{"type": "E", "message": "no"}', {"outcome": "failure"}, True),
        (b'{"type": "E", "phase": "validate"}', {"outcome": "failure"}, False),
        (b'{"type": "E", "phase": "odd"}', {"outcome": "failure"}, True),
    ],
)
async def test_word_of_an_aborted_attempt_decides(
    body: bytes, headers: dict[str, str], *, undone: bool
) -> None:
    """What surely did not begin is not undone; everything else that is heard of is."""
    app, _ = trip()
    async with FlowHarness(app) as test:
        request = await begun(app, test)
        execution = app.executions.get("e-1")
        await execution.abort(compensate=True)
        await test.settle()
        assert test.calls("undo.flight") == []
        await say(test, request, body, **headers)
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert len(test.calls("undo.hotel")) == undone
        assert len(test.calls("undo.flight")) == 1
        assert test.clock.monotonic() == 0


async def test_nobody_knows_of_a_copy_that_was_sent_again() -> None:
    """Who never began cannot say so for another copy: a step that was sent twice is undone."""
    app, _ = trip()
    async with FlowHarness(app) as test:
        request = await begun(app, test)
        live = engine_of(app).residents.get("e-1")
        assert live is not None
        assert not live.has_copies
        await test.advance(FIRST_SILENCE_MS / 1000 + 1)
        assert live.has_copies
        execution = app.executions.get("e-1")
        await execution.abort(compensate=True)
        await say(test, request, b"null", outcome="cancelled", began="0")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert len(test.calls("undo.hotel")) == 1


async def test_word_is_taken_after_the_end() -> None:
    """An aborted execution hears of its attempt, though it has left the memory: it is undone so."""
    app, _ = trip()
    async with FlowHarness(app) as test:
        request = await begun(app, test)
        execution = app.executions.get("e-1")
        await execution.abort()
        await test.advance(1)
        engine_of(app).residents.forget_ended(test.clock.now_ms())
        assert engine_of(app).residents.get("e-1") is None
        await say(test, request, b'"booked"')
        assert await execution.status() is Status.ABORTED
        await execution.undo()
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert test.clock.monotonic() == 1
        assert len(test.calls("undo.hotel")) == 1


async def test_word_of_another_attempt_says_nothing() -> None:
    """Only the last attempt is settled, and only once; a copy of the word is dropped."""
    app, _ = trip(settle_within=20)
    async with FlowHarness(app) as test:
        request = await begun(app, test)
        execution = app.executions.get("e-1")
        await execution.abort(compensate=True)
        execution_id, epoch, node, number = request.correlation_id.rsplit("/", 3)
        for wrong in (f"{execution_id}/{epoch}/{node}/2", f"{execution_id}/1/{node}/{number}"):
            await say(test, request._replace(correlation_id=wrong), b"1")
        assert await execution.status() is Status.COMPENSATING
        assert test.calls("undo.hotel") == []
        for _ in range(2):
            await say(test, request, b"1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert len(test.calls("undo.hotel")) == 1


async def test_what_is_settled_is_not_cancelled_again() -> None:
    """The word of a worker that has let go of an attempt does not cancel it once more."""
    app, _ = trip()
    async with FlowHarness(app) as test:
        request = await begun(app, test)
        publisher = engine_of(app).dispatcher._publisher
        post, cancelled = publisher.post, list[str]()

        def note(publication: Publication, told: Told) -> None:
            if publication.envelope.type == "step.cancel":
                cancelled.append(publication.envelope.correlation_id)
            post(publication, told)

        publisher.post = note  # type: ignore[method-assign]
        await app.executions.get("e-1").abort()
        await say(test, request, b"null", outcome="cancelled")
        assert cancelled == [request.correlation_id]


async def test_without_an_undo_nothing_changes() -> None:
    """A late reply to a step that has no undo is dropped, and nothing is written."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        worker = PlainWorker(app, test)
        await worker.serve("work.s1")
        execution = await workflow.execute(id="e-1")
        await test.settle()
        await execution.abort()
        with pytest.raises(ExecutionAborted):
            await execution.result()
        before = len(await execution.history())
        await say(test, worker.requests[0].envelope, b"null", outcome="cancelled", began="1")
        await say(test, worker.requests[0].envelope, b"1")
        assert len(await execution.history()) == before
        assert engine_of(app).counters["Dropped"] == 2


async def test_a_handler_that_finishes_late_is_undone_with_its_result() -> None:
    """A handler that does not let itself be cancelled ends in its own time; its undo waits."""
    app, workflow = trip()
    gate = asyncio.Event()

    async def stubborn() -> str:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            raise Skip("cancelled") from None
        return "late"

    async with FlowHarness(app) as test:
        for endpoint in ("book.flight", "undo.flight", "undo.hotel"):
            test.stub(endpoint, None)
        test.stub("book.hotel", stubborn)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        await execution.abort(compensate=True)
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        assert [len(test.calls(f"undo.{name}")) for name in ("hotel", "flight")] == [1, 1]


async def test_an_execution_that_takes_too_long_is_taken_back() -> None:
    """The timeout of the whole interrupts what runs, and undoes it with the rest."""
    app, workflow = trip(timeout=10)
    async with FlowHarness(app) as test:
        stub_trip(test, hotel=NEVER)
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated, match="within its timeout"):
            await execution.result()
        assert made(test) == ["book.flight", "book.hotel", "undo.hotel", "undo.flight"]
        assert test.clock.monotonic() == 10
