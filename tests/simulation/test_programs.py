"""Tests of programs: what handlers do follows from the execution, the step and the attempt."""

from __future__ import annotations

from flow import Flow
from tests.simulation.invention import invent
from tests.simulation.programs import PlannedStep, StepsProgram
from tests.simulation.undos import RETRIES

SEEDS = [f"execution {number}" for number in range(300)]


def program(**options: object) -> StepsProgram:
    """Return a program of one step that is in trouble."""
    step = PlannedStep(id="s0", trouble=1.0, **options)  # type: ignore[arg-type]
    return StepsProgram(id="w", steps=(step,))


def test_handlers_behave_the_same_way_again() -> None:
    """The same attempt of the same step of the same execution has the same outcome."""
    made = program()
    first = [made.behaviour(seed, "steps/s0", 1) for seed in SEEDS]
    assert first == [made.behaviour(seed, "steps/s0", 1) for seed in SEEDS]
    assert len({each.outcome for each in first}) > 3


def test_a_failure_is_known_in_advance() -> None:
    """An execution may fail only if an attempt says so, or if all attempts fail."""
    made = program(longest_s=0.1)
    for seed in SEEDS:
        attempts = range(1, RETRIES.max_attempts + 1)
        outcomes = [made.behaviour(seed, "steps/s0", attempt).outcome for attempt in attempts]
        is_settled = "succeed" in outcomes or "skip" in outcomes
        is_doomed = "fail" in outcomes or not is_settled
        assert made.may_fail(seed) == is_doomed


def test_what_is_optional_fails_nothing() -> None:
    """A step that is optional, or made so at the start, does not let its execution fail."""
    assert not any(program(optional=True).may_fail(seed) for seed in SEEDS)
    assert not any(program().may_fail(seed, spared=("s0",)) for seed in SEEDS)
    assert any(program().may_fail(seed) for seed in SEEDS)


def test_every_invented_program_is_a_workflow() -> None:
    """Whatever is invented can be declared, nested workflows, fallbacks and hooks included."""
    for seed in range(100):
        for each in invent(seed).programs:
            app = Flow("world", broker="memory://", store="memory://")
            assert each.declare(app).definition.id == each.id
