"""Tests of `invariants.effects`: each sees its violation, planted."""

from __future__ import annotations

from tests.simulation.planting import NOW_MS, Plant, root, step


def granted() -> Plant:
    """Return evidence of a step that runs at most once, and has its permit."""
    plant = Plant()
    plant.begin()
    plant.commit(plant.write([step("once", "RUNNING", 61)]), rows=[plant.row("once")])
    plant.record(step("once", "RUNNING", 62, permit="p1"))
    assert plant.names() == set()
    return plant


def test_a_second_permit_is_seen() -> None:
    """Another permit for the same step is a violation."""
    plant = granted()
    plant.record(step("once", "RUNNING", 63, permit="p2"))
    assert plant.names() == {"one permit"}


def test_an_attempt_after_the_permit_is_seen() -> None:
    """A step that goes out once more although somebody has its permit is a violation."""
    plant = granted()
    again = plant.write([step("once", "RUNNING", 63, attempt=2, permit="p1")])
    plant.commit(again, rows=[plant.row("once", 2)])
    assert plant.names() == {"one permit"}


def test_a_permit_after_the_abort_is_seen() -> None:
    """A permit that is granted in an execution that had been aborted is a violation."""
    plant = Plant()
    plant.begin()
    aborted = root("ABORTED", 7, ended_ms=NOW_MS)
    aborted[3]["epoch"] += 1
    plant.record(step("a", "ABORTED", 6), step("once", "ABORTED", 61, attempt=0), aborted)
    assert plant.names() == set()
    plant.record(step("once", "ABORTED", 62, attempt=0, permit="p"))
    assert "no permit after the end" in plant.names()


def test_a_second_run_is_seen() -> None:
    """A handler that begins twice for one permit, or without any, is a violation."""
    plant = granted()
    plant.call("once")
    assert plant.names() == set()
    plant.call("once")
    assert plant.names() == {"one run per permit"}


def test_a_key_that_differs_is_seen() -> None:
    """Two keys for one step are a violation, and so is one key for two steps."""
    plant = Plant()
    plant.begin()
    plant.call("a", key="k1")
    plant.call("a", key="k2")
    assert plant.names() == {"keys are of steps"}
    plant.succeed_a()
    plant.names()
    plant.call("b", key="k1", body="x")
    assert plant.names() == {"keys are of steps"}
