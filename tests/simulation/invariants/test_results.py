"""Tests of `invariants.results`: each sees its violation, planted."""

from __future__ import annotations

from tests.simulation.planting import LEASE, Plant, step


def test_a_result_that_changes_is_seen() -> None:
    """Another output of a step that has succeeded is a violation, and so is another state."""
    plant = Plant()
    plant.begin()
    plant.succeed_a()
    plant.record(step("a", "SUCCESS", 50, output="z"))
    assert plant.names() == {"results never change"}
    plant.record(step("a", "FAILURE", 51, output="z"))
    assert plant.names() == {"results never change"}


def test_a_result_that_is_recorded_twice_is_seen() -> None:
    """A second success of a step in the history is a violation, although it changes nothing."""
    plant = Plant()
    plant.begin()
    plant.succeed_a()
    told = [("StepSucceeded", "m5", "steps/a attempt 1")]
    plant.record(step("b", "RUNNING", 45), causes=told)
    assert plant.names() == {"results recorded twice"}


def test_a_result_that_nobody_returned_is_seen() -> None:
    """A recorded output that no call of the handler has returned is a violation."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.call("a", "success", "x")
    told = [("StepSucceeded", "m2", "steps/a attempt 1")]
    write = plant.write([step("a", "SUCCESS", 6, output="another")], told)
    plant.commit(write, settled=[LEASE + 1])
    assert plant.names() == {"results are returned"}
