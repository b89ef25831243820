"""Tests of `invariants.innocence`: each sees its violation, planted."""

from __future__ import annotations

import pytest

from tests.simulation.invariants.innocence import NOTICED_S
from tests.simulation.planting import NOW_MS, Plant, root, step

FAILED = [("StepFailed", "m2", "steps/a attempt 1: ValueError: no")]


@pytest.mark.parametrize("outcome", ["nobody", "", "success", "cancelled"])
def test_a_failure_that_no_handler_had_is_seen(outcome: str) -> None:
    """A failure without a call, or of a call that has not failed, is a violation."""
    plant = Plant()
    plant.begin()
    if outcome != "nobody":
        plant.call("a", outcome)
    plant.record(step("a", "RETRYING", 6, spent=1, due_ms=NOW_MS), causes=FAILED)
    assert plant.names() == {"innocent failure"}


def test_a_failure_of_a_handler_is_none() -> None:
    """A failure that a call of the handler had is no violation, nor is one by its timeout."""
    plant = Plant()
    plant.begin()
    plant.call("a", "failure")
    plant.record(step("a", "RETRYING", 6, spent=1, due_ms=NOW_MS), causes=FAILED)
    assert plant.names() == set()
    late = Plant()
    late.begin()
    late.call("a", "cancelled")
    late.clock_s = 60.0
    late.record(step("a", "RETRYING", 6, spent=1, due_ms=NOW_MS), causes=FAILED)
    assert late.names() == set()


def test_a_failure_before_the_handler_is_none() -> None:
    """A failure that kept the handler from being called at all is its own reason."""
    plant = Plant()
    plant.begin()
    told = [("StepFailed", "m2", "steps/a attempt 1: flow.errors.InvalidInput: no")]
    plant.record(step("a", "RETRYING", 6, spent=1, due_ms=NOW_MS), causes=told)
    assert plant.names() == set()


def test_an_attempt_that_is_spent_without_a_report_is_seen() -> None:
    """A step that counts one more attempt as spent, with no failure recorded, is a violation."""
    plant = Plant()
    plant.begin()
    plant.record(step("a", "RUNNING", 6, spent=1), causes=[("TimerFired", "", "RetryDue steps/a")])
    assert plant.names() == {"attempts are spent by reports"}


def test_an_execution_that_fails_for_nothing_is_seen() -> None:
    """An execution in FAILURE of which no step has failed is a violation."""
    plant = Plant()
    plant.begin()
    aborted = step("a", "ABORTED", 6)
    plant.record(aborted, root("FAILURE", 7, ended_ms=NOW_MS, failure={"type": "x"}))
    assert plant.names() == {"failures have reasons"}


def test_a_failure_that_was_not_planned_is_seen() -> None:
    """An execution that fails at the end although its handlers never planned it is a violation."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.call("a", "failure")
    failed = step("a", "FAILURE", 6, spent=1, failure={"type": "x"})
    write = plant.write([failed, root("FAILURE", 7, ended_ms=NOW_MS)], FAILED)
    plant.commit(write, settled=[(1 << 32) + 1])
    assert plant.names() == set()
    assert plant.names(at_the_end=True) == {"no innocent execution fails"}


def test_who_leaves_may_leave_an_incident() -> None:
    """Whoever gets a permit on its way out may not have the time for its handler."""
    plant = Plant()
    plant.ledger.healed()
    plant.clock_s = 1.0
    plant.ledger.leaving.add("worker-0")
    plant.begin()
    plant.commit(plant.write([step("once", "RUNNING", 61)]), rows=[plant.row("once")])
    plant.record(step("once", "RUNNING", 62, permit="p", worker="w"))
    plant.record(step("once", "RUNNING", 63, permit="p", worker="w", silent_ms=NOW_MS))
    assert plant.names() == set()


def test_an_incident_without_trouble_is_seen() -> None:
    """A step that counts as silent although all is well, or without a permit, is a violation."""
    plant = Plant()
    plant.begin()
    plant.commit(plant.write([step("once", "RUNNING", 61)]), rows=[plant.row("once")])
    plant.record(step("once", "RUNNING", 62, permit="p"))
    plant.record(step("once", "RUNNING", 63, permit="p", silent_ms=NOW_MS))
    assert plant.names() == set()
    other = Plant()
    other.ledger.healed()
    other.clock_s = NOTICED_S + 1
    other.begin()
    other.commit(other.write([step("once", "RUNNING", 61)]), rows=[other.row("once")])
    other.record(step("once", "RUNNING", 62, permit="p"))
    other.record(step("once", "RUNNING", 63, permit="p", silent_ms=NOW_MS))
    assert other.names() == {"incidents are real"}
    early = Plant()
    early.ledger.healed()
    early.clock_s = NOTICED_S - 1
    early.begin()
    early.commit(early.write([step("once", "RUNNING", 61)]), rows=[early.row("once")])
    early.record(step("once", "RUNNING", 62, permit="p"))
    early.record(step("once", "RUNNING", 63, permit="p", silent_ms=NOW_MS))
    assert early.names() == set()
    plant.record(step("a", "RUNNING", 64, silent_ms=NOW_MS))
    assert plant.names() == {"incidents are real"}
