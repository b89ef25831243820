"""Tests of `invariants.taking_back`: each sees its violation, planted."""

from __future__ import annotations

import pytest

from tests.simulation.planting import ID, NOW_MS, Plant, step
from tests.simulation.planting_sagas import NEXT, SagaPlant, told_of_a, undo


def test_an_undo_of_what_never_began_is_seen() -> None:
    """An undo that begins although no handler of its step ever did is a violation."""
    plant = SagaPlant()
    plant.begin()
    plant.ledger.calls.clear()
    plant.record(step("a", "SUCCESS", 6, output="x"), undo("a", "RUNNING", 102))
    plant.names()
    plant.call("a/undo", body=told_of_a())
    assert plant.names() == {"undone and never begun"}


def test_an_undo_that_a_person_wants_is_right() -> None:
    """What a person has had sent although nothing is known of the run is no violation."""
    plant = SagaPlant()
    plant.begin()
    unknown = {"type": "flow.errors.OutcomeUnknown", "message": "nobody knows"}
    plant.record(step("a", "SUCCESS", 6, output="x"), undo("a", "FAILURE", 102, failure=unknown))
    plant.names()
    plant.call("a/undo", body=told_of_a())
    assert plant.names() == set()


def undone_and_never_begun(name: str) -> SagaPlant:
    """Return evidence that a step is being undone which no handler ever began."""
    plant = SagaPlant()
    plant.begin()
    plant.ledger.calls.clear()
    plant.record(step(name, "SUCCESS", 6, output="x"), undo(name, "RUNNING", 102))
    return plant


@pytest.mark.parametrize(("name", "found"), [("a", 0), ("once", 1)])
def test_nobody_knows_of_all_copies(name: str, found: int) -> None:
    """What was sent again may be undone in case a copy began, if that needs no permit."""
    plant = undone_and_never_begun(name)
    plant.publish("step.request", **{"flow-again": "1", "flow-execution": ID})
    plant.names()
    plant.call(f"{name}/undo", body=told_of_a())
    assert ("undone and never begun" in plant.names()) == found


def test_whoever_has_loaded_it_does_not_know_of_copies() -> None:
    """What was loaded may be undone as well, although no handler of it ever began."""
    plant = undone_and_never_begun("a")
    plant.observer.called("load", plant.process, ([ID],), {ID: None})
    plant.names()
    plant.call("a/undo", body=told_of_a())
    assert plant.names() == set()


def test_a_run_that_begins_after_its_undo_is_seen() -> None:
    """A second delivery of an attempt may be late; an attempt that nobody had begun may not."""
    plant = SagaPlant()
    plant.fail_once()
    plant.undo_b()
    plant.call("b", attempt=1, body="x")
    assert plant.names() == set()
    plant.record(step("b", "FAILURE", 43, attempt=2, began=True))
    plant.names()
    plant.call("b", attempt=2, body="x")
    assert plant.names() == {"run after its undo"}


def test_an_effect_that_stays_is_seen() -> None:
    """An undo that was told another key than that of the run leaves the effect of the run."""
    for key, broken in (("e1:steps/a", set[str]()), ("e1:steps/a/undo", {LEFT})):
        plant = SagaPlant()
        plant.fail_once()
        plant.undo_b()
        plant.call("a/undo", "success", "undone", body=told_of_a(run_key=key))
        plant.record(undo("a", "SUCCESS", 103, output="undone", ended_ms=NOW_MS))
        plant.names()
        assert plant.names(at_the_end=True) & {LEFT} == broken


LEFT = "effects are taken back"


def test_a_tombstone_refuses_late_runs() -> None:
    """A copy of a run that is late has no effect where the undo has left a tombstone."""
    plant = SagaPlant()
    plant.compensated()
    plant.call("a", "success", "x")
    assert LEFT not in plant.names(at_the_end=True)


def test_what_an_undo_is_told_is_what_is_recorded() -> None:
    """An undo that gets anything but the recorded input and output of its run is a violation."""
    for told in (told_of_a(output="another"), told_of_a(input=6), told_of_a(status="FAILURE")):
        plant = SagaPlant()
        plant.fail_once()
        plant.undo_b()
        plant.names()
        plant.call("a/undo", body=told)
        assert plant.names() == {"inputs are what is recorded"}


def test_a_reply_that_settles_is_recorded_before_it_is_acknowledged() -> None:
    """A reply of an attempt that was ended by force is needed by its undo: it must not be lost."""
    plant: Plant = SagaPlant()
    plant.begin()
    plant.record(step("a", "ABORTED", 6, unsettled=True))
    plant.names()
    plant.acked("step.reply", "e1/1000/4/1")
    assert plant.names() == {"acknowledged before it was committed"}
    assert NEXT == 1001
