"""The machine of a step.

Theory of operation
-------------------
    PENDING -> RUNNING -> SUCCESS | FAILURE | SKIPPED
    RUNNING -> RETRYING -> RUNNING
    PENDING | RUNNING | RETRYING -> ABORTED
    FAILURE | ABORTED -> PENDING                           (resumed from the failed steps)

RUNNING means that an attempt is out: committed, and on its way to a worker, in its hands, or on
its way back. Which of these it is, nobody knows, and nothing depends on it: the attempt is sent
again for as long as it is out, and its answer is taken once.

A success is taken from any attempt of the present run epoch, while there is no result. A failure
is taken only from the present attempt: an older one is history.

*Permits.* A step that runs at most once goes out like any other, but whoever gets it has to ask
for its permit before the handler runs. There is one permit ever, and it belongs to whoever asked
first. From then on the attempt is not sent any more, to nobody; if nothing is heard of it, a
person has to look at it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from flow.failure import Failure
from flow.kernel.commands import CancelStep, RetryDue, RunStep, StartDue
from flow.kernel.machine import MachineTask, MachineType, Transition
from flow.status import Status

__all__ = ["STEP", "StepData"]


EXPIRED: Final = "no worker began with it in time"
_QUIET: Final = frozenset({Status.PENDING, Status.SUCCESS, Status.SKIPPED})
"""The states in which a step asks for nothing."""


_NO_HEADERS: Final[Mapping[str, str]] = {}


class StepData(NamedTuple):
    """What a step knows about itself.

    Args:
        attempt: The number of the last attempt, 0 before the first.
        spent: How many attempts of the present series have failed.
        epoch: The run epoch of the last attempt.
        sent_ms: When (wall time) the last attempt was committed, or None.
        started_ms: When a worker began with it, where it told.
        due_ms: When (execution time) the next attempt is due, or this one has to have begun.
        ended_ms: When the step ended, or None.
        output: The result (JSON), or None.
        headers: The headers of the response.
        failure: Why the last attempt, or the step, failed.
        reason: Why it was skipped, or EXPIRED if no worker began with it in time.
        permit: Who may run the handler of a step that runs at most once; empty before that.
        worker: The worker that this is.
        silent_ms: Since when (wall time) it is clear that nothing is heard of it, or None.
    """

    attempt: int = 0
    spent: int = 0
    epoch: int = 0
    sent_ms: int | None = None
    started_ms: int | None = None
    due_ms: int | None = None
    ended_ms: int | None = None
    output: bytes | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    failure: Failure | None = None
    reason: str = ""
    permit: str = ""
    worker: str = ""
    silent_ms: int | None = None


class Granted(NamedTuple):
    """A worker gets the permit."""

    now_ms: int
    permit: str
    worker: str


class Dispatched(NamedTuple):
    """An attempt goes out at *now_ms* and has to begin by *due_ms* (execution time), or None."""

    now_ms: int
    epoch: int
    due_ms: int | None


class Succeeded(NamedTuple):
    """A worker answered with a result."""

    now_ms: int
    output: bytes
    headers: Mapping[str, str]


class Failed(NamedTuple):
    """An attempt failed; the next is due at *due_ms*, or there is none."""

    now_ms: int
    failure: Failure
    due_ms: int | None = None


class Skipped(NamedTuple):
    """There is nothing to do, or the result (JSON) is known already."""

    now_ms: int
    reason: str
    output: bytes | None = None


def _tasks(state: Status, data: StepData) -> tuple[MachineTask, ...]:
    if state in _QUIET:
        return ()
    match state:
        case Status.RUNNING:
            run = RunStep(attempt=data.attempt, epoch=data.epoch)
            return (run,) if data.due_ms is None else (run, StartDue(deadline_ms=data.due_ms))
        case Status.RETRYING:
            return (RetryDue(deadline_ms=data.due_ms),)
        case Status.ABORTED if data.attempt:
            return (CancelStep(attempt=data.attempt, epoch=data.epoch),)
        case Status.FAILURE if data.reason == EXPIRED:
            # It may wait in a queue still, and must not run any more.
            return (CancelStep(attempt=data.attempt, epoch=data.epoch),)
        case _:
            return ()


def _dispatch(data: StepData, event: Dispatched) -> StepData:
    # This and `_succeed` happen in every step, and name each field: half the price of `_replace`.
    return StepData(
        attempt=data.attempt + 1,
        spent=data.spent,
        epoch=event.epoch,
        sent_ms=event.now_ms,
        started_ms=None,
        due_ms=event.due_ms,
        ended_ms=data.ended_ms,
        output=data.output,
        headers=data.headers,
        failure=data.failure,
        reason=data.reason,
        permit=data.permit,
        worker=data.worker,
        silent_ms=data.silent_ms,
    )


def _note_start(data: StepData, now_ms: int) -> StepData:
    return data._replace(started_ms=now_ms, due_ms=None)


def _grant(data: StepData, event: Granted) -> StepData:
    return data._replace(
        started_ms=event.now_ms,
        due_ms=None,
        permit=event.permit,
        worker=event.worker,
    )


def _note_silence(data: StepData, now_ms: int) -> StepData:
    return data._replace(silent_ms=now_ms)


def _hear(data: StepData, _event: None) -> StepData:
    return data._replace(silent_ms=None)


def _succeed(data: StepData, event: Succeeded) -> StepData:
    return StepData(
        attempt=data.attempt,
        spent=data.spent,
        epoch=data.epoch,
        sent_ms=data.sent_ms,
        started_ms=data.started_ms,
        due_ms=None,
        ended_ms=event.now_ms,
        output=event.output,
        headers=event.headers,
        failure=None,
        reason=data.reason,
        permit=data.permit,
        worker=data.worker,
        silent_ms=None,
    )


def _back_off(data: StepData, event: Failed) -> StepData:
    return data._replace(spent=data.spent + 1, due_ms=event.due_ms, failure=event.failure)


def _fail(data: StepData, event: Failed) -> StepData:
    return data._replace(
        spent=data.spent + 1,
        due_ms=None,
        silent_ms=None,
        ended_ms=event.now_ms,
        failure=event.failure,
    )


def _expire(data: StepData, event: Failed) -> StepData:
    # Nothing is spent: no worker has reported anything.
    return data._replace(
        due_ms=None,
        ended_ms=event.now_ms,
        failure=event.failure,
        reason=EXPIRED,
    )


def _give_up(data: StepData, now_ms: int) -> StepData:
    return data._replace(due_ms=None, ended_ms=now_ms)


def _skip(data: StepData, event: Skipped) -> StepData:
    return data._replace(
        due_ms=None,
        silent_ms=None,
        ended_ms=event.now_ms,
        reason=event.reason,
        output=event.output,
    )


def _revive(data: StepData, _event: None) -> StepData:
    return data._replace(spent=0, ended_ms=None, due_ms=None, failure=None, reason="")


_OUT: Final = frozenset({Status.RUNNING, Status.RETRYING})

DISPATCH: Final = Transition(
    "dispatch",
    frozenset({Status.PENDING, Status.RETRYING}),
    Status.RUNNING,
    _dispatch,
)
NOTE_START: Final = Transition(
    "note start",
    frozenset({Status.RUNNING}),
    Status.RUNNING,
    _note_start,
)
GRANT: Final = Transition("grant", frozenset({Status.RUNNING}), Status.RUNNING, _grant)
NOTE_SILENCE: Final = Transition(
    "note silence",
    frozenset({Status.RUNNING}),
    Status.RUNNING,
    _note_silence,
)
HEAR: Final = Transition("hear", frozenset({Status.RUNNING}), Status.RUNNING, _hear)
SUCCEED: Final = Transition("succeed", _OUT, Status.SUCCESS, _succeed)
BACK_OFF: Final = Transition(
    "back off",
    frozenset({Status.RUNNING}),
    Status.RETRYING,
    _back_off,
)
FAIL: Final = Transition("fail", frozenset({Status.RUNNING}), Status.FAILURE, _fail)
EXPIRE: Final = Transition("expire", frozenset({Status.RUNNING}), Status.FAILURE, _expire)
GIVE_UP: Final = Transition("give up", frozenset({Status.RETRYING}), Status.FAILURE, _give_up)
SKIP: Final = Transition("skip", _OUT | {Status.PENDING}, Status.SKIPPED, _skip)
ABORT: Final = Transition("abort", _OUT | {Status.PENDING}, Status.ABORTED, _give_up)
REVIVE: Final = Transition(
    "revive",
    frozenset({Status.FAILURE, Status.ABORTED}),
    Status.PENDING,
    _revive,
)

STEP: Final = MachineType("step", 1, Status, StepData, _tasks)
