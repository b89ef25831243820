"""Tests of sagas in scenarios: half of these have some, and the others stay as they are."""

from __future__ import annotations

from flow import Flow
from tests.simulation.invention import invent
from tests.simulation.programs import StepsProgram
from tests.simulation.sagas import with_sagas
from tests.simulation.scenario import Scenario
from tests.simulation.search import FEATURES, features_of


def has_sagas(scenario: Scenario) -> bool:
    """Return whether anything in a scenario could ever be undone."""
    programs = (each for each in scenario.programs if isinstance(each, StepsProgram))
    return any(step.undo for program in programs for _, step in program.walk()) or any(
        program.on_error for program in scenario.programs if isinstance(program, StepsProgram)
    )


def test_half_of_the_scenarios_have_sagas() -> None:
    """Sagas are drawn for every other seed, and always for the same ones."""
    found = [has_sagas(invent(seed)) for seed in range(200)]
    assert 70 < sum(found) < 130
    assert found == [has_sagas(invent(seed)) for seed in range(200)]


def test_scenarios_without_sagas_have_nothing_of_them() -> None:
    """Where nothing is undone nobody asks for it, and no handler fails for good because of it."""
    verbs = {"compensate", "undo", "undo step", "resolve"}
    for scenario in map(invent, range(200)):
        if not has_sagas(scenario):
            assert not any(control.verb in verbs for control in scenario.controls)
            assert not any(start.on_error or start.on_undo_error for start in scenario.executions)


def test_sagas_change_nothing_else() -> None:
    """Sagas are drawn by dice of their own: what else happens in a scenario stays as it was."""
    scenario = next(each for each in map(invent, range(100)) if not has_sagas(each))
    assert with_sagas(scenario) == scenario
    saga = next(each for each in map(invent, range(100)) if has_sagas(each))
    again = with_sagas(saga)
    assert (again.faults, again.chances, again.sizes) == (saga.faults, saga.chances, saga.sizes)
    assert [start.at_s for start in again.executions] == [start.at_s for start in saga.executions]


def test_everything_of_sagas_is_drawn() -> None:
    """Each kind of undo and each mode is drawn within 200 seeds, and is a workflow."""
    drawn = {feature for seed in range(200) for feature in features_of(invent(seed))}
    wanted = [each for each in FEATURES if each.startswith(("an undo of", "on_", "a sub-"))]
    assert [each for each in wanted if each not in drawn] == []
    for seed in range(60):
        for each in invent(seed).programs:
            app = Flow("world", broker="memory://", store="memory://")
            assert each.declare(app).definition.id == each.id
