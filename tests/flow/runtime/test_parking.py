"""Tests of `flow.runtime.parking`: waiting for endpoints that nobody serves."""

from __future__ import annotations

from flow.runtime.parking import Parking
from flow.testing import SeededChance, VirtualClock


class Lot:
    """A parking on a virtual clock; what is tried is parked again until somebody is there."""

    def __init__(self) -> None:
        self.clock = VirtualClock(start_ms=0)
        self.tried: list[str] = []
        self.is_served = False
        self.unwanted: set[str] = set()
        chance = SeededChance(1, self.clock.now_ms)
        self.parking: Parking[str] = Parking(self.clock, chance, self._try)

    def _try(self, command: str) -> None:
        self.tried.append(command)
        endpoint = command.partition("/")[0]
        if command in self.unwanted:
            return
        if self.is_served:
            self.parking.leave(endpoint)
        else:
            self.parking.park(endpoint, command)

    def run(self, until: float) -> None:
        """Let time pass."""
        while (due := self.clock.next_s()) is not None and due <= until:
            self.clock.move_to(due)
        self.clock.move_to(until)


def test_one_is_tried_for_all() -> None:
    """However many wait for an endpoint, it is tried at a rate that does not grow with them."""
    lot = Lot()
    for number in range(1_000):
        lot.parking.park("a", f"a/{number}")
    assert len(lot.parking) == 1_000
    lot.run(300)
    assert 30 <= len(lot.tried) <= 70
    assert len(lot.parking) == 1_000


def test_all_follow_the_first() -> None:
    """As soon as one could go, all go, and those of other endpoints stay."""
    lot = Lot()
    for number in range(10):
        lot.parking.park("a", f"a/{number}")
    lot.parking.park("b", "b/0")
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
        lot.parking.park("a", f"a/{number}")
    lot.run(5)
    assert lot.tried[:3] == ["a/0", "a/1", "a/2"]
    assert len(lot.parking) == 1


def test_clearing_forgets_everything() -> None:
    """After a clear nothing is tried any more."""
    lot = Lot()
    lot.parking.park("a", "a/0")
    lot.parking.clear()
    lot.run(100)
    assert lot.tried == []
    assert lot.clock.waiting == 0
