"""Tests of `brokers.rabbitmq.deadlines`, on an event loop whose time is set by hand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from brokers.rabbitmq.confirms import Call
from brokers.rabbitmq.deadlines import Deadlines


class Timer:
    """One callback, to be called at a time."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        """Do not call it."""
        self.when = math.inf


class HandLoop:
    """Has a time that is set by hand, and timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Set a timer."""
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def go_on(self, now: float) -> None:
        """Let time pass."""
        self.now = now
        due = [timer for timer in self.timers if timer.when <= now]
        for timer in due:
            timer.cancel()
            timer.callback()

    @property
    def next(self) -> float:
        """When the next timer is due."""
        return min((timer.when for timer in self.timers), default=math.inf)


@pytest.fixture
def loop() -> HandLoop:
    """Give an event loop that is not one."""
    return HandLoop()


@pytest.fixture
def deadlines(loop: HandLoop) -> Deadlines:
    """Give deadlines on it."""
    hand: Any = loop
    return Deadlines(hand)


def a_call() -> Call:
    """Return a call with one message."""
    call = Call([None], asyncio.get_running_loop().create_future())
    call.start(1)
    return call


async def test_calls_end_at_their_deadlines(loop: HandLoop, deadlines: Deadlines) -> None:
    """Each call ends when it is due, and one that was taken back does not."""
    late, early, done = a_call(), a_call(), a_call()
    for call, when in ((late, 9.0), (early, 3.0), (done, 3.0)):
        deadlines.add(call, when)
    deadlines.discard(done)
    deadlines.discard(done)
    loop.go_on(2.9)
    assert not early.future.done()
    loop.go_on(3.0)
    assert (early.future.done(), late.future.done()) == (True, False)
    deadlines.discard(early)
    loop.go_on(9.0)
    assert (late.future.done(), done.future.done()) == (True, False)


async def test_many_calls_cost_one_timer(loop: HandLoop, deadlines: Deadlines) -> None:
    """There is one timer for all calls, and none once nothing is under way."""
    for start in range(100):
        loop.now = float(start) / 100
        call = a_call()
        deadlines.add(call, loop.now + 8)
        deadlines.discard(call)
    last = a_call()
    deadlines.add(last, 10.0)
    assert (len(loop.timers), loop.next, len(deadlines)) == (1, 8.0, 1)
    loop.go_on(8.0)
    assert loop.next == 10.0
    deadlines.discard(last)
    loop.go_on(10.0)
    assert loop.next == math.inf
    deadlines.add(a_call(), 20.0)
    assert loop.next == 20.0


async def test_calls_are_hurried_and_relaxed(loop: HandLoop, deadlines: Deadlines) -> None:
    """Who is hurried ends soon, unless there is time again; who was due before stays so."""
    hurried, soon = a_call(), a_call()
    deadlines.hurry(0.5)
    assert loop.next == math.inf
    deadlines.add(hurried, 8.0)
    deadlines.add(soon, 1.0)
    deadlines.hurry(2.0)
    deadlines.hurry(2.0)
    deadlines.relax()
    loop.go_on(2.0)
    assert (soon.future.done(), hurried.future.done()) == (True, False)
    deadlines.hurry(3.0)
    late = a_call()
    deadlines.add(late, 11.0)
    loop.go_on(3.0)
    assert (hurried.future.done(), late.future.done()) == (True, False)
    deadlines.discard(hurried)
    deadlines.relax()
    assert len(deadlines) == 2


async def test_all_calls_end_with_the_connection(deadlines: Deadlines) -> None:
    """When nothing can be expected any more, nobody waits for the deadline."""
    calls = [a_call(), a_call()]
    for call in calls:
        deadlines.add(call, 9.0)
    deadlines.expire()
    assert all(call.future.done() for call in calls)
