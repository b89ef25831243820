"""Tests of shrinking: the smallest part that breaks the same promise, within a budget."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.invariants.base import Violation
from tests.simulation.run import Outcome
from tests.simulation.scenario import Scenario
from tests.simulation.shrink import shrink
from tests.simulation.test_scenario import some_scenario

NEEDED = 2


def outcome_of(scenario: Scenario, names: tuple[str, ...]) -> Outcome:
    """Return an outcome with violations of these names."""
    violations = tuple(Violation(name, "") for name in names)
    return Outcome(scenario=scenario, hash="", violations=violations, steps=0, seconds=0.0)


def broken_by(scenario: Scenario, runs: list[Scenario]) -> Callable[[Scenario], Outcome]:
    """Return what pretends to run: a certain execution and a certain fault break a promise."""
    execution, fault = scenario.executions[NEEDED], scenario.faults[NEEDED]

    def again(part: Scenario) -> Outcome:
        runs.append(part)
        is_broken = execution in part.executions and fault in part.faults
        return outcome_of(part, ("the promise",) if is_broken else ("another",))

    return again


def test_what_is_not_needed_is_left_out() -> None:
    """Only the execution and the fault that break the promise are left."""
    scenario, runs = some_scenario(), list[Scenario]()
    found = shrink(
        scenario, outcome_of(scenario, ("the promise",)), again=broken_by(scenario, runs)
    )
    assert found.scenario.executions == (scenario.executions[NEEDED],)
    assert found.scenario.faults == (scenario.faults[NEEDED],)
    assert found.scenario.controls == ()
    assert found.scenario.kept.is_calm
    assert found.violations == (Violation("the promise", ""),)


def test_a_budget_ends_the_search() -> None:
    """No more runs are made than allowed, and the best part so far still breaks the promise."""
    scenario, runs = some_scenario(), list[Scenario]()
    again = broken_by(scenario, runs)
    found = shrink(scenario, outcome_of(scenario, ("the promise",)), 5, again)
    assert len(runs) == 5
    assert found.violations == (Violation("the promise", ""),)
