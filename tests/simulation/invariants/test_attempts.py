"""Tests of `invariants.attempts`: each sees its violation, planted."""

from __future__ import annotations

import pytest

from tests.simulation.planting import ID, NOW_MS, Plant, command, inner, root, step


@pytest.mark.parametrize("state", ["SUSPENDING", "SUSPENDED"])
def test_an_attempt_while_suspended_is_seen(state: str) -> None:
    """A new attempt in a commit after the suspension is a violation; with the resume it is none."""
    plant = Plant()
    plant.begin()
    told = [("StepFailed", "m2", "steps/a attempt 1: no")]
    plant.call("a", "failure")
    plant.record(step("a", "RETRYING", 6, due_ms=NOW_MS, spent=1), causes=told)
    plant.record(root(state, 7), command("suspend", 8), causes=[("SuspendRequested", "c", "")])
    retried = plant.write([step("a", "RUNNING", 9, attempt=2, spent=1)], [("TimerFired", "", "")])
    plant.commit(retried, rows=[plant.row("a", 2)])
    assert plant.names() == {"attempt while suspended or after abort"}


def test_an_attempt_with_a_resume_is_none() -> None:
    """The commit of a resume may hold a new attempt."""
    plant = Plant()
    plant.begin()
    plant.call("a", "failure")
    told = [("StepFailed", "m2", "steps/a attempt 1: no")]
    plant.record(
        step("a", "RETRYING", 6, due_ms=NOW_MS, spent=1), root("SUSPENDED", 7), causes=told
    )
    again = step("a", "RUNNING", 9, attempt=2, spent=1)
    resumed = plant.write([again, root("RUNNING", 8)], [("ResumeRequested", "c", "")])
    plant.commit(resumed, rows=[plant.row("a", 2)])
    assert plant.names() == set()


def test_an_attempt_in_a_sub_workflow_after_an_abort_is_seen() -> None:
    """A row for a step deep inside is a violation once its execution was aborted."""
    plant = Plant()
    plant.begin()
    aborted = [step("a", "ABORTED", 6), inner("ABORTED", 71), root("ABORTED", 7, ended_ms=NOW_MS)]
    aborted[-1][3]["epoch"] += 1
    plant.record(*aborted, causes=[("AbortRequested", "c", "")])
    assert plant.names() == set()
    deep = plant.write([step("sub/steps/deep", "RUNNING", 81)])
    deep_row = plant.row("sub/steps/deep")
    plant.commit(deep, rows=[deep_row])
    assert "attempt while suspended or after abort" in plant.names()


def test_a_start_that_is_suspended_from_the_beginning_makes_no_attempt() -> None:
    """An attempt in the first record of an execution that is suspended is a violation."""
    plant = Plant()
    plant.ledger.asked(ID)
    nodes = [root("SUSPENDING"), ["input", "input@1", "SUCCESS", {"body": 5}, 3, 3]]
    write = plant.write([*nodes, step("a", "RUNNING", 5)], [("ExecutionStarted", "m1", "")])
    plant.commit(write, rows=[plant.row("a")])
    assert plant.names() == {"attempt while suspended or after abort"}


def test_an_attempt_while_the_workflow_is_paused_is_seen() -> None:
    """A new attempt after the answer to a pause is a violation, until somebody unpauses."""
    plant = Plant()
    plant.ledger.wants("planted", "pause")
    plant.ledger.controlled("planted", "pause")
    plant.begin()
    assert plant.names() == {"attempt while the workflow is paused"}
    plant.ledger.wants("planted", "unpause")
    plant.succeed_a()
    assert plant.names() == set()
    # The end of the pause may come late, and then ends this one.
    plant.ledger.controlled("planted", "pause")
    plant.begin("e2")
    assert plant.names() == set()


def test_of_two_pauses_at_once_nobody_knows_the_later_one() -> None:
    """A pause that is answered, but was ended while it was under way, holds nothing."""
    plant = Plant()
    plant.ledger.wants("planted", "pause")
    plant.ledger.wants("planted", "unpause")
    plant.ledger.controlled("planted", "unpause")
    plant.ledger.controlled("planted", "pause")
    plant.begin()
    assert plant.names() == set()


@pytest.mark.parametrize("verb", ["suspend", "resume", "abort"])
def test_an_answer_before_the_commit_is_seen(verb: str) -> None:
    """A command that is acknowledged and is not in the journal is a violation."""
    plant = Plant()
    plant.begin()
    plant.ledger.controlled(ID, verb, "RUNNING")
    assert plant.names() == {"acknowledged control is committed"}
    plant.ledger.controlled("nobody", verb, "RUNNING")
    assert plant.names() == {"acknowledged control is committed"}


def test_an_abort_that_keeps_the_epoch_is_seen() -> None:
    """An abort after which late replies would still be of the present run epoch is a violation."""
    plant = Plant()
    plant.begin()
    plant.record(step("a", "ABORTED", 6), root("ABORTED", 7, ended_ms=NOW_MS))
    assert plant.names() == {"aborts bump the epoch"}


@pytest.mark.parametrize("state", ["SUSPENDED", "SUCCESS", "FAILURE", "ABORTED"])
def test_what_is_quiet_and_has_something_out_is_seen(state: str) -> None:
    """An execution that is suspended or has ended while a step runs is a violation."""
    plant = Plant()
    plant.begin()
    ended = {} if state == "SUSPENDED" else {"ended_ms": NOW_MS}
    plant.record(root(state, 7, **ended))
    assert "quiet is quiet" in plant.names()
