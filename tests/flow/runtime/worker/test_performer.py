"""Tests of `worker.performer`: long attempts, whose requests are acked when they begin."""

from __future__ import annotations

import pytest

from flow.ports import Settlement
from flow.runtime.protocol import Outcome
from flow.runtime.service import WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.cancellations import Cancellation
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker.test_worker_cancelling import Slow
from tests.flow.runtime.worker_bench import MAILBOX, Shop, request, step

LONG = {"heartbeat_ms": 30_000, "timeout_ms": 86_400_000}


async def test_a_long_request_is_acked_once_its_start_is_confirmed() -> None:
    """Until the broker has `step.started` the request stays unsettled, and nothing runs."""
    slow = Slow()
    shop = Shop(step(slow.charge))
    async with shop.open():
        shop.broker.gate.clear()
        await shop.ask(request(**LONG))
        assert (shop.types(), slow.ran, shop.in_queue()) == (["step.started"], [], (0, 1))
        shop.broker.gate.set()
        await settle()
        assert (slow.ran, shop.in_queue()) == ([5], (0, 0))
        slow.may_end.set()
        await settle()
        assert shop.types() == ["step.started", "step.reply"]


async def test_a_start_that_is_not_confirmed_is_told_again() -> None:
    """The handler waits until the start is known, however often the broker refuses it."""
    slow = Slow()
    shop = Shop(step(slow.charge))
    async with shop.open():
        shop.broker.settlements = [Settlement.REFUSED, Settlement.UNROUTABLE]
        await shop.ask(request(**LONG))
        assert (slow.ran, shop.in_queue()) == ([], (0, 1))
        await shop.clock.advance(5)
        assert (slow.ran, shop.in_queue(), shop.types()) == ([5], (0, 0), ["step.started"])


async def test_a_long_request_that_nobody_waits_for_stays_unsettled() -> None:
    """If there is nobody to tell, the broker keeps the request as it does for a short one."""
    slow = Slow()
    shop = Shop(step(slow.charge), settings=WorkerSettings(unroutable_s=5))
    async with shop.open():
        await shop.ask(request(1, reply_to="shop.mailbox.gone", **LONG))
        await shop.clock.advance(20)
        assert (slow.ran, shop.in_queue()) == ([5], (0, 1))


async def test_a_long_attempt_beats_by_itself() -> None:
    """Its worker gives three signs of life in each heartbeat's time, until the reply is out."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**LONG))
        await shop.clock.advance(9.9)
        assert shop.types() == ["step.started"]
        await shop.clock.advance(20.1)
        assert shop.types() == ["step.started", *["step.heartbeat"] * 3]
        assert {each.correlation_id for each in shop.arrived} == {"order-1/1/2/1"}
        shop.broker.down = True
        slow.may_end.set()
        await shop.clock.advance(40)
        shop.broker.down = False
        await shop.clock.advance(20)
        told = shop.types()
        assert told[-1] == "step.reply" or told[-2] == "step.reply"
        await shop.clock.advance(600)
        assert shop.types() == told


async def test_the_reply_of_a_long_attempt_is_never_given_up() -> None:
    """Nobody gives its request out again, so a queue that is away is waited for."""
    slow = Slow()
    shop = Shop(step(slow.charge), settings=WorkerSettings(unroutable_s=5))
    async with shop.open():
        await shop.ask(request(**LONG))
        shop.broker.settlements = [Settlement.UNROUTABLE] * 20
        slow.may_end.set()
        await shop.clock.advance(30)
        assert (shop.worker.snapshot().unanswered, shop.worker.snapshot().running) == (0, 1)
        await shop.clock.advance(400)
        assert shop.worker.snapshot().answered == 1


async def test_a_second_copy_of_a_long_request_is_acked_at_once() -> None:
    """The broker would take it back after a while, too; the handler runs once."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**LONG), request(**LONG))
        assert (slow.ran, shop.in_queue()) == ([5], (0, 0))
        assert shop.worker.snapshot().joined == 1


async def test_a_long_attempt_that_cannot_end_is_released() -> None:
    """A worker that ends tells the sender of it, because no request goes back."""
    slow = Slow()
    shop = Shop(step(slow.charge), settings=WorkerSettings(drain_s=5))
    async with shop.open(), TaskGroup() as group:
        await shop.ask(request(**LONG))
        draining = group.start(shop.worker.drain(), "drain")
        await shop.clock.advance(5)
        assert draining.done()
        assert (slow.ended, shop.in_queue()) == (["cancelled"], (0, 0))
        assert shop.types() == ["step.started", "step.released"]
        assert shop.arrived[1].correlation_id == "order-1/1/2/1"
        assert shop.worker.snapshot().released == 1


async def test_a_long_attempt_can_be_cancelled() -> None:
    """An attempt that is not wanted any more says so, and gives no more heartbeats."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**LONG))
        await shop.cancel(Cancellation(correlation="order-1/1/2/1").envelope("c"))
        await shop.clock.advance(60)
        assert (slow.ended, shop.types()) == (["cancelled"], ["step.started", "step.reply"])
        assert shop.replies()[-1].outcome is Outcome.CANCELLED


async def test_requests_do_not_wait_for_long_attempts() -> None:
    """While long attempts have every turn, what waits goes back after a while, for others."""
    slow = Slow()
    settings = WorkerSettings(concurrency=1, turn_patience_s=60)
    async with Shop(step(slow.charge), settings=settings).open() as shop:
        await shop.ask(request(1, **LONG))
        await shop.ask(request(2))
        assert (shop.in_queue(), shop.worker.snapshot().waiting) == ((0, 1), 1)
        other = Shop(step(slow.charge), hub=shop.hub)
        await shop.clock.advance(59)
        assert slow.ran == [5]
        await other.client.open()
        taken: list[bool] = []
        await other.client.consume(
            "shop.steps.pay", 5, lambda delivery: taken.append(delivery.redelivered)
        )
        await shop.clock.advance(2)
        assert taken == [True]
        await other.client.close()


async def test_requests_wait_for_short_attempts() -> None:
    """While short attempts have every turn, a request keeps its place however long it takes."""
    slow = Slow()
    settings = WorkerSettings(concurrency=1, turn_patience_s=60)
    endpoints = (step(slow.charge), step(slow.charge, "ship.send"))
    async with Shop(*endpoints, settings=settings).open() as shop:
        await shop.ask(request(1, timeout_ms=1_000_000))
        await shop.ask(request(2, endpoint="ship.send"))
        await shop.clock.advance(500)
        assert shop.in_queue("shop.steps.ship") == (0, 1)
        slow.may_end.set()
        await settle()
        assert len(shop.replies()) == 2


@pytest.mark.parametrize("beat", ["0", "-5", "soon"])
async def test_a_heartbeat_that_makes_no_sense_is_answered(beat: str) -> None:
    """A request whose header cannot be read fails for good, and nothing runs."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        envelope = request().envelope("m1")
        headers = {**envelope.headers, "flow-heartbeat": beat}
        odd = type(envelope)("step.request", b"5", "m1", "order-1/1/2/1", MAILBOX, headers)
        await shop.put(odd)
        assert (slow.ran, shop.replies()[0].retryable) == ([], False)
