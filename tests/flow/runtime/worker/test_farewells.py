"""Tests of `worker.farewells`; how a worker uses them is in `test_worker_parting.py`."""

from __future__ import annotations

import asyncio

from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.worker.attempts import Attempt, Hand
from flow.runtime.worker.farewells import Farewells
from flow.runtime.worker.threaded import ThreadCall
from tests.flow.runtime.clocks import InlineThreads, make_ports
from tests.flow.runtime.worker_bench import Noted, request, step


def _forget(_request: StepRequest, _body: bytes) -> None:
    """Forget a heartbeat."""


async def charge(value: int) -> int:
    """Answer."""
    return value


def make(*, is_again: bool = False) -> tuple[Attempt, Noted]:
    """Return an attempt that has not begun, and the delivery that it came with."""
    delivery = Noted()
    asked = request(is_again=is_again)
    attempt = Attempt(asked, step(charge), Hand(delivery), make_ports(), _forget)
    attempt.key = ("name", "queue", "pay.charge")
    return attempt, delivery


async def left_in_thread() -> ThreadCall:
    """Return a call that nobody awaits any more, and that has not ended by itself yet."""

    def work() -> None:
        raise asyncio.CancelledError

    call = ThreadCall(work, lambda callback: callback(), lambda: None)
    try:
        await call.run(InlineThreads())
    except asyncio.CancelledError:
        assert call.has_begun
    # As if the function were still at work.
    call._exit = [None]
    return call


async def test_what_has_ended_is_told_at_once() -> None:
    """The reply goes out, and settles the request; nothing goes on."""
    replied = list[StepReply]()
    farewells = Farewells(lambda _attempt, reply: replied.append(reply))
    attempt, delivery = make()
    farewells.part(attempt)
    assert replied == [StepReply(Outcome.CANCELLED, began=False)]
    assert (len(farewells), delivery.settled) == (0, [])


async def test_what_is_not_known_is_not_told() -> None:
    """Of a copy that did not begin the request is settled, without a word."""
    replied = list[StepReply]()
    farewells = Farewells(lambda _attempt, reply: replied.append(reply))
    attempt, delivery = make(is_again=True)
    farewells.part(attempt)
    assert (replied, delivery.settled, len(farewells)) == ([], ["ack"], 0)


async def test_what_goes_on_is_told_later() -> None:
    """The request is settled, and the reply goes out when the thread has ended."""
    replied = list[StepReply]()
    farewells = Farewells(lambda _attempt, reply: replied.append(reply))
    attempt, delivery = make()
    call = attempt._thread = await left_in_thread()
    farewells.part(attempt)
    assert (replied, delivery.settled, len(farewells)) == ([], ["ack"], 1)
    assert attempt.key in farewells
    call._tell()
    assert replied == [StepReply(Outcome.CANCELLED, began=True)]
    assert attempt.key not in farewells


async def test_a_worker_that_has_ended_tells_nothing() -> None:
    """Nobody is there to publish a reply that comes after that."""
    replied = list[StepReply]()
    farewells = Farewells(lambda _attempt, reply: replied.append(reply))
    attempt, _ = make()
    call = attempt._thread = await left_in_thread()
    farewells.part(attempt)
    farewells.close()
    call._tell()
    assert (replied, len(farewells)) == ([], 0)
