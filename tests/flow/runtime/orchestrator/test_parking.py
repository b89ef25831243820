"""Tests of `orchestrator.parking`: waiting for endpoints that nobody serves."""

from __future__ import annotations

from flow.kernel.commands import RunStep
from flow.runtime.orchestrator.parking import Parked, Parking
from flow.testing import SeededChance, VirtualClock


class Lot:
    """A parking on a virtual clock; what is tried is parked again until somebody is there."""

    def __init__(self) -> None:
        self.clock = VirtualClock(start_ms=0)
        self.tried: list[str] = []
        self.is_served = False
        self.unwanted: set[str] = set()
        chance = SeededChance(1, self.clock.now_ms)
        self.parking = Parking(self.clock, chance, self._try)

    def park(self, endpoint: str, name: str, partition: int = 0) -> None:
        """Park a command."""
        task = RunStep(attempt=1, epoch=1)
        self.parking.park(Parked(endpoint, None, partition, name, "steps/a", task, 2))

    def _try(self, command: Parked) -> None:
        self.tried.append(command.execution)
        if command.execution in self.unwanted:
            return
        if self.is_served:
            self.parking.leave(command.endpoint)
        else:
            self.parking.park(command)

    def run(self, until: float) -> None:
        """Let time pass."""
        while (due := self.clock.next_s()) is not None and due <= until:
            self.clock.move_to(due)
        self.clock.move_to(until)

    def holds(self, name: str) -> bool:
        """Return whether a command waits."""
        return self.parking.holds(name, 2, RunStep(attempt=1, epoch=1))


def test_one_is_tried_for_all() -> None:
    """However many wait for an endpoint, it is tried at a rate that does not grow with them."""
    lot = Lot()
    for number in range(1_000):
        lot.park("a", f"a/{number}")
    assert len(lot.parking) == 1_000
    lot.run(300)
    assert 30 <= len(lot.tried) <= 70
    assert len(lot.parking) == 1_000


def test_all_follow_the_first() -> None:
    """As soon as one could go, all go, and those of other endpoints stay."""
    lot = Lot()
    for number in range(10):
        lot.park("a", f"a/{number}")
    lot.park("b", "b/0")
    lot.parking.leave("a")
    assert sorted(lot.tried) == sorted([f"a/{number}" for number in range(10)])
    lot.tried.clear()
    lot.is_served = True
    lot.run(20)
    assert set(lot.tried) >= {"b/0", "a/0"}
    assert len(lot.parking) == 0
    assert lot.clock.waiting == 0


def test_one_that_is_not_wanted_stops_nobody() -> None:
    """A command that came to nothing does not keep the others waiting."""
    lot = Lot()
    lot.unwanted = {"a/0", "a/1"}
    for number in range(3):
        lot.park("a", f"a/{number}")
    lot.run(5)
    assert lot.tried[:3] == ["a/0", "a/1", "a/2"]
    assert len(lot.parking) == 1


def test_clearing_forgets_everything() -> None:
    """After a clear nothing is tried any more."""
    lot = Lot()
    lot.park("a", "a/0")
    lot.parking.clear()
    lot.run(100)
    assert lot.tried == []
    assert lot.clock.waiting == 0


def test_one_that_is_not_wanted_is_passed_over_at_once() -> None:
    """Whoever finds that a command came to nothing has the next one tried without a pause."""
    lot = Lot()
    for number in range(3):
        lot.park("a", f"a/{number}")
    lot.parking.skip("a")
    lot.parking.skip("b")
    assert lot.tried == ["a/0"]
    assert len(lot.parking) == 3


def test_what_belongs_to_others_is_forgotten() -> None:
    """Commands of a partition that is lost are tried no more; the others are."""
    lot = Lot()
    for number in range(10):
        lot.park("a", f"a/{number}", partition=number % 2)
    lot.parking.forget({1})
    assert len(lot.parking) == 5
    lot.is_served = True
    lot.run(20)
    assert set(lot.tried) == {f"a/{number}" for number in range(0, 10, 2)}


def test_a_lot_remembers_how_often_it_was_tried() -> None:
    """One command that is parked again and again is tried more and more rarely."""
    lot = Lot()
    lot.park("a", "a/0")
    lot.run(300)
    assert 30 <= len(lot.tried) <= 70


def test_what_waits_is_known() -> None:
    """A command is held from when it is parked until it is tried, forgotten or cleared."""
    lot = Lot()
    lot.is_served = True
    for number in range(4):
        lot.park("a", f"a/{number}", partition=number % 2)
    assert [lot.holds(f"a/{number}") for number in range(5)] == [True] * 4 + [False]
    assert not lot.parking.holds("a/0", 2, RunStep(attempt=2, epoch=1))
    lot.parking.forget({1})
    assert [lot.holds(f"a/{number}") for number in range(4)] == [True, False, True, False]
    lot.unwanted = {"a/0"}
    lot.parking.skip("a")
    assert [lot.holds(f"a/{number}") for number in range(4)] == [False, False, True, False]
    lot.parking.leave("a")
    assert not lot.holds("a/2")
    lot.park("a", "a/0")
    lot.parking.clear()
    assert not lot.holds("a/0")
