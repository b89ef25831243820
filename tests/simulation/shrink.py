"""Shrinking: the smallest part of a scenario that still breaks the same promise.

It leaves out executions, faults and controls: first half of them, then a quarter, and so on down
to single ones, and keeps what breaks the same invariant. That is delta debugging as in Zeller and
Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002), without its second half.
Each run is another history, so that nothing guarantees the smallest part; a budget of runs ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Literal

from tests.simulation.run import Outcome, run
from tests.simulation.scenario import Kept, Scenario

__all__ = ["shrink"]

BUDGET: Final = 150
Part = Literal["executions", "faults", "controls"]
_PARTS: Final[tuple[Part, ...]] = ("faults", "executions", "controls")


def shrink(
    scenario: Scenario, failed: Outcome, budget: int = BUDGET, again: Callable[..., Outcome] = run
) -> Outcome:
    """Return the outcome of the smallest part found that breaks the same invariant.

    Args:
        scenario: A whole scenario.
        failed: What came of it.
        budget: How many runs may be made.
        again: Runs a scenario.
    """
    return _Shrinking(scenario, failed, budget, again).smallest()


class _Shrinking:
    """One search.

    Args:
        scenario: A whole scenario.
        failed: What came of it.
        budget: How many runs may be made.
        again: Runs a scenario.
    """

    def __init__(
        self, scenario: Scenario, failed: Outcome, budget: int, again: Callable[..., Outcome]
    ) -> None:
        self._scenario = scenario
        self._best = failed
        self._budget = budget
        self._again = again
        self._names = {violation.name for violation in failed.violations[:1]}

    def smallest(self) -> Outcome:
        """Return the best outcome."""
        before = None
        while before is not self._best and self._budget > 0:
            before = self._best
            self._try(replace(self._kept, is_calm=True))
            for part in _PARTS:
                self._reduce(part)
        return self._best

    @property
    def _kept(self) -> Kept:
        return self._best.scenario.kept

    def _reduce(self, part: Part) -> None:
        places = self._places(part)
        size = len(places)
        while size >= 1:
            for chunk in list(_chunks(self._places(part), size)):
                left = tuple(place for place in self._places(part) if place not in chunk)
                self._try(self._with(part, left))
            size //= 2

    def _places(self, part: Part) -> tuple[int, ...]:
        kept: tuple[int, ...] | None = getattr(self._kept, part)
        return tuple(range(len(getattr(self._scenario, part)))) if kept is None else kept

    def _with(self, part: Part, places: tuple[int, ...]) -> Kept:
        match part:
            case "executions":
                return replace(self._kept, executions=places)
            case "faults":
                return replace(self._kept, faults=places)
            case "controls":
                return replace(self._kept, controls=places)

    def _try(self, kept: Kept) -> None:
        """Take a part if it breaks the same invariant, and is another one."""
        if kept == self._kept or kept.executions == () or self._budget <= 0:
            return
        self._budget -= 1
        outcome = self._again(self._scenario.keep(kept))
        if any(violation.name in self._names for violation in outcome.violations):
            self._best = outcome


def _chunks(places: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    for begin in range(0, len(places), size):
        yield places[begin : begin + size]
