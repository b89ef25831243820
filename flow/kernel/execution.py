"""The machine of an execution: the root of its tree, with its input and the commands it obeyed.

Theory of operation
-------------------
    PENDING -> RUNNING -> SUCCESS | FAILURE
    RUNNING -> SUSPENDING -> SUSPENDED -> RUNNING
    RUNNING | SUSPENDING | SUSPENDED -> ABORTING -> ABORTED
    FAILURE -> RUNNING                                     (resumed from the failed steps)
    RUNNING | SUSPENDING | SUSPENDED -> COMPENSATING       (a step has failed; or aborted so)
    SUCCESS | FAILURE | ABORTED -> COMPENSATING            (undone by hand)
    COMPENSATING -> COMPENSATED | FAILURE | ABORTED

A sub-workflow is the same machine without the states that only a whole has. Its node stands
where the node of a step would stand, and its steps are its children. Two arrows are its own:

    PENDING | RUNNING | COMPENSATING -> ABORTED            (interrupted from outside)
    FAILURE | ABORTED | COMPENSATED -> PENDING             (to begin again, when it is its turn)

*Run epoch.* Whatever ends attempts by force (an abort, a timeout) or begins anew (a resume from
FAILURE) makes the epoch one higher. Answers to attempts of an older epoch are dropped.

*Execution time.* Deadlines are kept in execution time: wall time less `offset_ms`. While the
clock stands (`stopped_ms`), execution time stands too, and resuming adds the pause to the offset.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from flow.failure import Failure
from flow.kernel.commands import ExecutionDeadline
from flow.kernel.machine import MachineType, Task, Transition
from flow.status import Status

__all__ = [
    "COMMAND",
    "EXECUTION",
    "INPUT",
    "SUB_WORKFLOW",
    "CommandData",
    "ExecutionData",
    "InputData",
]

Clock = Literal["run", "stop"]
Ending = Transition["ExecutionData", "Ended"]


_NOTHING: Final[Mapping[str, Any]] = {}


class ExecutionData(NamedTuple):
    """What an execution, or a sub-workflow in it, knows about itself.

    Args:
        started_ms: When it began.
        ended_ms: When it ended, or None.
        deadline_ms: By when it has to end (execution time), or None.
        epoch: The run epoch.
        offset_ms: How far execution time is behind wall time.
        stopped_ms: Since when (wall time) the clock stands, or None.
        outcome: How it will end once its hooks are done, or an empty string before that.
        failure: Why it failed, or None.
        incident: What a person has to look at, or an empty string.
    """

    started_ms: int = 0
    ended_ms: int | None = None
    deadline_ms: int | None = None
    epoch: int = 1
    offset_ms: int = 0
    stopped_ms: int | None = None
    outcome: str = ""
    failure: Failure | None = None
    incident: str = ""


class InputData(NamedTuple):
    """What an execution was started with. Written once.

    Args:
        workflow: The workflow's id.
        definition: The hash of the definition that it runs on.
        body: The input (JSON).
        headers: The metadata of the start, passed on to every step.
        options: The start options, as a JSON object.
        labels: For finding it again.
    """

    workflow: str
    definition: str
    body: bytes
    headers: Mapping[str, str] = _NOTHING
    options: Mapping[str, Any] = _NOTHING
    labels: Mapping[str, str] = _NOTHING


class CommandData(NamedTuple):
    """A command that was obeyed, so that the same command again does nothing.

    Args:
        verb: `suspend`, `pause`, `resume` or `abort`.
        status: The status that it was answered with.
    """

    verb: str
    status: str


class Began(NamedTuple):
    """It begins, or begins again, at *now_ms*, with *timeout_ms* to go (or None)."""

    now_ms: int
    clock_ms: int
    timeout_ms: int | None
    epoch: int = 1


class Suspended(NamedTuple):
    """Somebody suspends at *now_ms*; the clock runs on or stops."""

    now_ms: int
    clock: Clock


class Compensating(NamedTuple):
    """What ran is taken back, from *now_ms* on, for a failure or because somebody wants it."""

    now_ms: int
    failure: Failure | None = None


class Ended(NamedTuple):
    """It ends at *now_ms*, with a failure or without, and perhaps with an incident."""

    now_ms: int
    failure: Failure | None = None
    incident: str = ""


class OutcomeKnown(NamedTuple):
    """Only the hooks are left to run before it ends with this status."""

    status: Status
    failure: Failure | None = None


def execution_clock(data: ExecutionData, now_ms: int) -> int:
    """Return the execution time.

    Args:
        data: The root's data.
        now_ms: The wall time.
    """
    return (now_ms if data.stopped_ms is None else data.stopped_ms) - data.offset_ms


def _expire(data: ExecutionData) -> tuple[Task, ...]:
    if data.outcome or data.deadline_ms is None:
        return ()
    return (ExecutionDeadline(deadline_ms=data.deadline_ms),)


_TASKS: Final[Mapping[Status, Callable[[ExecutionData], Sequence[Task]]]] = {
    Status.RUNNING: _expire,
}


def _begin(data: ExecutionData, event: Began) -> ExecutionData:
    deadline = None if event.timeout_ms is None else event.clock_ms + event.timeout_ms
    return data._replace(started_ms=event.now_ms, deadline_ms=deadline, epoch=event.epoch)


def _suspend(data: ExecutionData, event: Suspended) -> ExecutionData:
    return data._replace(stopped_ms=event.now_ms if event.clock == "stop" else None)


def _resume(data: ExecutionData, now_ms: int) -> ExecutionData:
    if data.stopped_ms is None:
        return data
    pause = max(0, now_ms - data.stopped_ms)
    return data._replace(stopped_ms=None, offset_ms=data.offset_ms + pause)


def _revive(data: ExecutionData, event: Began) -> ExecutionData:
    deadline = None if event.timeout_ms is None else event.clock_ms + event.timeout_ms
    return data._replace(
        ended_ms=None,
        deadline_ms=deadline,
        epoch=data.epoch + 1,
        failure=None,
        incident="",
    )


def _compensate(data: ExecutionData, event: Compensating) -> ExecutionData:
    # Another epoch, so that whatever was cancelled before does not cover the undos.
    return _resume(data, event.now_ms)._replace(
        ended_ms=None,
        deadline_ms=None,
        epoch=data.epoch + 1,
        outcome="",
        failure=event.failure or _own_failure(data),
        incident="",
    )


def _own_failure(data: ExecutionData) -> Failure | None:
    """Return why it had failed before anything of it was undone, or None."""
    failure = data.failure
    return None if failure is None or failure.type in OF_UNDOING else failure


def _reset(data: ExecutionData, _event: None) -> ExecutionData:
    return data._replace(ended_ms=None, deadline_ms=None, failure=None, incident="")


def _end(data: ExecutionData, event: Ended) -> ExecutionData:
    return data._replace(
        ended_ms=event.now_ms,
        failure=event.failure or data.failure,
        incident=event.incident or data.incident,
        outcome="",
        stopped_ms=None,
    )


def _note_outcome(data: ExecutionData, event: OutcomeKnown) -> ExecutionData:
    return data._replace(outcome=event.status.value, failure=event.failure)


def _note_incident(data: ExecutionData, incident: str) -> ExecutionData:
    return data._replace(incident=incident)


def _new_epoch(data: ExecutionData, _event: None) -> ExecutionData:
    return data._replace(epoch=data.epoch + 1)


def _keep(data: ExecutionData, _event: None) -> ExecutionData:
    return data


ABORTED_FAILURE: Final = "flow.errors.ExecutionAborted"
"""The type of the failure of an execution that was aborted."""
OF_UNDOING: Final = ("flow.errors.UndoFailed", "flow.errors.StepsUndone")
"""The types of failures that an execution has only because of how far it is undone."""
UNDOABLE: Final = frozenset({Status.SUCCESS, Status.FAILURE, Status.ABORTED})
"""In which statuses an execution can be undone by hand."""
_OPEN: Final = frozenset({Status.RUNNING, Status.SUSPENDING, Status.SUSPENDED})

BEGIN: Final = Transition("begin", frozenset({Status.PENDING}), Status.RUNNING, _begin)
SUSPEND: Final = Transition("suspend", frozenset({Status.RUNNING}), Status.SUSPENDING, _suspend)
QUIET: Final = Transition("quiet", frozenset({Status.SUSPENDING}), Status.SUSPENDED, _keep)
RESUME: Final = Transition(
    "resume",
    frozenset({Status.SUSPENDING, Status.SUSPENDED}),
    Status.RUNNING,
    _resume,
)
REVIVE: Final = Transition("revive", frozenset({Status.FAILURE}), Status.RUNNING, _revive)
RESET: Final = Transition(
    "reset",
    frozenset({Status.FAILURE, Status.ABORTED, Status.COMPENSATED}),
    Status.PENDING,
    _reset,
)
ABORT: Final = Transition("abort", _OPEN, Status.ABORTING, _new_epoch)
ABORTED: Final = Transition("aborted", frozenset({Status.ABORTING}), Status.ABORTED, _end)
INTERRUPT: Final = Transition(
    "interrupt",
    frozenset({Status.PENDING, Status.RUNNING, Status.COMPENSATING}),
    Status.ABORTED,
    _end,
)
NEW_EPOCH: Final = Transition(
    "new epoch",
    frozenset({Status.RUNNING}),
    Status.RUNNING,
    _new_epoch,
)
COMPENSATE: Final = Transition(
    "compensate",
    _OPEN | UNDOABLE,
    Status.COMPENSATING,
    _compensate,
)
COMPENSATED: Final = Transition(
    "compensated",
    frozenset({Status.COMPENSATING}),
    Status.COMPENSATED,
    _end,
)
STAY_ABORTED: Final = Transition(
    "stay aborted",
    frozenset({Status.COMPENSATING}),
    Status.ABORTED,
    _end,
)
NOTE_OUTCOME: Final[Mapping[Enum, Transition[ExecutionData, OutcomeKnown]]] = {
    status: Transition("note outcome", frozenset({status}), status, _note_outcome)
    for status in (Status.RUNNING, Status.COMPENSATING)
}
"""By status: only its hooks are left to run, and it stays where it is."""
NOTE_INCIDENT: Final = {
    status: Transition("note incident", frozenset({status}), status, _note_incident)
    for status in (Status.RUNNING, Status.SUSPENDING, Status.COMPENSATING)
}
"""By status: what is said of an execution changes, and it stays where it is."""
SUCCEED: Final = Transition("succeed", frozenset({Status.RUNNING}), Status.SUCCESS, _end)
FAIL: Final = Transition(
    "fail",
    frozenset({Status.RUNNING, Status.COMPENSATING}),
    Status.FAILURE,
    _end,
)

EXECUTION: Final = MachineType("execution", 1, Status, ExecutionData, _TASKS)
SUB_WORKFLOW: Final = MachineType("sub-workflow", 1, Status, ExecutionData, _TASKS)
INPUT: Final = MachineType("input", 1, Status, InputData)
COMMAND: Final = MachineType("command", 1, Status, CommandData)
