"""Tests of `worker.worker`: draining, stopping, and lost connections."""

from __future__ import annotations

import asyncio
import logging
import signal

import pytest

from flow.errors import ConfigurationError
from flow.ports import Exchange, Topology
from flow.runtime.service import WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.cancellations import Cancellation
from flow.runtime.worker.worker import CLEANUP_S
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker.test_worker_cancelling import Slow
from tests.flow.runtime.worker_bench import Noted, Shop, request, step, step_with_context


async def test_draining_lets_handlers_end() -> None:
    """A worker that drains takes nothing more, answers what runs, and then ends."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop, TaskGroup() as group:
        await shop.ask(request(1))
        draining = group.start(shop.worker.drain(), "drain")
        await settle()
        await shop.ask(request(2))
        assert (shop.in_queue(), draining.done()) == ((1, 1), False)
        assert not shop.worker.snapshot().is_open
        slow.may_end.set()
        await draining
        assert (slow.ended, len(shop.replies()), shop.in_queue()) == (["done"], 1, (1, 0))
        assert shop.worker.snapshot().running == 0
        await shop.worker.drain()


async def test_draining_gives_back_what_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    """After its time a running handler is cancelled, and its request goes back unanswered."""
    slow = Slow()
    settings = WorkerSettings(drain_s=5)
    caplog.set_level(logging.WARNING)
    shop = Shop(step_with_context(slow.charge), settings=settings)
    async with shop.open(), TaskGroup() as group:
        await shop.ask(request(1))
        draining = group.start(shop.worker.drain(), "drain")
        await shop.clock.advance(4.9)
        assert not draining.done()
        await shop.clock.advance(0.1)
        assert draining.done()
        assert (slow.ended, shop.arrived, shop.in_queue()) == (["cancelled"], [], (1, 0))
        assert slow.contexts[0].cancelled
        assert caplog.messages == ["gave back 1 requests unanswered: 'pay.charge'"]


async def test_draining_gives_back_at_once_what_has_not_begun() -> None:
    """Requests that wait for their turn go to other workers while the rest ends."""
    slow = Slow()
    settings = WorkerSettings(concurrency=1)
    endpoints = (step(slow.charge), step(slow.charge, "ship.send"))
    async with Shop(*endpoints, settings=settings).open() as shop, TaskGroup() as group:
        await shop.ask(request(1), request(2, endpoint="ship.send"))
        draining = group.start(shop.worker.drain(), "drain")
        await settle()
        assert (shop.in_queue(), shop.in_queue("shop.steps.ship")) == ((0, 1), (1, 0))
        assert not draining.done()
        slow.may_end.set()
        await draining
        assert slow.ran == [5]


async def test_attempts_can_be_cancelled_while_the_worker_drains() -> None:
    """Cancellations are received until the end, so that draining need not wait for the unwanted."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop, TaskGroup() as group:
        await shop.ask(request(1))
        draining = group.start(shop.worker.drain(), "drain")
        await settle()
        await shop.cancel(Cancellation(correlation="order-1/1/2/1").envelope("c"))
        await draining
        assert (slow.ended, shop.in_queue()) == (["cancelled"], (0, 0))


async def test_a_reply_that_cannot_be_sent_goes_back_when_the_worker_ends() -> None:
    """What was done but not answered comes again elsewhere: at least once, as promised."""
    slow = Slow()
    slow.may_end.set()
    shop = Shop(step(slow.charge), settings=WorkerSettings(drain_s=5))
    async with shop.open(), TaskGroup() as group:
        shop.broker.down = True
        await shop.ask(request(1))
        draining = group.start(shop.worker.drain(), "drain")
        await shop.clock.advance(5 + CLEANUP_S)
        assert draining.done()
        assert (slow.ended, shop.in_queue()) == (["done"], (1, 0))


async def test_requests_that_arrive_while_it_closes_go_back() -> None:
    """A request goes back whether it comes just before the worker drains, meanwhile, or after."""
    slow = Slow()
    before, meanwhile, after = Noted(), Noted(), Noted()
    async with Shop(step(slow.charge)).open() as shop:
        shop.worker._receive(before)
        shop.worker._is_draining = True
        shop.worker._receive(meanwhile)
        await settle()
        assert (before.settled, meanwhile.settled) == ([], [])
        await shop.worker.drain()
        shop.worker._receive(after)
    assert [before.settled, meanwhile.settled, after.settled] == [["requeue"]] * 3
    assert slow.ran == []


async def test_stopping_gives_requests_back() -> None:
    """A worker whose task is cancelled requeues what it has not answered, in any state."""
    slow = Slow()
    shop = Shop(step(slow.charge), settings=WorkerSettings(concurrency=1))
    async with shop.open():
        await shop.ask(request(1), request(2))
        assert shop.in_queue() == (1, 1)
    assert slow.ended == ["cancelled"]
    assert shop.in_queue() == (2, 0)
    assert shop.arrived == []


async def test_a_request_comes_again_after_the_connection_was_lost() -> None:
    """While its handler runs on, the new delivery joins it, and the reply settles that."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        await shop.ask(request())
        await shop.reconnect()
        assert (slow.ran, shop.in_queue()) == ([5], (0, 1))
        slow.may_end.set()
        await settle()
        assert (slow.ran, len(shop.replies()), shop.in_queue()) == ([5], 1, (0, 0))
        assert shop.worker.snapshot().joined == 1


async def test_a_reply_is_repeated_when_the_ack_was_lost() -> None:
    """A request whose ack did not get through comes again, and gets the saved reply."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge)).open() as shop:
        shop.broker.gate.clear()
        await shop.ask(request())
        shop.hub.cut()
        shop.broker.gate.set()
        await settle()
        assert (len(shop.replies()), shop.in_queue()) == (1, (1, 0))
        await shop.broker.open()
        await settle()
        assert (slow.ran, len(shop.replies()), shop.in_queue()) == ([5], 2, (0, 0))
        assert shop.worker.snapshot().repeated == 1


async def test_a_crashed_worker_s_request_runs_elsewhere() -> None:
    """When a worker dies in the middle, another one runs the handler again."""
    dead, alive = Slow(), Slow()
    alive.may_end.set()
    first = Shop(step(dead.charge))
    async with first.open():
        await first.ask(request())
        await first.broker.close()
        async with Shop(step(alive.charge), hub=first.hub).open() as second:
            await settle()
            assert (dead.ran, alive.ran) == ([5], [5])
            assert len(first.replies()) + len(second.replies()) == 1
            assert first.in_queue() == (0, 0)


async def test_requests_that_wait_are_dropped_with_their_connection() -> None:
    """What waits for its turn is forgotten: the broker hands it out again, so nothing piles up."""
    slow = Slow()
    settings = WorkerSettings(concurrency=1)
    endpoints = (step(slow.charge), step(slow.charge, "ship.send"))
    async with Shop(*endpoints, settings=settings).open() as shop:
        await shop.ask(request(1), request(2, endpoint="ship.send"))
        for _ in range(3):
            await shop.reconnect()
            assert (shop.worker.snapshot().running, shop.worker.snapshot().waiting) == (1, 1)
        slow.may_end.set()
        await settle()
        assert (slow.ran, len(shop.replies())) == ([5, 5], 2)


async def test_requests_that_wait_run_where_they_come_again() -> None:
    """What waited for its turn when the connection was lost, and ran elsewhere, runs only there."""
    slow, other = Slow(), Slow()
    other.may_end.set()
    settings = WorkerSettings(concurrency=1)
    endpoints = (step(slow.charge), step(slow.charge, "ship.send"))
    async with Shop(*endpoints, settings=settings).open() as shop:
        await shop.ask(request(1), request(2, endpoint="ship.send"))
        shop.hub.cut()
        await settle()
        assert (shop.worker.snapshot().running, shop.worker.snapshot().waiting) == (1, 0)
        async with Shop(step(other.charge, "ship.send"), hub=shop.hub).open():
            await settle()
            assert other.ran == [5]
        await shop.broker.open()
        slow.may_end.set()
        await shop.clock.advance(10)
        assert slow.ran == [5]
        assert shop.in_queue() == (0, 0)


async def test_it_waits_for_a_broker_that_is_away() -> None:
    """Declaring and consuming is tried again and again until the broker is there."""
    slow = Slow()
    slow.may_end.set()
    shop = Shop(step(slow.charge))
    async with shop.open(with_broker=False):
        await shop.clock.advance(300)
        assert not shop.worker.snapshot().is_open
        await shop.broker.open()
        await shop.clock.advance(10)
        assert shop.worker.snapshot().is_open
        shop.hub.cut()
        await settle()
        assert not shop.worker.snapshot().is_open
        await shop.broker.open()
        assert shop.worker.snapshot().is_open
        await shop.ask(request())
        assert len(shop.replies()) == 1


async def test_a_wrong_topology_ends_the_worker() -> None:
    """What is declared differently is a set-up that no waiting mends, and the error leaves."""
    shop = Shop()
    await shop.client.open()
    await shop.broker.open()
    await shop.client.declare(Topology(exchanges=(Exchange("shop.steps", "topic"),)))
    with pytest.raises(ConfigurationError, match=r"shop\.steps"):
        await shop.worker.run()
    await shop.worker.drain()


async def test_a_keyboard_interrupt_leaves_and_the_request_goes_back() -> None:
    """Ctrl-C is not the step's failure: the request is requeued and the interrupt goes on."""

    def _on_sigint() -> None:
        raise KeyboardInterrupt

    async def charge(_value: int) -> None:
        # This is what asyncio's runner calls when the key is pressed.
        _on_sigint()

    delivery = Noted()
    async with Shop(step(charge)).open() as shop:
        with pytest.raises(KeyboardInterrupt):
            await shop.worker._serve(delivery, None)
    assert delivery.settled == ["requeue"]


async def test_an_interrupt_of_the_handlers_own_is_its_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler that raises KeyboardInterrupt fails its step, and kills no worker."""

    def runner(_number: int) -> None:
        """Stand in for the handler of asyncio's runner."""

    monkeypatch.setattr(signal, "getsignal", runner)

    async def charge(_value: int) -> None:
        raise KeyboardInterrupt

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request())
        (reply,) = shop.replies()
        failure = reply.failure
        assert failure is not None
        assert failure.type == "builtins.KeyboardInterrupt"


async def test_an_idle_worker_has_no_timer() -> None:
    """Nothing polls: without attempts no timer waits, and after the last one neither."""
    slow = Slow()
    async with Shop(step(slow.charge)).open() as shop:
        assert shop.clock.armed == 0
        await shop.ask(request())
        assert shop.clock.armed > 0
        slow.may_end.set()
        await asyncio.sleep(0)
        await shop.clock.advance(2)
        assert shop.clock.armed == 0
