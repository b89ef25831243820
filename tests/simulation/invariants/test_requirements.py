"""Tests of `invariants.requirements`: each sees its violation, planted."""

from __future__ import annotations

from tests.simulation.planting import Plant, step


def test_a_step_before_its_requirement_is_seen() -> None:
    """An attempt of a step whose requirement is still out is a violation."""
    plant = Plant()
    plant.begin()
    plant.commit(plant.write([step("b", "RUNNING", 41)]), rows=[plant.row("b")])
    assert plant.names() == {"step before its requirement"}


def test_a_success_that_leaves_steps_out_is_seen() -> None:
    """An execution that succeeds although a step of it was never done is a violation."""
    plant = Plant()
    plant.begin()
    plant.succeed_a()
    plant.end(is_complete=False)
    assert plant.names() == {"success is complete"}


def test_a_handler_that_runs_what_is_not_committed_is_seen() -> None:
    """A call for an attempt of which no commit knows is a violation."""
    plant = Plant()
    plant.begin()
    plant.call("a", attempt=2)
    assert plant.names() == {"begun before it was committed"}


def test_a_wrong_input_is_seen() -> None:
    """A handler that gets anything but what is recorded is a violation, for each kind of input."""
    plant = Plant()
    plant.begin()
    plant.call("a", body=6)
    assert plant.names() == {"inputs are what is recorded"}
    plant.succeed_a()
    plant.call("b", body="x")
    assert plant.names() == set()
    plant.call("b", body="another")
    assert plant.names() == {"inputs are what is recorded"}
