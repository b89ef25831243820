"""Tests of `flow.kernel.execution`: why an execution counts as failed that was undone in part."""

from __future__ import annotations

from flow.kernel.execution import OF_UNDOING
from tests.flow.programs.driver import Run, planned, undoable


def undone_in_part() -> Run:
    """Return an execution that had succeeded, and of which the undo of one step has failed."""
    run = Run(planned(undoable("a"), undoable("b"))).start()
    run.succeed("steps/a")
    run.succeed("steps/b")
    run.undo("a")
    run.fail("steps/a/undo")
    assert run.stands("FAILURE")
    assert run.data.failure is not None
    assert run.data.failure.type == "flow.errors.UndoFailed"
    return run


def test_a_failure_of_an_undo_is_over_when_a_person_has_dealt_with_it() -> None:
    """Then it counts as failed because other steps are not undone, and no undo has failed."""
    run = undone_in_part()
    run.resolve("steps/a")
    assert run.stands("FAILURE")
    assert run.data.failure is not None
    assert run.data.failure.type == "flow.errors.StepsUndone"
    assert run.data.incident == ""


def test_what_had_succeeded_and_is_undone_has_no_failure() -> None:
    """Once all of it is undone, nothing has failed: neither undos nor steps."""
    run = undone_in_part()
    run.undo(command="again")
    for path in run.out:
        run.succeed(path)
    assert run.stands("COMPENSATED")
    assert run.data.failure is None


def test_its_own_failure_stays() -> None:
    """Why a step of it had failed is kept, however often it is undone."""
    run = Run(planned(undoable("a"), on_error="compensate")).start()
    run.fail("steps/a")
    run.fail("steps/a/undo")
    run.undo()
    run.succeed("steps/a/undo")
    assert run.stands("COMPENSATED")
    assert run.data.failure is not None
    assert run.data.failure.type not in OF_UNDOING
