"""Tests of `flow.kernel.turn`: the moment of a decision, as the execution sees it."""

from __future__ import annotations

import pytest

from flow.errors import IncompatibleType
from flow.kernel.decide import MACHINES
from flow.kernel.execution import COMMAND, EXECUTION, CommandData, ExecutionData
from flow.kernel.tree import Tree
from flow.kernel.turn import Moment, Turn
from flow.status import Status


def turn(status: Status, data: ExecutionData) -> Turn:
    """Return a turn at 5,000 ms about an execution without steps."""
    return Turn(Tree.create(MACHINES, EXECUTION, status, data), Moment(5_000, 0.5))


def test_a_turn_knows_both_clocks() -> None:
    """Execution time is wall time less the offset, and stands while the clock is stopped."""
    running = turn(Status.RUNNING, ExecutionData(offset_ms=700))
    assert (running.now_ms, running.clock_ms, running.random) == (5_000, 4_300, 0.5)
    stopped = turn(Status.SUSPENDED, ExecutionData(offset_ms=700, stopped_ms=1_000))
    assert stopped.clock_ms == 300


def test_only_what_runs_makes_attempts() -> None:
    """Of all statuses only RUNNING lets steps out, and COMPENSATING undos."""
    running = [status for status in Status if turn(status, ExecutionData()).running]
    assert running == [Status.RUNNING]
    advancing = {status for status in Status if turn(status, ExecutionData()).advancing}
    assert advancing == {Status.RUNNING, Status.COMPENSATING}


def test_only_an_execution_has_turns() -> None:
    """A tree whose root is something else is not decided about."""
    tree = Tree.create(MACHINES, COMMAND, Status.SUCCESS, CommandData("abort", "ABORTED"))
    with pytest.raises(IncompatibleType, match="is command, not execution"):
        Turn(tree, Moment(5_000))
