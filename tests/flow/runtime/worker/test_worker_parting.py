"""Tests of `worker.worker`: what is told of attempts that were cancelled, and when."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flow.clock import SystemThreads
from flow.context import StepContext
from flow.kept import Kept
from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.service import WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.cancellations import Cancellation
from flow.verdict import Skip
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker_bench import Noted, Shop, request, step, step_with_context

BEGAN = StepReply(Outcome.CANCELLED, began=True)
NEVER_BEGAN = StepReply(Outcome.CANCELLED, began=False)
CANCEL = Cancellation(correlation="order-1/1/2/1").envelope("c")


class Stubborn:
    """A handler that waits, and cleans up for as long as a test wants when it is cancelled.

    Args:
        end: What it returns, or raises, then; None to pass the cancellation on.
    """

    def __init__(self, end: object = None) -> None:
        self.end = end
        self.ran = 0
        self.may_end = asyncio.Event()

    async def charge(self, _value: int) -> object:
        """Wait for ever, and then for the test."""
        self.ran += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.may_end.wait()
            if self.end is None:
                raise
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


class InThread:
    """A synchronous handler, which goes on when it is cancelled.

    Args:
        end: What it returns or raises in the end.
    """

    def __init__(self, end: object) -> None:
        self.end = end
        self.began, self.may_end = threading.Event(), threading.Event()

    def charge(self, _value: int, context: StepContext) -> object:
        """Wait for the test."""
        self.began.set()
        self.may_end.wait(20)
        context.state["left"] = context.cancelled
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


def next_reply(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return what is set when the worker replies."""
    posted, real = asyncio.Event(), shop.worker._performer.replies.post

    def post(*what: Any, **more: Any) -> None:
        posted.set()
        real(*what, **more)

    monkeypatch.setattr(shop.worker._performer.replies, "post", post)
    return posted


async def _wait(threads: SystemThreads, gate: threading.Event) -> None:
    await threads.run(lambda: gate.wait(20))


async def test_nothing_is_told_before_the_handler_has_ended() -> None:
    """While a cancelled handler cleans up it may still do something; then it is over."""
    handler = Stubborn()
    async with Shop(step(handler.charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(CANCEL)
        assert (shop.replies(), shop.in_queue()) == ([], (0, 1))
        handler.may_end.set()
        await settle()
        assert (shop.replies(), shop.in_queue()) == ([BEGAN], (0, 0))


async def test_a_result_that_comes_all_the_same_counts() -> None:
    """A handler that ignores the cancellation has an outcome: a result, or its own Skip."""
    for end, outcome in ((7, Outcome.SUCCESS), (Skip("done before"), Outcome.SKIP)):
        handler = Stubborn(end)
        handler.may_end.set()
        async with Shop(step(handler.charge)).open() as shop:
            await shop.ask(request())
            await shop.cancel(CANCEL)
            assert [reply.outcome for reply in shop.replies()] == [outcome]
            assert shop.worker.snapshot().cancelled == 0


async def test_an_error_on_the_way_out_is_a_cancellation() -> None:
    """What a cancelled handler raises says nothing; that it began does."""
    handler = Stubborn(ValueError("on the way out"))
    handler.may_end.set()
    async with Shop(step(handler.charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(CANCEL)
        assert shop.replies() == [BEGAN]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        ("late", Outcome.SUCCESS),
        (Skip("known"), Outcome.SKIP),
        (ValueError("no"), Outcome.CANCELLED),
        (object(), Outcome.CANCELLED),
    ],
)
async def test_a_thread_is_told_of_when_it_has_ended(
    end: object, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler in a thread goes on: its turn is free, and its end is told once it has come."""
    handler, threads = InThread(end), SystemThreads()
    shop = Shop(step_with_context(handler.charge), threads=threads)
    async with shop.open():
        posted = next_reply(shop, monkeypatch)
        await shop.ask(request())
        await threads.run(lambda: handler.began.wait(20))
        await shop.cancel(CANCEL)
        await shop.ask(request())
        assert (shop.replies(), shop.in_queue()) == ([], (0, 0))
        assert shop.worker.snapshot().running == 0
        handler.may_end.set()
        await posted.wait()
        await settle()
        (reply,) = shop.replies()
        assert (reply.outcome, reply.began) == (outcome, True)
        assert shop.worker._performer.replying == 0
        assert reply.kept == Kept({"left": b"true"})


async def test_a_cancelled_handler_leaves_its_state() -> None:
    """What a handler has kept before it was cancelled goes with the word of that."""

    async def charge(_value: int, context: StepContext) -> None:
        context.state["booked"] = 7
        context.shared["room"] = 8
        context.attach("seen", value=True)
        await asyncio.Event().wait()

    async with Shop(step_with_context(charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(CANCEL)
        (reply,) = shop.replies()
        kept = Kept({"booked": b"7"}, metadata={"seen": b"true"})
        assert reply == BEGAN._replace(kept=kept)


async def test_a_thread_that_never_began_is_told_of_at_once() -> None:
    """Who is cancelled while it waits for a thread has not begun, and never will."""
    threads, gate = SystemThreads(limit=1), threading.Event()
    ran = list[int]()

    def charge(value: int) -> None:
        ran.append(value)

    async with Shop(step(charge), threads=threads).open() as shop:
        async with TaskGroup() as group:
            blocker = group.start(_wait(threads, gate), "blocker")
            await settle()
            await shop.ask(request())
            await shop.cancel(CANCEL)
            assert shop.replies() == [NEVER_BEGAN]
            gate.set()
            await blocker
        assert ran == []


async def test_a_drain_waits_for_a_thread_that_was_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that stops waits for what it still has to tell of."""
    handler, threads = InThread("late"), SystemThreads()
    async with Shop(step_with_context(handler.charge), threads=threads).open() as shop:
        posted = next_reply(shop, monkeypatch)
        await shop.ask(request())
        await threads.run(lambda: handler.began.wait(20))
        await shop.cancel(CANCEL)
        async with TaskGroup() as group:
            draining = group.start(shop.worker.drain(), "drain")
            await settle()
            assert not draining.done()
            handler.may_end.set()
            await posted.wait()
            await draining
        await settle()
        assert [reply.body for reply in shop.replies()] == [b'"late"']


@pytest.mark.parametrize(
    ("is_again", "redelivered", "expected"),
    [(False, False, [NEVER_BEGAN]), (True, False, []), (False, True, []), (True, True, [])],
)
async def test_only_who_has_the_only_copy_says_that_it_never_began(
    is_again: bool,  # noqa: FBT001
    redelivered: bool,  # noqa: FBT001
    expected: list[StepReply],
) -> None:
    """Another copy of a request that was sent or delivered before may run elsewhere."""
    handler = Stubborn()
    for is_before in (True, False):
        settings = WorkerSettings(concurrency=1)
        async with Shop(step(handler.charge), settings=settings).open() as shop:
            shop.worker._performer._turns._free = 0
            asked = request(is_again=is_again).envelope("m1")
            delivery = Noted(asked, redelivered=redelivered)
            if is_before:
                await shop.cancel(CANCEL)
            shop.worker._receive(delivery)
            await settle()
            if not is_before:
                assert shop.worker.snapshot().waiting == 1
                await shop.cancel(CANCEL)
            assert (shop.replies(), delivery.settled) == (expected, ["ack"])
            assert handler.ran == 0


async def test_a_copy_that_began_is_told_of_whatever_it_is() -> None:
    """Of a handler that has started here it is known, however often its request came."""
    handler = Stubborn()
    handler.may_end.set()
    async with Shop(step(handler.charge)).open() as shop:
        await shop.ask(request(is_again=True))
        await shop.cancel(CANCEL)
        assert shop.replies() == [BEGAN]


async def test_what_was_told_is_told_again() -> None:
    """A copy that comes after the end gets the same word: it began here, or it was done."""
    handler = Stubborn()
    handler.may_end.set()
    async with Shop(step(handler.charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(CANCEL)
        await shop.ask(request(is_again=True))
        assert shop.replies() == [BEGAN, BEGAN]
        assert (handler.ran, shop.in_queue()) == (1, (0, 0))


async def test_a_reply_of_before_is_sent_again_to_who_has_cancelled() -> None:
    """A step that was done before it was cancelled is known to be done."""

    async def charge(value: int) -> int:
        return value

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(CANCEL)
        await shop.ask(request(is_again=True))
        assert [reply.body for reply in shop.replies()] == [b"5", b"5"]


async def test_a_copy_that_comes_while_it_ends_is_settled_with_it() -> None:
    """While a cancelled handler cleans up, a copy of its request waits for the same end."""
    handler = Stubborn()
    async with Shop(step(handler.charge)).open() as shop:
        await shop.ask(request())
        await shop.cancel(CANCEL)
        await shop.ask(request())
        assert (shop.replies(), shop.in_queue()) == ([], (0, 2))
        handler.may_end.set()
        await settle()
        assert (shop.replies(), shop.in_queue(), handler.ran) == ([BEGAN], (0, 0), 1)
