"""Tests of `worker.worker`: requests, replies, and who settles what when."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from flow.context import StepContext
from flow.errors import TooLarge
from flow.handler import bind
from flow.names import BODY_LIMIT
from flow.ports import Envelope, Settlement
from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.service import Endpoint, WorkerSettings
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker_bench import (
    MAILBOX,
    Noted,
    Shop,
    request,
    step,
    step_with_context,
)


async def double(value: int) -> int:
    """Answer with twice the value."""
    return 2 * value


async def test_a_request_is_answered_and_settled() -> None:
    """The reply carries the request's correlation id, and the request leaves its queue."""
    async with Shop(step(double)).open() as shop:
        await shop.ask(request(headers={"lang": "en"}))
        assert [each.correlation_id for each in shop.arrived] == ["order-1/1/2/1"]
        assert shop.replies() == [
            StepReply(outcome=Outcome.SUCCESS, body=b"10", headers={"made-by": "fake"})
        ]
        assert shop.in_queue() == (0, 0)
        assert shop.worker.snapshot().answered == 1
        assert shop.worker.snapshot().is_open


async def test_a_bound_handler_serves_too() -> None:
    """What `flow.handler.bind` makes is a handler: its validation becomes a failure for good."""

    def charge(amount: int, context: StepContext) -> str:
        return f"{context.path} {amount}"

    endpoint = Endpoint("pay.charge", bind(charge).handler)
    async with Shop(endpoint).open() as shop:
        await shop.ask(request(1), request(2, body=b'"much"'))
        good, bad = shop.replies()
        assert good.body == b'"steps/charge 5"'
        assert bad.failure is not None
        assert (bad.failure.type, bad.retryable) == ("flow.errors.InvalidInput", False)


async def test_a_request_is_acked_after_its_reply_was_confirmed() -> None:
    """While the broker has not confirmed the reply the request stays unsettled."""
    shop = Shop(step(double))
    async with shop.open():
        shop.broker.gate.clear()
        await shop.ask(request())
        assert shop.types() == ["step.reply"]
        assert shop.in_queue() == (0, 1)
        assert shop.worker.snapshot().answered == 0
        shop.broker.gate.set()
        await settle()
        assert shop.in_queue() == (0, 0)


@pytest.mark.parametrize("settlement", [Settlement.REFUSED, Settlement.UNROUTABLE])
async def test_a_reply_that_the_broker_does_not_take_is_sent_again(settlement: Settlement) -> None:
    """A refused or returned reply is tried again later, and the request is kept meanwhile."""
    shop = Shop(step(double))
    async with shop.open():
        shop.broker.settlements = [settlement, settlement]
        await shop.ask(request())
        assert (shop.arrived, shop.in_queue()) == ([], (0, 1))
        await shop.clock.advance(1.0)
        assert len(shop.replies()) == 1
        assert shop.in_queue() == (0, 0)


async def test_a_reply_waits_until_the_broker_is_back() -> None:
    """While the broker takes nothing, the handler does not run again and nothing is lost."""
    ran = list[int]()

    async def charge(value: int) -> None:
        ran.append(value)

    shop = Shop(step(charge))
    async with shop.open():
        shop.broker.down = True
        await shop.ask(request())
        await shop.clock.advance(3600)
        assert (ran, shop.in_queue()) == ([5], (0, 1))
        shop.broker.down = False
        await shop.clock.advance(10)
        assert (ran, len(shop.replies()), shop.in_queue()) == ([5], 1, (0, 0))


async def test_nobody_waits_for_the_replies_of_a_dead_client() -> None:
    """Replies to a queue that stays away are given up, the next ones to it at once."""
    settings = WorkerSettings(unroutable_s=30)
    async with Shop(step(double), settings=settings).open() as shop:
        await shop.ask(request(1, reply_to="shop.reply.gone"))
        await shop.clock.advance(29)
        assert shop.in_queue() == (0, 1)
        await shop.clock.advance(12)
        assert shop.in_queue() == (0, 0)
        await shop.ask(request(2, reply_to="shop.reply.gone"))
        assert shop.in_queue() == (0, 0)
        assert shop.worker.snapshot().unanswered == 2
        await shop.listen("shop.reply.gone")
        await shop.ask(request(1, reply_to="shop.reply.gone"))
        assert len(shop.replies()) == 1


async def test_a_request_without_reply_to_is_just_done() -> None:
    """A request that nobody waits for runs and is acked, even when its reply would be saved."""
    ran = list[int]()

    async def charge(value: int) -> None:
        ran.append(value)

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request(reply_to=""), request(reply_to=""))
        await shop.ask(request(reply_to=""))
        assert (ran, shop.arrived, shop.in_queue()) == ([5], [], (0, 0))


async def test_an_unknown_endpoint_is_refused() -> None:
    """A request for an endpoint of another version is answered so, and consumes no attempt."""
    async with Shop(step(double)).open() as shop:
        await shop.ask(request(endpoint="pay.none"))
        (refusal,) = shop.arrived
        assert (refusal.type, refusal.correlation_id) == ("step.refused", "order-1/1/2/1")
        assert refusal.headers["flow-endpoint"] == "pay.none"
        assert b"UnknownEndpoint" in refusal.body
        assert (shop.worker.snapshot().refused, shop.in_queue()) == (1, (0, 0))
        await shop.ask(request(endpoint="pay.none", reply_to=""))
        assert shop.in_queue("shop.dead") == (1, 0)


@pytest.mark.parametrize(
    "headers", [{"flow-timeout": "soon"}, {"flow-attempt": "0"}, {"flow-timeout": "-1"}]
)
async def test_an_undecodable_request_is_answered_with_a_failure(headers: dict[str, str]) -> None:
    """Whoever waits is told that no attempt can help; without anybody it is dead-lettered."""
    async with Shop(step(double)).open() as shop:
        await shop.put(Envelope("step.request", b"5", "m1", "c1", MAILBOX, headers))
        (reply,) = shop.replies()
        assert reply.failure is not None
        assert (reply.failure.type, reply.retryable) == ("flow.errors.CorruptRecord", False)
        await shop.put(Envelope("step.request", b"5", "m2", "c2", "", headers))
        assert (shop.in_queue(), shop.in_queue("shop.dead")) == ((0, 0), (1, 0))
        assert shop.worker.snapshot().rejected == 2


@pytest.mark.parametrize(
    ("kind", "reply_to"),
    [("step.request", "bank.mailbox.0"), ("step.request", "shop"), ("step.reply", MAILBOX)],
)
async def test_what_is_no_request_of_ours_is_dead_lettered(kind: str, reply_to: str) -> None:
    """A reply is not work, and no reply leaves the namespace."""
    ran = list[int]()

    async def charge(value: int) -> None:
        ran.append(value)

    async with Shop(step(charge)).open() as shop:
        await shop.put(Envelope(kind, b"5", "m1", "c1", reply_to))
        assert (ran, shop.arrived) == ([], [])
        assert (shop.in_queue(), shop.in_queue("shop.dead")) == ((0, 0), (1, 0))


async def test_a_request_of_a_plain_client_needs_little() -> None:
    """Without type, headers and ids a request is served by its routing key, each time."""
    ran = list[int]()

    async def charge(value: int) -> None:
        ran.append(value)

    async with Shop(step(charge)).open() as shop:
        await shop.put(Envelope("", b"1", reply_to=MAILBOX), Envelope("", b"2", reply_to=MAILBOX))
        assert (ran, len(shop.replies())) == ([1, 2], 2)


async def test_clients_may_choose_the_same_correlation_ids() -> None:
    """Two clients that count from one get each their own answers."""
    async with Shop(step(double)).open() as shop:
        await shop.listen("shop.reply.a")
        await shop.listen("shop.reply.b")
        for client, body in (("a", b"1"), ("b", b"2")):
            queue = f"shop.reply.{client}"
            call = request(body=body, reply_to=queue, correlation="1", execution="", path="")
            await shop.ask(call)
        assert [reply.body for reply in shop.replies()] == [b"2", b"4"]


async def test_at_most_so_many_run_at_a_time() -> None:
    """The limit holds over all services, and the prefetch of each keeps the rest in its queue."""
    running, peak, may_end = 0, 0, asyncio.Event()

    async def busy(_value: int) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await may_end.wait()
        running -= 1

    endpoints = (step(busy, "pay.charge"), step(busy, "ship.send"))
    async with Shop(*endpoints, settings=WorkerSettings(concurrency=2)).open() as shop:
        await shop.ask(*(request(number) for number in range(5)))
        await shop.ask(*(request(10 + n, endpoint="ship.send") for n in range(5)))
        snapshot = shop.worker.snapshot()
        assert (peak, snapshot.running, snapshot.waiting) == (2, 2, 2)
        assert (shop.in_queue(), shop.in_queue("shop.steps.ship")) == ((3, 2), (3, 2))
        may_end.set()
        await settle(500)
        assert (peak, len(shop.replies())) == (2, 10)


async def test_the_context_tells_about_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """A handler sees who it works for, and its log lines say so too."""
    seen = list[StepContext]()

    async def charge(value: int, context: StepContext) -> None:
        seen.append(context)
        context.logger.info("charging %d", value)

    caplog.set_level(logging.INFO, "flow.step")
    async with Shop(step_with_context(charge)).open() as shop:
        await shop.ask(request(correlation="order-1/1/2/3", attempt=3, headers={"lang": "en"}))
    (context,) = seen
    assert (context.endpoint, context.execution_id) == ("pay.charge", "order-1")
    assert (context.step_id, context.path, context.attempt) == ("charge", "steps/charge", 3)
    assert (context.idempotency_key, context.headers) == ("order-1:steps/charge", {"lang": "en"})
    assert not context.cancelled
    assert caplog.messages == ["order-1 steps/charge #3: charging 5"]


async def test_the_start_is_told_before_the_handler_runs() -> None:
    """Where somebody waits for it, `step.started` is confirmed before the handler begins."""
    told = list[list[str]]()
    shop = Shop()

    async def charge(_value: int) -> None:
        await settle()
        told.append(shop.types())

    shop = Shop(step(charge))
    async with shop.open():
        await shop.ask(request(tell_start=True))
        await settle(200)
        assert told == [["step.started"]]
        assert shop.types() == ["step.started", "step.reply"]


async def test_a_start_that_cannot_be_told_stops_nobody() -> None:
    """The handler runs although the broker did not take `step.started`."""
    shop = Shop(step(double))
    async with shop.open():
        shop.broker.down = True
        await shop.ask(request(tell_start=True))
        shop.broker.down = False
        await shop.clock.advance(10)
        assert shop.types() == ["step.reply"]


async def test_heartbeats_are_passed_on_once_a_second() -> None:
    """However often a handler beats, one a second leaves the worker, and none for plain calls."""

    async def charge(_value: int, context: StepContext) -> None:
        for number in range(3):
            context.heartbeat({"done": number})
        await asyncio.Event().wait()

    shop = Shop(step_with_context(charge))
    async with shop.open():
        await shop.ask(request(1), request(2, execution="", path=""))
        assert [each.body for each in shop.arrived] == [b'{"done":0}']
        assert shop.types() == ["step.heartbeat"]
        assert shop.arrived[0].correlation_id == "order-1/1/2/1"


async def test_a_fault_of_ours_neither_stops_the_worker_nor_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request that we cannot serve because of a bug is dead-lettered, and the next is served."""
    async with Shop(step(double)).open() as shop:
        real = shop.worker._performer.replies.post
        calls = list[str]()

        def post(queue: str, *rest: Any, **more: Any) -> None:
            calls.append(queue)
            if len(calls) == 1:
                raise RuntimeError("a bug")
            real(queue, *rest, **more)

        monkeypatch.setattr(shop.worker._performer.replies, "post", post)
        await shop.ask(request(1), request(2))
        assert len(shop.replies()) == 1
        assert (shop.in_queue(), shop.in_queue("shop.dead")) == ((0, 0), (1, 0))
        assert (shop.worker.snapshot().running, shop.worker.snapshot().rejected) == (0, 1)


async def test_too_large_results_are_failures() -> None:
    """A result over the limit is a failure that no other attempt can mend."""

    async def charge(_value: int) -> str:
        return "x" * BODY_LIMIT

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request())
        (reply,) = shop.replies()
        assert reply.failure is not None
        assert reply.failure.type == f"flow.errors.{TooLarge.__name__}"
        assert not reply.retryable


async def test_one_queue_is_enough_for_two_workers() -> None:
    """Two workers share a service's queue, and each request is answered once."""
    first = Shop(step(double))
    second = Shop(step(double), hub=first.hub)
    async with first.open(), second.open():
        await first.ask(*(request(number) for number in range(10)))
        await settle(200)
        assert len(first.replies()) + len(second.replies()) == 10
        assert first.worker.snapshot().answered == second.worker.snapshot().answered == 5


async def test_deliveries_are_settled_once() -> None:
    """Whatever happens to a request, its delivery is settled exactly once."""
    first, second = Noted(), Noted()
    async with Shop(step(double)).open() as shop:
        shop.worker._receive(first)
        await settle()
        shop.worker._receive(second)
    assert (first.settled, second.settled) == (["ack"], ["requeue"])
