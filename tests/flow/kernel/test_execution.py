"""Tests of `flow.kernel.execution`: the transition table of an execution, its data and its time."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import InvalidTransition
from flow.failure import Failure
from flow.kernel import execution
from flow.kernel.commands import ExecutionDeadline
from flow.kernel.decide import MACHINES
from flow.kernel.execution import EXECUTION, ExecutionData, execution_clock
from flow.kernel.machine import Transition
from flow.kernel.tree import Tree
from flow.status import Status

WHY = Failure("builtins.ValueError", "no")
BEGAN = execution.Began(10, 8, 100)
KNOWN = execution.OutcomeKnown(Status.FAILURE, WHY)

# What moves an execution, the event it is given, from where, and where to.
TABLE: list[tuple[Transition[ExecutionData, Any], Any, str, str]] = [
    (execution.BEGIN, BEGAN, "PENDING", "RUNNING"),
    (execution.SUSPEND, execution.Suspended(5, "run"), "RUNNING", "SUSPENDING"),
    (execution.QUIET, None, "SUSPENDING", "SUSPENDED"),
    (execution.RESUME, 5, "SUSPENDING SUSPENDED", "RUNNING"),
    (execution.REVIVE, BEGAN, "FAILURE", "RUNNING"),
    (execution.RESET, None, "FAILURE ABORTED COMPENSATED", "PENDING"),
    (execution.ABORT, None, "RUNNING SUSPENDING SUSPENDED", "ABORTING"),
    (execution.ABORTED, execution.Ended(5), "ABORTING", "ABORTED"),
    (execution.INTERRUPT, execution.Ended(5), "PENDING RUNNING COMPENSATING", "ABORTED"),
    (execution.NEW_EPOCH, None, "RUNNING", "RUNNING"),
    (execution.NOTE_OUTCOME[Status.RUNNING], KNOWN, "RUNNING", "RUNNING"),
    (execution.NOTE_OUTCOME[Status.COMPENSATING], KNOWN, "COMPENSATING", "COMPENSATING"),
    (
        execution.COMPENSATE,
        execution.Compensating(5),
        "RUNNING SUSPENDING SUSPENDED SUCCESS FAILURE ABORTED",
        "COMPENSATING",
    ),
    (execution.COMPENSATED, execution.Ended(5), "COMPENSATING", "COMPENSATED"),
    (execution.STAY_ABORTED, execution.Ended(5), "COMPENSATING", "ABORTED"),
    (execution.SUCCEED, execution.Ended(5), "RUNNING", "SUCCESS"),
    (execution.FAIL, execution.Ended(5, WHY), "RUNNING COMPENSATING", "FAILURE"),
]


@pytest.mark.parametrize("state", Status)
@pytest.mark.parametrize(("move", "event", "sources", "destination"), TABLE)
def test_the_table(
    move: Transition[ExecutionData, Any],
    event: object,
    sources: str,
    destination: str,
    state: Status,
) -> None:
    """Each arrow starts where the table says and nowhere else, and ends where it says."""
    tree = Tree.create(MACHINES, EXECUTION, state, ExecutionData())
    with tree.transaction():
        if state.value in sources.split():
            tree.root.apply(move, event)
            assert tree.root.state is Status[destination]
        else:
            with pytest.raises(InvalidTransition):
                tree.root.apply(move, event)
            assert tree.root.state is state


@pytest.mark.parametrize("state", Status)
def test_incidents_are_noted_where_attempts_can_be_out(state: Status) -> None:
    """What is said of an execution changes while attempts may be out, and only then."""
    move = execution.NOTE_INCIDENT.get(state)
    with_attempts = (Status.RUNNING, Status.SUSPENDING, Status.COMPENSATING)
    assert (move is not None) == (state in with_attempts)
    if move is not None:
        assert move.destination is state
        assert move.apply(ExecutionData(), "look").incident == "look"


def test_all_arrows_are_in_the_table() -> None:
    """The golden table names every transition of the module."""
    named = {item.name for item in vars(execution).values() if isinstance(item, Transition)}
    by_status = {arrow.name for arrow in execution.NOTE_OUTCOME.values()}
    assert named | by_status == {move.name for move, *_ in TABLE}


def test_the_deadline_counts_in_execution_time() -> None:
    """A timeout begins with the execution, by its own clock; without one there is no deadline."""
    assert execution.BEGIN.apply(ExecutionData(), BEGAN) == ExecutionData(
        started_ms=10, deadline_ms=108
    )
    endless = execution.Began(10, 8, None)
    assert execution.BEGIN.apply(ExecutionData(), endless).deadline_ms is None


@pytest.mark.parametrize(("clock", "offset", "seen"), [("run", 0, 900), ("stop", 400, 500)])
def test_a_pause_counts_or_does_not(clock: Any, offset: int, seen: int) -> None:
    """A clock that stops stands still while suspended, and is behind by the pause afterwards."""
    data = execution.SUSPEND.apply(ExecutionData(), execution.Suspended(500, clock))
    assert execution_clock(data, 900) == seen
    data = execution.RESUME.apply(data, 900)
    assert (data.stopped_ms, data.offset_ms) == (None, offset)
    assert execution_clock(data, 1_000) == 1_000 - offset


def test_a_clock_that_was_set_back_adds_no_pause() -> None:
    """If wall time went back meanwhile, execution time does not jump ahead."""
    data = execution.RESUME.apply(ExecutionData(stopped_ms=500, offset_ms=3), 400)
    assert data.offset_ms == 3


def test_trying_again_begins_a_new_epoch() -> None:
    """A resumed failure has a new epoch and a new deadline, and its end is forgotten."""
    before = ExecutionData(started_ms=1, ended_ms=9, failure=WHY, incident="look")
    after = execution.REVIVE.apply(before, BEGAN)
    assert after == ExecutionData(started_ms=1, deadline_ms=108, epoch=2)
    assert execution.REVIVE.apply(before, execution.Began(10, 8, None)).deadline_ms is None


def test_a_sub_workflow_is_put_back() -> None:
    """A sub-workflow that is to begin again has neither an end nor a deadline."""
    before = ExecutionData(started_ms=1, ended_ms=9, deadline_ms=5, failure=WHY, incident="look")
    assert execution.RESET.apply(before, None) == ExecutionData(started_ms=1)


def test_force_begins_a_new_epoch() -> None:
    """An abort and a timeout make answers to earlier attempts stale."""
    assert execution.ABORT.apply(ExecutionData(), None).epoch == 2
    assert execution.NEW_EPOCH.apply(ExecutionData(), None).epoch == 2


def test_the_end_keeps_what_was_known() -> None:
    """The end takes a failure and an incident over, or keeps those that were noted before."""
    known = execution.NOTE_OUTCOME[Status.RUNNING].apply(ExecutionData(), KNOWN)
    assert (known.outcome, known.failure) == ("FAILURE", WHY)
    ended = execution.FAIL.apply(known, execution.Ended(5, incident="look"))
    assert ended == ExecutionData(ended_ms=5, failure=WHY, incident="look")


def test_a_compensation_goes_on_after_the_end() -> None:
    """Its epoch is its own, its clock goes, there is no deadline, and the failure is kept."""
    before = ExecutionData(
        started_ms=1, ended_ms=9, deadline_ms=50, stopped_ms=7, failure=WHY, incident="look"
    )
    after = execution.COMPENSATE.apply(before, execution.Compensating(17))
    assert after == ExecutionData(started_ms=1, epoch=2, offset_ms=10, failure=WHY)
    known = ExecutionData(outcome="SUCCESS", deadline_ms=5)
    begun = execution.COMPENSATE.apply(known, execution.Compensating(17, WHY))
    assert begun == ExecutionData(epoch=2, failure=WHY)


@pytest.mark.parametrize("machine", [EXECUTION, execution.SUB_WORKFLOW])
def test_only_a_running_execution_has_a_timer(machine: Any) -> None:
    """The deadline is asked for while it runs and its outcome is open."""
    timed = ExecutionData(deadline_ms=9)
    assert machine.asked(Status.RUNNING, timed) == (ExecutionDeadline(deadline_ms=9),)
    assert machine.asked(Status.SUSPENDED, timed) == ()
    assert machine.asked(Status.RUNNING, ExecutionData()) == ()
    known = ExecutionData(deadline_ms=9, outcome="SUCCESS")
    assert machine.asked(Status.RUNNING, known) == ()
