"""Tests of `orchestrator.timers`: one alarm for whoever is due next."""

from __future__ import annotations

from collections.abc import Sequence

from flow.clock import StoreClock
from flow.runtime.orchestrator.timers import Timers
from flow.testing import FlowHarness, VirtualClock
from tests.flow.runtime.worlds import RETRY, Unsteady, single


class Bell:
    """Timers on a virtual clock, and who was woken when."""

    def __init__(self) -> None:
        self.clock = VirtualClock(start_ms=0)
        self.rung: list[tuple[int, list[str]]] = []
        self.timers = Timers(self.clock, self._fire)

    def _fire(self, names: Sequence[str]) -> None:
        self.rung.append((self.clock.now_ms(), list(names)))


def test_whoever_is_due_is_woken() -> None:
    """Names are woken in the order of their times, those that are due together in one call."""
    bell = Bell()
    for name, when in (("late", 3_000), ("one", 1_000), ("two", 1_000)):
        bell.timers.set(name, when)
    assert bell.clock.waiting == 1
    bell.clock.move_to(10)
    assert bell.rung[0] == (1_000, ["one", "two"])
    bell.clock.move_to(10)
    assert bell.rung[1][1] == ["late"]
    assert bell.clock.waiting == 0


def test_a_time_can_be_changed() -> None:
    """Only the last time that was set for a name counts, and None takes it back."""
    bell = Bell()
    bell.timers.set("a", 1_000)
    bell.timers.set("a", 2_000)
    bell.timers.set("a", 2_000)
    bell.timers.set("b", 1_000)
    bell.timers.set("b", None)
    assert bell.timers.time("a") == 2_000
    assert bell.timers.time("b") is None
    while (due := bell.clock.next_s()) is not None:
        bell.clock.move_to(due)
    assert bell.rung == [(2_000, ["a"])]


def test_an_earlier_time_moves_the_alarm() -> None:
    """The one alarm is moved forward when somebody earlier comes, and a past time rings at once."""
    bell = Bell()
    bell.timers.set("late", 60_000)
    bell.timers.set("early", 1_000)
    assert bell.clock.waiting == 1
    assert bell.clock.next_s() == 1
    bell.timers.set("past", -5)
    assert bell.clock.next_s() == 0
    bell.clock.move_to(0)
    assert bell.rung == [(0, ["past"])]


def test_clearing_wakes_nobody() -> None:
    """After a clear nobody is woken, and no alarm is set."""
    bell = Bell()
    bell.timers.set("a", 1_000)
    bell.timers.clear()
    assert (bell.clock.waiting, bell.timers.time("a")) == (0, None)
    bell.timers.set("b", 500)
    bell.clock.move_to(1)
    assert bell.rung == [(500, ["b"])]


async def test_an_idle_flow_does_nothing() -> None:
    """A flow with nothing to do sets no timer and reads no store, for as long as it takes."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", 1)
        await workflow.run()
        await test.advance(60)
        reads, commits = unsteady.store.reads, len(unsteady.store.commits)
        fired, waiting = test.clock.fired, test.clock.waiting
        await test.advance(3_600)
        assert (unsteady.store.reads, len(unsteady.store.commits)) == (reads, commits)
        assert (test.clock.fired, test.clock.waiting) == (fired, waiting)
        assert waiting == 0


async def test_a_suspended_flow_does_nothing() -> None:
    """An execution that is suspended with nothing out costs nothing while it stays so."""
    app, workflow = single(retry=RETRY)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", ConnectionError())
        execution = await workflow.execute()
        await execution.suspend()
        await test.advance(60)
        reads, fired = unsteady.store.reads, test.clock.fired
        await test.advance(3_600)
        assert (unsteady.store.reads, test.clock.fired) == (reads, fired)


def test_a_time_that_jumps_moves_the_alarm() -> None:
    """When the wall time turns out to be another one, alarms ring when they are due by it."""
    machine = VirtualClock(start_ms=0)
    clock = StoreClock(machine)
    rung: list[str] = []
    timers = Timers(clock, rung.extend)
    timers.set("e", 60_000)
    clock.set(50_000, machine.monotonic())
    timers.adjust()
    machine.move_to(9)
    assert rung == []
    machine.move_to(10.1)
    assert rung == ["e"]
    timers.adjust()
    assert machine.waiting == 0
