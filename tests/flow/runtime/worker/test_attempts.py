"""Tests of `worker.attempts`; how a worker uses them is in `test_worker*.py`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from flow.context import StepContext
from flow.ports import Envelope
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.attempts import COPIES_MAX, Attempt, Ending, Hand
from tests.flow.runtime.clocks import ManualClock, make_ports, settle
from tests.flow.runtime.worker_bench import Noted, request, step_with_context


def make(
    function: Callable[..., Any], clock: ManualClock | None = None, **fields: Any
) -> tuple[Attempt, list[bytes]]:
    """Return an attempt, and the list that its heartbeats go to."""
    beats = list[bytes]()

    def beat(_request: StepRequest, body: bytes) -> None:
        beats.append(body)

    hand = Hand(Noted())
    ports = make_ports(clock)
    return Attempt(request(**fields), step_with_context(function), hand, ports, beat), beats


async def run(attempt: Attempt) -> StepReply | Ending:
    """Run an attempt as a worker does."""
    reply = None
    with attempt.scope:
        reply = await attempt.run()
    return attempt.result(reply)


async def charge(value: int, context: StepContext) -> int:
    """Answer with the value."""
    del context
    return value


async def test_it_runs_once_and_leaves_no_timer() -> None:
    """A handler's result is the reply, and its time is not measured any more."""
    clock = ManualClock()
    attempt, _ = make(charge, clock)
    assert await run(attempt) == StepReply(
        outcome=Outcome.SUCCESS, body=b"5", headers={"made-by": "fake"}
    )
    assert clock.armed == 0


async def test_it_may_be_cancelled_before_it_runs() -> None:
    """An attempt that was cancelled or given up before it began does not call the handler."""
    for end, ending in ((Attempt.cancel, Ending.CANCELLED), (Attempt.abandon, Ending.ABANDONED)):
        called = list[int]()

        async def note(value: int, context: StepContext, called: list[int] = called) -> None:
            await asyncio.sleep(0)
            called.append(value)
            del context

        attempt, _ = make(note)
        end(attempt)
        assert await run(attempt) is ending
        assert called == []


async def test_what_comes_after_its_end_changes_nothing() -> None:
    """Cancelling an attempt that has ended leaves its reply as it is."""
    attempt, _ = make(charge)
    reply = await run(attempt)
    attempt.cancel()
    assert attempt.result(reply if isinstance(reply, StepReply) else None) == reply


async def test_a_stopped_worker_tells_the_handler() -> None:
    """When the task is cancelled, CancelledError leaves and the context says so."""
    contexts = list[StepContext]()

    async def wait(_value: int, context: StepContext) -> None:
        contexts.append(context)
        await asyncio.Event().wait()

    attempt, _ = make(wait)
    async with TaskGroup() as group:
        task = group.start(_ignore(attempt), "attempt")
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
    assert contexts[0].cancelled


async def _ignore(attempt: Attempt) -> None:
    await run(attempt)


async def test_heartbeats_are_limited_and_checked(caplog: pytest.LogCaptureFixture) -> None:
    """One heartbeat a second is passed on, with null for what JSON cannot hold."""
    clock = ManualClock()

    async def beat(_value: int, context: StepContext) -> None:
        for progress in (0.1, 0.2):
            context.heartbeat(progress)
        await clock.advance(1.0)
        context.heartbeat(object())
        await clock.advance(1.0)
        context.heartbeat()

    attempt, beats = make(beat, clock)
    caplog.set_level(logging.WARNING)
    await run(attempt)
    assert beats == [b"0.1", b"null", b"null"]
    assert "order-1 steps/charge #1: the progress is not shown" in caplog.text


async def test_a_hand_is_settled_once() -> None:
    """All deliveries are settled together, and a second settlement does nothing."""
    first, second = Noted(), Noted(Envelope("", b"1", "m2"))
    hand = Hand(first)
    hand.join(second)
    hand.ack()
    hand.requeue()
    hand.reject()
    assert (first.settled, second.settled) == (["ack"], ["ack"])


async def test_copies_that_come_again_are_all_settled() -> None:
    """Two copies of a message that both come over a new connection are settled, and so is all."""
    first, again, other = Noted(), Noted(redelivered=True), Noted(redelivered=True)
    hand = Hand(first)
    hand.join(again)
    hand.join(other)
    hand.ack()
    assert [each.settled for each in (first, again, other)] == [["ack"]] * 3


async def test_only_the_last_copies_are_kept() -> None:
    """A request that comes again and again, over connections that are lost, takes little memory."""
    hand = Hand(first := Noted())
    others = [Noted(redelivered=True) for _ in range(COPIES_MAX)]
    for other in others:
        hand.join(other)
    hand.reject()
    assert first.settled == []
    assert all(other.settled == ["reject"] for other in others)


def test_a_hand_is_empty_once_it_was_settled() -> None:
    """Whoever settles a request settles all its deliveries, and nobody settles them again."""
    first, second, alone = Noted(), Noted(), Noted()
    hand, other = Hand(first), Hand(alone)
    hand.join(second)
    hand.ack()
    other.ack()
    for each in (hand, other):
        each.ack()
        each.requeue()
        assert each.take() == []
    assert [each.settled for each in (first, second, alone)] == [["ack"]] * 3
