"""Tests of `worker.worker`: how handlers end other than with a result, and in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flow.clock import SystemThreads, sleep as wait_for
from flow.context import StepContext
from flow.errors import DeadlineExceeded, Overloaded
from flow.runtime.protocol import Outcome, StepReply
from flow.verdict import Fail, Retry, Skip
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker_bench import Shop, request, step, step_with_context


def raiser(error: BaseException) -> Callable[[int], None]:
    """Return a synchronous handler that raises *error*."""

    def charge(_value: int) -> None:
        raise error

    return charge


async def reply_to(*endpoints: Any, **fields: Any) -> StepReply:
    """Return the reply of a worker to one request."""
    async with Shop(*endpoints).open() as shop:
        await shop.ask(request(**fields))
        assert shop.in_queue() == (0, 0)
        (reply,) = shop.replies()
        return reply


async def test_an_error_is_a_failure_that_another_attempt_may_mend() -> None:
    """The failure names the error, its text and where it was raised."""

    async def charge(_value: int) -> None:
        raise ValueError("too little")

    reply = await reply_to(step(charge))
    assert (reply.outcome, reply.retryable) == (Outcome.FAILURE, True)
    assert reply.failure is not None
    assert (reply.failure.type, reply.failure.message) == ("builtins.ValueError", "too little")
    assert "test_worker_failing" in reply.failure.traceback
    assert "attempts.py" not in reply.failure.traceback


async def test_skip_is_an_outcome_of_its_own() -> None:
    """A handler that has nothing to do says so, with its reason, whatever text that is."""
    reply = await reply_to(step(raiser(Skip("paid \udcff"))))
    assert (reply.outcome, reply.reason) == (Outcome.SKIP, "paid \\udcff")


async def test_fail_is_for_good() -> None:
    """A handler that says Fail gets no other attempt."""
    reply = await reply_to(step(raiser(Fail("no such card"))))
    assert (reply.outcome, reply.retryable) == (Outcome.FAILURE, False)
    assert reply.failure is not None
    assert reply.failure.message == "no such card"


@pytest.mark.parametrize(
    ("after", "expected_ms"), [(None, None), (1.5, 1500), (timedelta(minutes=1), 60_000)]
)
async def test_retry_asks_for_another_attempt(after: Any, expected_ms: int | None) -> None:
    """A handler that says Retry gets another attempt, when it wants it."""
    reply = await reply_to(step(raiser(Retry(after, "busy"))))
    assert (reply.outcome, reply.asked_to_retry) == (Outcome.FAILURE, True)
    assert (reply.retryable, reply.retry_after_ms) == (True, expected_ms)


async def test_wrong_input_is_for_good() -> None:
    """A body that the handler cannot take fails before it is called."""
    reply = await reply_to(step(raiser(AssertionError("called"))), body=b"{")
    assert reply.failure is not None
    assert (reply.failure.type, reply.retryable) == ("flow.errors.InvalidInput", False)


async def test_an_unavailable_peer_of_the_handler_is_no_verdict() -> None:
    """One of our own errors, raised by the handler itself, is an error like others."""
    reply = await reply_to(step(raiser(Overloaded("the bank", 5))))
    assert reply.failure is not None
    assert (reply.failure.type, reply.retryable) == ("flow.errors.Overloaded", True)
    assert reply.failure.fields == {"what": "the bank", "limit": 5}


@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError(), BaseException("odd")])
@pytest.mark.parametrize("is_async", [True, False])
async def test_no_exception_stops_the_worker(error: BaseException, is_async: bool) -> None:  # noqa: FBT001
    """Whatever a handler raises fails its own step, and the worker serves on."""

    async def charge(value: int) -> int:
        if value == 5:
            raise error
        return value

    def charge_in_thread(value: int) -> int:
        if value == 5:
            raise error
        return value

    async with Shop(step(charge if is_async else charge_in_thread)).open() as shop:
        await shop.ask(request(1), request(2, body=b"6"))
        failed, served = shop.replies()
        assert failed.failure is not None
        assert failed.failure.type.endswith(type(error).__name__)
        assert served.body == b"6"


async def test_a_handler_that_takes_too_long_is_cancelled() -> None:
    """The time that the request allows ends the handler, and the failure says so."""
    ended = list[str]()

    async def charge(_value: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request(timeout_ms=2500))
        await shop.clock.advance(2.4)
        assert (shop.replies(), ended) == ([], [])
        await shop.clock.advance(0.1)
        (reply,) = shop.replies()
        assert ended == ["cancelled"]
        assert reply.failure is not None
        assert reply.failure.type == f"flow.errors.{DeadlineExceeded.__name__}"
        assert (reply.retryable, reply.failure.fields["seconds"]) == (True, 2.5)
        assert shop.in_queue() == (0, 0)


async def test_time_in_the_queue_does_not_count() -> None:
    """A request's time starts with its handler, not with its arrival."""

    async def charge(_value: int) -> None:
        await asyncio.Event().wait()

    shop = Shop(step(charge))
    async with shop.open():
        shop.worker._performer._turns._free = 0
        await shop.ask(request(timeout_ms=1000))
        await shop.clock.advance(60)
        assert (shop.replies(), shop.worker.snapshot().waiting) == ([], 1)
        shop.worker._performer._turns.release()
        await shop.clock.advance(0.9)
        assert (shop.replies(), shop.worker.snapshot().running) == ([], 1)
        await shop.clock.advance(0.1)
        assert len(shop.replies()) == 1


async def test_a_result_that_comes_in_spite_of_the_deadline_counts() -> None:
    """A handler that ends well while it is cancelled has succeeded; one that fails was too late."""

    async def charge(value: int) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if value == 5:
                return "done all the same"
            raise ValueError("on the way out") from None
        return ""

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request(1, timeout_ms=1000), request(2, timeout_ms=2000, body=b"6"))
        await shop.clock.advance(2.0)
        kept, late = shop.replies()
        assert kept.body == b'"done all the same"'
        assert late.failure is not None
        assert late.failure.type == "flow.errors.DeadlineExceeded"
        assert shop.worker.snapshot().running == 0


async def test_a_handler_may_clean_up_when_it_is_cancelled() -> None:
    """While a cancelled handler cleans up it can wait, and is not interrupted at once again."""
    cleaned = list[str]()
    shop = Shop()

    async def charge(_value: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await wait_for(shop.clock, 5.0)
            cleaned.append("done")

    shop = Shop(step(charge))
    async with shop.open():
        await shop.ask(request(timeout_ms=1000))
        await shop.clock.advance(5.9)
        assert (shop.replies(), cleaned) == ([], [])
        await shop.clock.advance(0.1)
        assert (len(shop.replies()), cleaned) == (1, ["done"])


async def test_a_handler_cannot_ignore_its_deadline() -> None:
    """A handler that swallows the cancellation is cancelled again, and again."""
    tries = list[int]()

    async def charge(_value: int) -> None:
        for number in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                tries.append(number)
        await asyncio.Event().wait()

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request(timeout_ms=1000))
        await shop.clock.advance(30)
        assert (tries, shop.replies()) == ([0, 1, 2], [])
        await shop.clock.advance(1)
        assert len(shop.replies()) == 1


async def test_a_synchronous_handler_that_takes_too_long_is_told() -> None:
    """The thread goes on with `cancelled` set, the failure is sent, and its result is dropped."""
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    seen = list[bool]()

    def charge(_value: int, context: StepContext) -> str:
        seen.append(context.cancelled)
        began.set()
        may_end.wait(20)
        seen.append(context.cancelled)
        context.heartbeat(1)
        ended.set()
        return "late"

    threads = SystemThreads()
    async with Shop(step_with_context(charge), threads=threads).open() as shop:
        await shop.ask(request(timeout_ms=1000))
        await threads.run(lambda: began.wait(20))
        await shop.clock.advance(1.0)
        (reply,) = shop.replies()
        assert reply.failure is not None
        assert reply.failure.type == "flow.errors.DeadlineExceeded"
        may_end.set()
        await threads.run(lambda: ended.wait(20))
        await settle()
        assert (seen, shop.types()) == ([False, True], ["step.reply"])


async def test_a_thread_may_send_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A synchronous handler's heartbeats leave from its thread."""
    threads = SystemThreads()
    done = asyncio.Event()

    def charge(_value: int, context: StepContext) -> str:
        context.heartbeat(0.5)
        return "done"

    async with Shop(step_with_context(charge), threads=threads).open() as shop:
        real = shop.worker._performer.replies.post

        def post(*what: Any, **more: Any) -> None:
            done.set()
            real(*what, **more)

        monkeypatch.setattr(shop.worker._performer.replies, "post", post)
        await shop.ask(request())
        await done.wait()
        await settle()
        assert shop.types() == ["step.heartbeat", "step.reply"]
        assert shop.arrived[0].body == b"0.5"
