"""Tests of `flow.testing.clock`: time that passes only when it is told to."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from math import inf

from hypothesis import given, strategies as st

from flow.testing.clock import START_MS, Owner, VirtualClock, owned


def test_time_stands_still() -> None:
    """Time is what it was set to, and moves only forward."""
    clock = VirtualClock()
    assert (clock.now_ms(), clock.monotonic()) == (START_MS, 0)
    clock.move_to(1.5)
    clock.move_to(1.0)
    assert (clock.now_ms(), clock.monotonic()) == (START_MS + 1_500, 1.5)


def test_timers_ring_in_order() -> None:
    """What is due rings in the order of its times, then of its setting, each at its own time."""
    clock = VirtualClock(start_ms=0)
    rung: list[tuple[str, float]] = []

    def ring(name: str) -> None:
        rung.append((name, clock.monotonic()))

    for name, when in (("c", 2), ("a", 1), ("b", 1), ("never", 9)):
        clock.call_at(when, partial(ring, name))
    clock.move_to(3)
    assert rung == [("a", 1), ("b", 1), ("c", 2)]
    assert (clock.fired, clock.waiting, clock.next_s()) == (3, 1, 9)


def test_what_is_set_meanwhile_waits() -> None:
    """A timer that is set by another one waits for the next move, even if it is due."""
    clock = VirtualClock()
    rung: list[str] = []

    def again() -> None:
        rung.append("one")
        clock.call_at(clock.monotonic(), lambda: rung.append("two"))

    clock.call_at(1, again)
    clock.move_to(1)
    assert rung == ["one"]
    clock.move_to(1)
    assert rung == ["one", "two"]


def test_a_cancelled_timer_does_not_ring() -> None:
    """A timer can be cancelled before it rings, by another one of the same moment too."""
    clock = VirtualClock()
    rung: list[str] = []
    second = clock.call_at(2, lambda: rung.append("second"))
    clock.call_at(1, second.cancel)
    first = clock.call_at(1, lambda: rung.append("first"))
    first.cancel()
    first.cancel()
    clock.move_to(5)
    second.cancel()
    assert (rung, clock.waiting, clock.awaited) == ([], 0, 0)


def test_never_is_never() -> None:
    """A timer at infinity waits, but is not what time moves on to."""
    clock = VirtualClock()
    timer = clock.call_at(inf, lambda: None)
    assert (clock.waiting, clock.next_s()) == (1, None)
    timer.cancel()
    assert clock.waiting == 0


def test_timers_have_owners() -> None:
    """A timer belongs to the owner of its context, or to the test; an owner's can be dropped."""
    clock = VirtualClock()
    owner = Owner()
    with owned(clock, owner):
        assert clock.awaited == 1
        theirs = clock.call_at(1, lambda: None)
    clock.call_at(1, lambda: None)
    assert (theirs.owner, owner.timers, clock.awaited, clock.waiting) == (owner, 1, 1, 2)
    clock.drop()
    assert (owner.timers, clock.awaited, clock.waiting) == (0, 1, 1)


def test_a_timer_rings_in_its_context() -> None:
    """A callback sees the context variables of whoever has set the timer."""
    word: ContextVar[str] = ContextVar("word", default="")
    clock = VirtualClock()
    seen: list[str] = []
    token = word.set("inside")
    clock.call_at(1, lambda: seen.append(word.get()))
    word.reset(token)
    clock.move_to(1)
    assert seen == ["inside"]


def test_cancelled_timers_take_no_room() -> None:
    """Timers that are set and cancelled again and again do not pile up."""
    clock = VirtualClock()
    kept = [clock.call_at(50 + number, lambda: None) for number in range(10)]
    for _ in range(5_000):
        clock.call_at(100, lambda: None).cancel()
    assert len(clock._timers) < 1_200
    clock.move_to(200)
    assert clock.fired == len(kept)


@given(st.lists(st.integers(0, 10**7), max_size=30))
def test_milliseconds_add_up(waits: list[int]) -> None:
    """However many waits are added up, the wall time has passed by exactly their sum."""
    clock = VirtualClock(start_ms=0)
    total = 0
    for wait in waits:
        clock.move_to(clock.monotonic() + wait / 1000)
        total += wait
        assert clock.now_ms() == total
