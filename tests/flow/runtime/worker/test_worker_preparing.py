"""Tests of `worker.worker`: hooks in front of handlers, and the phase in which an attempt fails."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from flow.clock import SystemThreads, sleep as wait_for
from flow.context import StepContext
from flow.failure import RUN
from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.service import Endpoint
from flow.runtime.worker.cancellations import Cancellation
from flow.verdict import Fail, Retry, Skip
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker_bench import FakeHandler, Shop, request

CANCEL = Cancellation(correlation="order-1/1/2/1").envelope("c")


class Journal:
    """What was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def charge(self, value: int) -> int:
        """Answer."""
        self.calls.append(f"charge {value}")
        return value + 1

    async def look(self, value: int, context: StepContext) -> str:
        """Prepare."""
        self.calls.append(f"look {value}")
        context.state["looked"] = True
        return "nobody looks at this"


def prepared(
    run: Callable[..., Any], hook: Callable[..., Any], *, with_context: bool = False
) -> Endpoint:
    """Return an endpoint with a hook in front of it."""
    before = FakeHandler(hook, inspect.iscoroutinefunction(hook), with_context)
    handler = FakeHandler(run, inspect.iscoroutinefunction(run))
    return Endpoint("pay.charge", handler, prepare=before)


async def ask(endpoint: Endpoint, **fields: Any) -> StepReply:
    """Return the reply to one request."""
    async with Shop(endpoint).open() as shop:
        await shop.ask(request(**fields))
        (reply,) = shop.replies()
        return reply


async def test_a_hook_is_called_in_front_of_the_handler() -> None:
    """It gets the same input and the same context, and what it returns is not looked at."""
    journal = Journal()
    reply = await ask(prepared(journal.charge, journal.look, with_context=True))
    assert (reply.body, journal.calls) == (b"6", ["look 5", "charge 5"])
    assert reply.kept is not None
    assert reply.kept.state == {"looked": b"true"}


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_hook_that_raises_keeps_the_handler_from_running(is_async: bool) -> None:  # noqa: FBT001
    """The attempt fails in the phase `prepare`, and another one may go better."""
    journal = Journal()

    async def look(_value: int) -> None:
        raise ValueError("no stock")

    def look_in_thread(_value: int) -> None:
        raise ValueError("no stock")

    reply = await ask(prepared(journal.charge, look if is_async else look_in_thread))
    assert reply.failure is not None
    assert (reply.failure.phase, reply.failure.message) == ("prepare", "no stock")
    assert (reply.retryable, journal.calls) == (True, [])


async def test_a_hook_has_verdicts() -> None:
    """Skip means that the step has not begun; Fail and Retry mean what they mean in a handler."""
    journal, replies = Journal(), list[StepReply]()
    for verdict in (Skip("nothing to do"), Fail("closed"), Retry(1.5, "busy")):

        async def look(_value: int, verdict: Exception = verdict) -> None:
            raise verdict

        replies.append(await ask(prepared(journal.charge, look)))
    skip, fail, retry = replies
    assert skip == StepReply(Outcome.SKIP, reason="nothing to do", began=False)
    assert fail.failure is not None
    assert (fail.failure.phase, fail.retryable) == ("prepare", False)
    assert retry.failure is not None
    assert (retry.failure.phase, retry.asked_to_retry) == ("prepare", True)
    assert retry.retry_after_ms == 1500
    assert journal.calls == []


async def test_the_time_is_for_both() -> None:
    """What the hook takes of the time the handler does not have; each one's delay is its own."""
    shop = Shop()
    journal = Journal()

    async def look(value: int) -> None:
        await wait_for(shop.clock, float(value))

    async def charge(_value: int) -> None:
        await asyncio.Event().wait()

    shop = Shop(prepared(charge, look))
    async with shop.open():
        await shop.ask(request(1, body=b"3", timeout_ms=2000), request(2, timeout_ms=6000))
        await shop.clock.advance(2)
        assert [reply.failure and reply.failure.phase for reply in shop.replies()] == ["prepare"]
        await shop.clock.advance(3.9)
        assert len(shop.replies()) == 1
        await shop.clock.advance(0.1)
        late = shop.replies()[1].failure
        assert late is not None
        assert (late.phase, late.type) == (RUN, "flow.errors.DeadlineExceeded")
    assert journal.calls == []


async def test_a_hook_that_ignores_its_deadline_does_not_lead_on() -> None:
    """A hook that ends well too late, or although it was cancelled, is not followed."""
    journal = Journal()

    async def look(_value: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with Shop(prepared(journal.charge, look)).open() as shop:
        await shop.ask(request(1), request(2, timeout_ms=1000))
        await shop.clock.advance(1)
        await shop.cancel(CANCEL)
        late, cancelled = shop.replies()
        assert late.failure is not None
        assert (late.failure.phase, journal.calls) == ("prepare", [])
        assert cancelled == StepReply(Outcome.CANCELLED, began=True)


async def test_a_hook_in_a_thread_that_was_cancelled_is_told_of_at_its_end() -> None:
    """What a hook returns in its thread is no result, and the handler does not follow."""
    journal, threads = Journal(), SystemThreads()
    loop, posted = asyncio.get_running_loop(), asyncio.Event()

    def look(_value: int) -> str:
        began.set()
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(20)
        return "not a result"

    began, may_end = _Both(loop), asyncio.Event()
    async with Shop(prepared(journal.charge, look), threads=threads).open() as shop:
        real = shop.worker._performer.replies.post

        def post(*what: Any, **more: Any) -> None:
            posted.set()
            real(*what, **more)

        shop.worker._performer.replies.post = post  # type: ignore[method-assign]
        await shop.ask(request())
        await began.wait()
        await shop.cancel(CANCEL)
        assert shop.replies() == []
        may_end.set()
        await posted.wait()
        await settle()
        assert shop.replies() == [StepReply(Outcome.CANCELLED, began=True)]
        assert journal.calls == []


class _Both:
    """An event that a thread sets and the event loop waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def set(self) -> None:
        """Set it, from a thread."""
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Wait for it."""
        await self._event.wait()


async def test_input_that_cannot_be_read_fails_before_the_run() -> None:
    """Neither hook nor handler is called for it, and the phase is `validate`."""
    journal = Journal()
    reply = await ask(prepared(journal.charge, journal.look), body=b"{")
    assert reply.failure is not None
    assert (reply.failure.phase, reply.retryable, journal.calls) == ("validate", False, [])


async def test_state_that_cannot_be_read_fails_before_the_run() -> None:
    """A worker that gets no object for the state says so, and calls nobody."""
    journal = Journal()
    endpoint = prepared(journal.charge, journal.look, with_context=True)
    reply = await ask(endpoint, state="[]")
    assert reply.failure is not None
    assert (reply.failure.phase, journal.calls) == ("validate", [])


async def test_a_result_that_cannot_be_written_comes_after_the_run() -> None:
    """The handler has run, whatever becomes of its result."""

    async def charge(_value: int) -> object:
        return object()

    reply = await ask(Endpoint("pay.charge", FakeHandler(charge)))
    assert reply.failure is not None
    assert (reply.failure.phase, reply.retryable) == (RUN, False)


async def test_a_request_that_makes_no_sense_never_ran() -> None:
    """A request that is no request is answered, in the phase `validate`."""

    async def charge(_value: int) -> None: ...

    async with Shop(Endpoint("pay.charge", FakeHandler(charge))).open() as shop:
        asked = request().envelope("m1")
        await shop.put(asked._replace(headers={**asked.headers, "flow-timeout": "soon"}))
        (reply,) = shop.replies()
        assert reply.failure is not None
        assert reply.failure.phase == "validate"
