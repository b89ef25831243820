"""Tests of `worker.threaded`: calls in threads that may be left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import cast

import pytest

from flow.clock import SystemThreads
from flow.ports import Threads
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.threaded import End, ThreadCall
from tests.flow.runtime.clocks import InlineThreads, settle


def make(function: Callable[[], object]) -> tuple[ThreadCall, list[str]]:
    """Return a call, and what happens to it on the event loop."""
    loop, events = asyncio.get_running_loop(), list[str]()

    def on_loop(callback: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(callback)

    return ThreadCall(function, on_loop, lambda: events.append("began")), events


async def _ignore(call: ThreadCall, threads: Threads) -> None:
    await call.run(threads)


async def test_a_call_returns_what_the_function_returns() -> None:
    """Who awaits a call gets its result or its error, and is told when it begins."""
    call, events = make(lambda: 7)
    assert await call.run(SystemThreads()) == 7
    await settle()
    assert (events, call.has_begun) == (["began"], False)
    failing, _ = make(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await failing.run(InlineThreads())


async def test_a_call_that_is_left_tells_of_its_end() -> None:
    """The function goes on, and whoever asks is told of its end when it has come."""
    began, may_end, ended = threading.Event(), threading.Event(), asyncio.Event()

    def work() -> str:
        began.set()
        may_end.wait(20)
        return "done"

    def note(end: End) -> None:
        told.append(end)
        ended.set()

    call, _ = make(work)
    threads, told = SystemThreads(), list[End]()
    async with TaskGroup() as group:
        running = group.start(_ignore(call, threads), "call")
        await threads.run(lambda: began.wait(20))
        await settle()
        running.cancel()
        await settle()
        assert running.cancelled()
    assert call.has_begun
    call.when_ended(note)
    await settle()
    assert told == []
    may_end.set()
    await ended.wait()
    assert told == [End("done")]


async def test_a_call_that_has_ended_tells_of_it_at_once() -> None:
    """An end that came before anybody asked is told to whoever asks later."""
    told, error = list[End](), ValueError("no")

    def work() -> None:
        raise error

    call, _ = make(work)
    with pytest.raises(ValueError, match="no"):
        await call.run(InlineThreads())
    call.when_ended(told.append)
    assert told == [End(None, error)]


async def test_a_call_that_was_left_before_it_began_never_begins() -> None:
    """Whoever leaves first wins: the function is not called, however late the thread comes."""
    late = list[Callable[[], object]]()

    class Late:
        async def run(self, function: Callable[[], object]) -> object:
            late.append(function)
            return await asyncio.Event().wait()

    call, events = make(lambda: pytest.fail("it was called"))
    async with TaskGroup() as group:
        running = group.start(_ignore(call, cast("Threads", Late())), "call")
        await settle()
        running.cancel()
        await settle()
        assert running.cancelled()
    assert not call.has_begun
    with pytest.raises(RuntimeError, match="nobody waits"):
        late[0]()
    assert events == []
