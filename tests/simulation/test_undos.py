"""Tests of undos: what they do follows from the execution, the step and the attempt."""

from __future__ import annotations

from flow import Step
from tests.simulation.programs import PlannedStep, StepsProgram
from tests.simulation.undos import RETRIES, PlannedUndo, run_of

SEEDS = [f"execution {number}" for number in range(300)]
PATH = "steps/s0/undo"


def undo(**options: object) -> PlannedUndo:
    """Return an undo that is in trouble."""
    return PlannedUndo(service="alpha", trouble=1.0, **options)  # type: ignore[arg-type]


def test_undos_behave_the_same_way_again() -> None:
    """The same attempt of the same undo has the same outcome, whoever asks for it."""
    made = undo()
    program = StepsProgram(id="w", steps=(PlannedStep(id="s0", undo=made),))
    first = [made.behaviour(seed, PATH, 1) for seed in SEEDS]
    assert first == [program.behaviour(seed, PATH, 1) for seed in SEEDS]
    assert {each.outcome for each in first} >= {"error", "fail", "retry", "skip"}


def test_a_failed_undo_is_known_in_advance() -> None:
    """An undo may fail for good only if an attempt says so, or an error is final."""
    for is_retried in (True, False):
        made = undo(is_retried=is_retried)
        for seed in SEEDS:
            attempts = range(1, RETRIES.max_attempts + 1)
            outcomes = [made.behaviour(seed, PATH, attempt).outcome for attempt in attempts]
            fails = "fail" in outcomes or ("error" in outcomes and not is_retried)
            assert made.may_fail(seed, PATH) == fails
    assert not any(PlannedUndo(service="alpha").may_fail(seed, PATH) for seed in SEEDS)


def test_some_undos_never_succeed() -> None:
    """Some undos fail however often they are tried, and some succeed when they are tried again."""
    made = undo()
    outcomes = {
        made.behaviour(seed, PATH, 9).outcome for seed in SEEDS if made.may_fail(seed, PATH)
    }
    assert outcomes == {"fail", "succeed"}


def test_an_undo_is_a_step_of_its_style() -> None:
    """What an undo gets is what its style says; the input of the run needs no mapping."""
    assert undo(is_retried=False).step("s0") == "alpha.undo"
    same, told, back = (undo(style=style).step("s0") for style in ("same", "told", "back"))
    assert isinstance(same, Step)
    assert same.definition().input is None
    assert isinstance(told, Step)
    assert told.definition().input is not None
    assert isinstance(back, Step)
    assert back.target == "alpha.back"


def test_the_run_of_an_undo_is_known_by_its_path() -> None:
    """The path of an undo leads to its step, and that of a step to itself."""
    assert run_of(PATH) == run_of("steps/s0") == "steps/s0"
    program = StepsProgram(id="w", steps=(PlannedStep(id="s0", uses=True),))
    assert program.uses("steps/s0")
    assert not program.uses(PATH)
