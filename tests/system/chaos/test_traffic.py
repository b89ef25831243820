"""What happens to an execution follows from the seed and its number."""

from __future__ import annotations

from collections import Counter

from tests.system.chaos.programs import WORKFLOWS
from tests.system.chaos.traffic import Plan


def test_plans_follow_from_the_seed() -> None:
    """The same seed gives the same plans, and another one gives others."""
    first, again, other = ([Plan.of(seed, n) for n in range(50)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_everything_is_planned_now_and_then() -> None:
    """Among many executions there are all workflows, refusals, failures, and interruptions."""
    plans = [Plan.of(3, number) for number in range(1_000)]
    assert {plan.workflow for plan in plans} == set(WORKFLOWS)
    assert {plan.refusals for plan in plans} == {0, 1, 2}
    assert {plan.fails for plan in plans} == {False, True}
    verbs = Counter(plan.verb for plan in plans)
    assert verbs.keys() == {"", "suspend", "abort"}
    assert verbs[""] > verbs["suspend"] + verbs["abort"]
