"""Tests of `flow.kernel.commands`: when a task is wanted still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from flow.kernel.commands import (
    CancelStep,
    ExecutionDeadline,
    RetryDue,
    RunStep,
    SendAnswer,
    SettleDue,
    StartDue,
)
from flow.kernel.execution import ExecutionData
from flow.kernel.machine import MachineTask, Ref
from flow.kernel.steps import StepData
from flow.status import Status


@dataclass
class Look:
    """A node as a task sees it."""

    state: Status
    data: Any
    updated: int = 7


RUN = RunStep(attempt=2, epoch=1)
CANCEL = CancelStep(attempt=2, epoch=1)
RETRY = RetryDue(deadline_ms=500)
START = StartDue(deadline_ms=500)
SETTLE = SettleDue(deadline_ms=500)
DEADLINE = ExecutionDeadline(deadline_ms=500)
DOUBTFUL = StepData(attempt=2, unsettled=True, settle_ms=500)
SECOND = StepData(attempt=2, epoch=1, due_ms=500)
THIRD = StepData(attempt=3, epoch=1, due_ms=900)
TIMED = ExecutionData(deadline_ms=500)

CASES = [
    (RUN, Status.RUNNING, SECOND, True),
    (RUN, Status.RUNNING, THIRD, False),
    (RUN, Status.RUNNING, StepData(attempt=2, epoch=2), False),
    (RUN, Status.SUCCESS, SECOND, False),
    (RUN, Status.RUNNING, StepData(attempt=2, epoch=1, permit="p"), False),
    (SendAnswer(), Status.SUCCESS, None, True),
    (SendAnswer(), Status.PENDING, None, False),
    (CANCEL, Status.ABORTED, SECOND, True),
    (CANCEL, Status.RUNNING, SECOND, False),
    (CANCEL, Status.RUNNING, THIRD, True),
    (RETRY, Status.RETRYING, SECOND, True),
    (RETRY, Status.RETRYING, THIRD, False),
    (RETRY, Status.RUNNING, SECOND, False),
    (START, Status.RUNNING, SECOND, True),
    (START, Status.RUNNING, StepData(attempt=2), False),
    (START, Status.RETRYING, SECOND, False),
    (SETTLE, Status.ABORTED, DOUBTFUL, True),
    (SETTLE, Status.FAILURE, DOUBTFUL, True),
    (SETTLE, Status.RUNNING, DOUBTFUL, False),
    (SETTLE, Status.ABORTED, DOUBTFUL._replace(unsettled=False), False),
    (SETTLE, Status.ABORTED, DOUBTFUL._replace(settle_ms=900), False),
    (DEADLINE, Status.COMPENSATING, TIMED, False),
    (DEADLINE, Status.RUNNING, TIMED, True),
    (DEADLINE, Status.SUSPENDED, TIMED, False),
    (DEADLINE, Status.RUNNING, ExecutionData(deadline_ms=900), False),
    (DEADLINE, Status.RUNNING, ExecutionData(deadline_ms=500, outcome="SUCCESS"), False),
]


@pytest.mark.parametrize(("task", "state", "data", "wanted"), CASES)
def test_a_task_knows_whether_it_is_wanted(
    task: MachineTask, state: Status, data: object, *, wanted: bool
) -> None:
    """A task is wanted exactly as long as its node is where the task was made for."""
    assert task.validate(Ref("steps/a", 3, 5), Look(state, data)) is wanted


def test_an_attempt_is_sent_and_is_no_timer() -> None:
    """What a named tuple says of itself is what the other tasks say: where it goes, and no time."""
    assert (RUN.destination, RUN.deadline_ms) == ("steps", None)
    assert RunStep(2, 1) == RUN
    assert len({RUN, CANCEL, CancelStep(attempt=2, epoch=1)}) == 2
