"""Tests of `worker.worker`: cancellations, and requests that come twice."""

from __future__ import annotations

import asyncio
import logging

import pytest

from flow.context import StepContext
from flow.ports import Envelope
from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.service import WorkerSettings
from flow.runtime.worker.cancellations import Cancellation
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker_bench import Shop, request, step, step_with_context

CANCELLED = StepReply(Outcome.CANCELLED, began=True)
NEVER_BEGAN = StepReply(Outcome.CANCELLED, began=False)


class Slow:
    """A handler that waits until it may end."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.ended: list[str] = []
        self.contexts: list[StepContext] = []
        self.may_end = asyncio.Event()

    async def charge(self, value: int, context: StepContext | None = None) -> str:
        """Wait, and note how that ends."""
        self.ran.append(value)
        if context is not None:
            self.contexts.append(context)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return "done"


async def test_a_running_attempt_is_cancelled() -> None:
    """A cancelled attempt ends in the middle, and says so once it has ended."""
    slow = Slow()
    async with Shop(step_with_context(slow.charge)).open() as shop:
        await shop.ask(request(1), request(2))
        await shop.cancel(Cancellation(correlation="order-1/1/2/1").envelope("c"))
        assert (slow.ended, slow.contexts[0].cancelled) == (["cancelled"], True)
        assert (shop.in_queue(), shop.replies()) == ((0, 1), [CANCELLED])
        assert (shop.worker.snapshot().cancelled, shop.worker.snapshot().running) == (1, 1)
        slow.may_end.set()
        await settle()
        correlations = [each.correlation_id for each in shop.arrived]
        assert correlations == ["order-1/1/2/1", "order-2/1/2/1"]


async def test_an_execution_is_cancelled_up_to_a_run_epoch() -> None:
    """All attempts of the epoch and of those before are cancelled, but not of the next."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        epochs = [request(correlation=f"order-1/{epoch}/2/1") for epoch in (1, 2, 3)]
        await shop.ask(*epochs, request(2))
        await shop.cancel(Cancellation(execution="order-1", epoch=2).envelope("c"))
        assert slow.ended == ["cancelled", "cancelled"]
        assert shop.worker.snapshot().running == 2


async def test_a_cancelled_request_that_comes_later_is_dropped() -> None:
    """A request that was cancelled before it came is not run, for an hour, and never began."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(
        step(slow.charge), settings=WorkerSettings(cancelled_for_s=3600)
    ).open() as shop:
        await shop.cancel(Cancellation(correlation="order-1/1/2/1").envelope("c"))
        await shop.cancel(Cancellation(execution="order-2", epoch=4).envelope("d"))
        await shop.ask(request(1), request(2))
        assert (slow.ran, shop.in_queue()) == ([], (0, 0))
        assert shop.replies() == [NEVER_BEGAN] * 2
        assert shop.worker.snapshot().cancelled == 2
        await shop.clock.advance(3600)
        await shop.ask(request(2, correlation="order-2/1/3/1"))
        assert slow.ran == [5]


async def test_a_request_that_waits_for_its_turn_is_cancelled_too() -> None:
    """A request that has not begun is dropped at once, and its turn is not lost."""
    slow = Slow()
    settings = WorkerSettings(concurrency=1)
    endpoints = (step(slow.charge), step(slow.charge, "ship.send"))
    async with Shop(*endpoints, settings=settings).open() as shop:
        await shop.ask(request(1), request(2, endpoint="ship.send"))
        assert shop.worker.snapshot().waiting == 1
        await shop.cancel(Cancellation(correlation="order-2/1/2/1").envelope("c"))
        assert (shop.worker.snapshot().waiting, shop.in_queue("shop.steps.ship")) == (0, (0, 0))
        assert shop.replies() == [NEVER_BEGAN]
        slow.may_end.set()
        await shop.ask(request(3), request(4, endpoint="ship.send"))
        assert (len(slow.ran), len(shop.replies())) == (3, 4)


async def test_a_cancellation_that_comes_too_late_changes_nothing() -> None:
    """Once the handler has ended its reply is delivered."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge)).open() as shop:
        shop.broker.down = True
        await shop.ask(request())
        await shop.cancel(Cancellation(correlation="order-1/1/2/1").envelope("c"))
        shop.broker.down = False
        await shop.clock.advance(10)
        assert (len(shop.replies()), shop.in_queue()) == (1, (0, 0))


async def test_an_odd_cancellation_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """What does not say what is cancelled is acked, logged, and cancels nothing."""
    slow = Slow()
    caplog.set_level(logging.WARNING)
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(Envelope("step.cancel", b"null"))
        await shop.cancel(Envelope("hello", b"null", correlation_id="order-1/1/2/1"))
        assert shop.worker.snapshot().running == 1
        assert len(caplog.messages) == 2


async def test_a_request_that_runs_already_is_not_run_again() -> None:
    """The second delivery waits for the first, and both are settled with its reply."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(), request())
        assert (slow.ran, shop.in_queue()) == ([5], (0, 2))
        slow.may_end.set()
        await settle()
        assert (slow.ran, len(shop.replies()), shop.in_queue()) == ([5], 1, (0, 0))
        assert shop.worker.snapshot().joined == 1


async def test_a_request_that_was_answered_gets_the_same_reply() -> None:
    """The saved reply is sent again, as a message of its own, and the handler does not run."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request())
        await shop.ask(request())
        first, second = shop.arrived
        assert (slow.ran, first.body, shop.in_queue()) == ([5], second.body, (0, 0))
        assert first.message_id != second.message_id
        assert shop.worker.snapshot().repeated == 1


async def test_the_next_attempt_is_another_request() -> None:
    """A retry has a correlation id of its own, and runs."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(), request(correlation="order-1/1/2/2", attempt=2))
        assert slow.ran == [5, 5]


async def test_only_so_many_replies_are_kept() -> None:
    """A reply that was forgotten is made again: at least once, as promised."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge), settings=WorkerSettings(answered_items=1)).open() as shop:
        await shop.ask(request(1))
        await shop.ask(request(2))
        await shop.ask(request(1))
        assert slow.ran == [5, 5, 5]
