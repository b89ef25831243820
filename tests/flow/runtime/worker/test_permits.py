"""Tests of `worker.permits`: handlers that run at most once, at the worker."""

from __future__ import annotations

from typing import Any

from flow.runtime.service import WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.cancellations import Cancellation
from flow.runtime.worker.permits import PATIENCE_S
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker.test_worker_cancelling import Slow
from tests.flow.runtime.worker_bench import Shop, request, step

ONCE: dict[str, Any] = {"at_most_once": True, "heartbeat_ms": 30_000}


async def test_nothing_runs_without_a_permit() -> None:
    """The worker says who asks, keeps the request, and begins when it may; then it acks."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**ONCE))
        (asked,) = shop.arrived
        assert asked.type == "step.started"
        assert asked.correlation_id == "order-1/1/2/1"
        assert (slow.ran, shop.in_queue()) == ([], (0, 1))
        await shop.allow(asked)
        assert (slow.ran, shop.in_queue()) == ([5], (0, 0))
        slow.may_end.set()
        await settle()
        assert shop.types() == ["step.started", "step.reply"]


async def test_who_is_denied_drops_the_request() -> None:
    """Somebody else has the permit: nothing runs, nothing is answered, the request is gone."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**ONCE))
        await shop.allow(shop.arrived[0], is_granted=False)
        assert (slow.ran, shop.in_queue(), shop.types()) == ([], (0, 0), ["step.started"])
        assert shop.worker.snapshot().denied == 1
        await shop.allow(shop.arrived[0])
        assert slow.ran == []


async def test_a_permit_that_is_lost_is_asked_for_again() -> None:
    """The same name asks again and again, so that it gets the same permit again."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**ONCE))
        await shop.clock.advance(10)
        assert len(shop.arrived) >= 2
        assert len({each.headers["flow-permit"] for each in shop.arrived}) == 1
        assert len({each.message_id for each in shop.arrived}) == len(shop.arrived)
        await shop.allow(shop.arrived[-1])
        await shop.allow(shop.arrived[-1])
        assert slow.ran == [5]


async def test_every_taking_of_a_request_has_a_name_of_its_own() -> None:
    """A request that comes again after its attempt is over asks under another name."""
    slow = Slow()
    settings = WorkerSettings(answered_items=0)
    async with Shop(step(slow.charge), settings=settings).open() as shop:
        slow.may_end.set()
        await shop.ask(request(**ONCE))
        await shop.allow(shop.arrived[0])
        await shop.ask(request(**ONCE))
        first, *_, second = shop.arrived
        assert (first.type, second.type) == ("step.started", "step.started")
        assert first.headers["flow-permit"] != second.headers["flow-permit"]
        assert first.headers["flow-worker"] == second.headers["flow-worker"]
        assert slow.ran == [5]


async def test_a_second_copy_joins_the_first() -> None:
    """While it waits for the permit, the same request is not asked for twice."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**ONCE), request(**ONCE))
        assert (len(shop.arrived), shop.in_queue()) == (1, (0, 2))
        await shop.allow(shop.arrived[0])
        assert (slow.ran, shop.in_queue()) == ([5], (0, 0))


async def test_a_request_goes_back_when_nobody_answers() -> None:
    """After a while the broker would take it back; the next taking has another name."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**ONCE))
        await shop.clock.advance(PATIENCE_S + 120)
        assert len({each.headers["flow-permit"] for each in shop.arrived}) == 2
        assert (slow.ran, shop.in_queue()) == ([], (0, 1))
        await shop.allow(shop.arrived[0])
        assert slow.ran == []


async def test_an_attempt_is_cancelled_while_it_waits() -> None:
    """A cancelled attempt does not run, even if its permit comes late."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request(**ONCE))
        await shop.cancel(Cancellation(correlation="order-1/1/2/1").envelope("c"))
        assert shop.in_queue() == (0, 0)
        await shop.allow(shop.arrived[0])
        assert slow.ran == []
        assert len(shop.worker._performer.permits) == 0


async def test_a_worker_that_ends_gives_back_what_has_no_permit() -> None:
    """Without a permit the request goes to another worker; with one the sender is told."""
    slow = Slow()
    shop = Shop(step(slow.charge), settings=WorkerSettings(drain_s=5))
    async with shop.open(), TaskGroup() as group:
        await shop.ask(request(1, **ONCE), request(2, **ONCE))
        await shop.allow(shop.arrived[0])
        draining = group.start(shop.worker.drain(), "drain")
        await shop.clock.advance(6)
        assert draining.done()
        assert shop.in_queue() == (1, 0)
        released = [each.correlation_id for each in shop.arrived if each.type == "step.released"]
        assert released == ["order-1/1/2/1"]
