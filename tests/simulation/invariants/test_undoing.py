"""Tests of `invariants.undoing`: each sees its violation, planted."""

from __future__ import annotations

from tests.simulation.planting import NOW_MS, Entry, inner, step
from tests.simulation.planting_sagas import FAILURE, NEXT, SagaPlant, undo

UNKNOWN = {"type": "flow.errors.OutcomeUnknown", "message": "nobody knows"}


def begun() -> SagaPlant:
    """Return evidence of a saga in which the undo of `b` is out."""
    plant = SagaPlant()
    plant.fail_once()
    assert plant.names() == set()
    return plant


def deep() -> list[Entry]:
    """Return a sub-workflow whose step has run, and is to be undone."""
    return [
        inner("COMPENSATING", 130),
        step("sub/steps/deep", "SUCCESS", 81, output="z", ended_ms=NOW_MS),
        undo("sub/steps/deep", "PENDING", 121, attempt=0),
    ]


def test_a_whole_saga_is_all_right() -> None:
    """A saga in which nothing is wrong is followed to its end, and nobody objects."""
    plant = SagaPlant()
    plant.compensated()
    assert plant.names() == set()
    assert plant.names(at_the_end=True) == set()


def test_a_compensation_that_leaves_a_run_is_seen() -> None:
    """An execution that is COMPENSATED although an undo of it was never made is a violation."""
    plant = begun()
    plant.record(
        undo("b", "SKIPPED", 112, ended_ms=NOW_MS),
        plant.root("COMPENSATED", 141, ended_ms=NOW_MS),
    )
    assert plant.names() == {"what is compensated is undone"}


def test_a_run_that_only_the_ledger_knows_is_seen() -> None:
    """A handler that ran in a compensated execution, and was not undone, is a violation."""
    plant = SagaPlant()
    plant.compensated()
    aborted = step("sub/steps/deep", "ABORTED", 82, ended_ms=NOW_MS)
    begun_late = SagaPlant()
    begun_late.begin()
    begun_late.succeed_a()
    begun_late.fail_b(inner("ABORTED", 72), aborted)
    begun_late.undo_b()
    begun_late.undo_a()
    assert begun_late.names() == set()
    begun_late.call("sub/steps/deep")
    assert begun_late.names(at_the_end=True) == {"what is compensated is undone"}


def test_a_run_that_is_said_never_to_have_begun_is_seen() -> None:
    """An undo that was left out because its run never began, which it had, is a violation."""
    plant = begun()
    plant.undo_b()
    plant.land("a", None)
    left = undo("a", "SKIPPED", 103, 0, reason="its run never began", ended_ms=NOW_MS)
    plant.record(left, plant.root("COMPENSATED", 141, ended_ms=NOW_MS))
    assert "what is compensated is undone" in plant.names()


def test_an_end_in_which_an_undo_waits_is_seen() -> None:
    """An execution that ends while an undo waits is a violation, unless one has failed."""
    plant = begun()
    skipped = undo("b", "SKIPPED", 112, ended_ms=NOW_MS)
    plant.record(skipped, plant.root("FAILURE", 141, ended_ms=NOW_MS))
    assert plant.names() == {"what is compensated is undone"}


def test_a_failed_undo_that_nobody_is_told_of_is_seen() -> None:
    """A failed undo without an incident that names its step is a violation."""
    failed = undo("b", "FAILURE", 112, failure=UNKNOWN, ended_ms=NOW_MS)
    for incident, broken in (("1 undo failed: steps/b", set[str]()), ("", {NAMED}), ("a", {NAMED})):
        plant = begun()
        ended = plant.root("FAILURE", 141, ended_ms=NOW_MS, incident=incident)
        plant.record(failed, ended)
        assert plant.names() == broken


NAMED = "failed undos are incidents"


def test_a_clean_end_in_spite_of_a_failed_undo_is_seen() -> None:
    """An execution with a failed undo that counts as COMPENSATED is a violation."""
    plant = begun()
    plant.record(
        undo("b", "FAILURE", 112, failure=UNKNOWN, ended_ms=NOW_MS),
        undo("a", "SKIPPED", 102, 0, ended_ms=NOW_MS),
        plant.root("COMPENSATED", 141, ended_ms=NOW_MS, incident="the undo of steps/b failed"),
    )
    assert plant.names() >= {NAMED}


def test_an_incident_without_a_failed_undo_is_seen() -> None:
    """An incident that says that undos failed when none has is a violation."""
    plant = SagaPlant()
    plant.fail_once()
    plant.undo_b()
    plant.land("a", None)
    plant.names()
    plant.record(
        undo("a", "SUCCESS", 103, output="undone", ended_ms=NOW_MS),
        plant.root("COMPENSATED", 141, ended_ms=NOW_MS, incident="1 undo failed: steps/a"),
    )
    assert plant.names() == {NAMED}


def test_an_undo_that_is_made_twice_is_seen() -> None:
    """An undo that has ended well and goes out again, or is deleted, is a violation."""
    plant = begun()
    plant.undo_b()
    assert plant.names() == set()
    again = plant.write([undo("b", "RUNNING", 113, attempt=2)])
    plant.commit(again, rows=[plant.row("b/undo", 2, epoch=NEXT)])
    assert "undone once" in plant.names()
    gone = SagaPlant()
    gone.compensated()
    gone.record(["steps/b/undo", None, 150])
    assert "undone once" in gone.names()


def test_a_step_that_goes_out_meanwhile_is_seen() -> None:
    """An attempt of a step in an execution that is being undone is a violation, at once too."""
    plant = begun()
    forward = step("once", "RUNNING", 61, epoch=NEXT)
    plant.commit(plant.write([forward]), rows=[plant.row("once", epoch=NEXT)])
    assert plant.names() == {"forward while it is undone", "attempt while suspended or after abort"}
    at_once = SagaPlant()
    at_once.begin()
    at_once.succeed_a()
    at_once.fail_b(forward, rows=[at_once.row("once", epoch=NEXT)])
    assert "forward while it is undone" in at_once.names()


def test_an_undo_before_it_is_known_what_its_step_did_is_seen() -> None:
    """An undo of a step that is out, or of which nothing is known, is a violation."""
    plant = SagaPlant()
    plant.begin()
    plant.succeed_a()
    plant.fail_b(unsettled=True)
    assert "undone before it was settled" in plant.names()


def test_an_undo_before_that_of_a_dependent_is_seen() -> None:
    """A step that is undone while that of a dependent is out, or not even made, is a violation."""
    plant = SagaPlant()
    plant.begin()
    plant.succeed_a()
    plant.fail_b(undo("a", "RUNNING", 102), rows=[plant.undo_row("a")])
    assert plant.names() == {"undone before its dependents"}


def test_an_undo_after_a_failed_one_is_right_if_undos_go_on() -> None:
    """A dependent that could not be undone keeps nobody back, unless the workflow says so."""
    failed = undo("b", "FAILURE", 112, failure=UNKNOWN, ended_ms=NOW_MS)
    for mode, broken in (("continue", set[str]()), ("stop", {"undone before its dependents"})):
        plant = SagaPlant()
        plant.fail_once(on_undo_error=mode)
        write = plant.write([failed, undo("a", "RUNNING", 102)])
        plant.commit(write, rows=[plant.undo_row("a")])
        assert plant.names() == broken


def test_an_undo_that_goes_out_after_a_failed_one_is_seen() -> None:
    """Where undos stop when one has failed, another one that goes out is a violation."""
    failed = undo("b", "FAILURE", 112, failure=FAILURE, ended_ms=NOW_MS)
    for mode, broken in (("continue", set[str]()), ("stop", {"halted undos wait"})):
        plant = SagaPlant()
        plant.begin(options={"on_undo_error": mode})
        plant.succeed_a()
        plant.fail_b(*deep())
        plant.record(failed)
        assert plant.names() == set()
        write = plant.write([undo("sub/steps/deep", "RUNNING", 122)])
        plant.commit(write, rows=[plant.undo_row("sub/steps/deep")])
        assert plant.names() == broken
