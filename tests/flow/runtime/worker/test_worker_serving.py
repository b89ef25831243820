"""Tests of `worker.worker`: one task serves many requests, as if each had a task of its own."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from flow.ports import Settlement
from flow.runtime.service import WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.worker import CLEANUP_S
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker.test_worker_cancelling import Slow
from tests.flow.runtime.worker_bench import Shop, request, step

SEEN: ContextVar[int] = ContextVar("SEEN", default=0)


def watch_tasks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the tasks that a worker starts from now on."""
    started = list[str]()
    start = shop.worker._tasks.start

    def note(coroutine: Any, name: str) -> Any:
        started.append(name)
        return start(coroutine, name)

    monkeypatch.setattr(shop.worker._tasks, "start", note)
    return started


async def test_requests_that_wait_for_nothing_share_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in together and is computed at once takes one task, whatever the number."""

    async def charge(value: int) -> int:
        return value

    async with Shop(step(charge)).open() as shop:
        started = watch_tasks(shop, monkeypatch)
        await shop.ask(*(request(number) for number in range(20)))
        assert (started, len(shop.replies()), shop.in_queue()) == (["requests"], 20, (0, 0))
        await shop.ask(request(21))
        assert (started, len(shop.replies())) == (["requests"] * 2, 21)


async def test_a_handler_that_waits_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that waits has its task to itself, and the others are served meanwhile."""
    slow, served = Slow(), list[int]()

    async def charge(value: int) -> None:
        served.append(value)
        if value % 2:
            await slow.charge(value)

    async with Shop(step(charge)).open() as shop:
        started = watch_tasks(shop, monkeypatch)
        await shop.ask(*(request(number, body=b"%d" % number) for number in range(6)))
        assert served == [0, 1, 2, 3, 4, 5]
        assert (len(shop.replies()), shop.in_queue()) == (3, (0, 3))
        assert started == ["requests"] * 3
        await shop.ask(request(6, body=b"6"))
        assert len(shop.replies()) == 4
        slow.may_end.set()
        await settle()
        assert (len(shop.replies()), shop.in_queue()) == (7, (0, 0))


async def test_handlers_do_not_see_what_others_have_set() -> None:
    """Every handler has a context of its own, before it waits and after."""
    seen = list[tuple[int, int]]()

    async def charge(value: int) -> None:
        before = SEEN.get()
        SEEN.set(value)
        if value % 2:
            await asyncio.sleep(0)
        seen.append((before, SEEN.get()))

    async with Shop(step(charge)).open() as shop:
        await shop.ask(*(request(number, body=b"%d" % number) for number in range(1, 6)))
    assert sorted(seen) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]


async def test_who_cancels_its_own_task_interrupts_nobody_else() -> None:
    """A cancellation that a handler leaves behind does not meet the next request."""
    done = list[int]()

    async def charge(value: int) -> None:
        if value == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return
        await asyncio.sleep(0)
        done.append(value)

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request(1, body=b"1"), request(2, body=b"2"), request(3, body=b"3"))
        assert (done, shop.in_queue()) == ([2, 3], (0, 0))


async def test_a_cancelled_task_leaves_the_rest_to_another() -> None:
    """If a handler ends its task by cancelling it, only its own request goes back."""
    runs = list[int]()

    async def charge(value: int) -> None:
        runs.append(value)
        if runs == [1]:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            raise asyncio.CancelledError

    async with Shop(step(charge)).open() as shop:
        await shop.ask(request(1, body=b"1"), request(2, body=b"2"))
        assert (sorted(runs), shop.in_queue()) == ([1, 1, 2], (0, 0))


async def test_a_reply_on_its_way_is_in_hand() -> None:
    """Until the reply is confirmed the request is unsettled, has its turn, and is joined."""
    slow = Slow()
    slow.may_end.set()
    shop = Shop(step(slow.charge), settings=WorkerSettings(concurrency=1))
    async with shop.open():
        shop.broker.gate.clear()
        await shop.ask(request(1))
        assert (shop.worker.snapshot().running, shop.in_queue()) == (1, (0, 1))
        await shop.reconnect()
        assert (slow.ran, shop.worker.snapshot().joined) == ([5], 1)
        shop.broker.gate.set()
        await settle()
        assert (shop.worker.snapshot().answered, shop.in_queue()) == (1, (0, 0))


async def test_draining_waits_for_replies_on_their_way() -> None:
    """A worker has not ended before its last reply is confirmed; then it ends at once."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge)).open() as shop, TaskGroup() as group:
        shop.broker.gate.clear()
        await shop.ask(request(1))
        draining = group.start(shop.worker.drain(), "drain")
        await shop.clock.advance(20)
        assert not draining.done()
        shop.broker.gate.set()
        await settle()
        assert (draining.done(), shop.in_queue()) == (True, (0, 0))


async def test_a_confirm_after_the_end_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A request whose reply was not confirmed in time went back; a late confirm does not count."""
    slow = Slow()
    slow.may_end.set()
    shop = Shop(step(slow.charge), settings=WorkerSettings(drain_s=5))
    async with shop.open(), TaskGroup() as group:
        shop.broker.gate.clear()
        await shop.ask(request(1))
        draining = group.start(shop.worker.drain(), "drain")
        await shop.clock.advance(5 + CLEANUP_S)
        assert (draining.done(), shop.in_queue()) == (True, (1, 0))
        shop.broker.gate.set()
        await settle()
        snapshot = shop.worker.snapshot()
        assert (snapshot.answered, snapshot.running, shop.in_queue()) == (0, 0, (1, 0))
    assert caplog.messages == ["gave back 1 requests unanswered: 'pay.charge'"]


async def test_a_turn_is_given_back_once() -> None:
    """What nobody wants a reply to has one turn, as everything has, however it ends."""
    slow = Slow()
    settings = WorkerSettings(concurrency=1)
    endpoints = (step(slow.charge), step(slow.charge, "ship.send"))
    async with Shop(*endpoints, settings=settings).open() as shop:
        slow.may_end.set()
        await shop.ask(request(1, reply_to=""))
        assert (slow.ran, shop.in_queue()) == ([5], (0, 0))
        slow.may_end.clear()
        await shop.ask(request(2), request(3, endpoint="ship.send"))
        assert (shop.worker.snapshot().running, shop.worker.snapshot().waiting) == (1, 1)


async def test_a_long_attempt_beats_until_its_reply_is_confirmed() -> None:
    """A reply that the broker refuses for a while is tried again, and beats go on meanwhile."""
    slow = Slow()
    slow.may_end.set()
    async with Shop(step(slow.charge)).open() as shop:
        shop.broker.settlements = [Settlement.CONFIRMED, *[Settlement.REFUSED] * 3]
        await shop.ask(request(1, heartbeat_ms=300, timeout_ms=86_400_000))
        assert shop.replies() == []
        await shop.clock.advance(60)
        assert (len(shop.replies()), shop.clock.armed) == (1, 0)
        assert shop.worker.snapshot().running == 0
