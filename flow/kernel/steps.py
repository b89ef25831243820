"""The machine of a step.

Theory of operation
-------------------
    (made) -> RUNNING
    PENDING -> RUNNING -> SUCCESS | FAILURE | SKIPPED
    RUNNING -> RETRYING -> RUNNING
    PENDING | RUNNING | RETRYING -> ABORTED
    FAILURE | ABORTED -> PENDING                           (resumed from the failed steps)
    PENDING -> FAILURE                                     (an undo that must not be sent)
    FAILURE | ABORTED -> SKIPPED                           (an undo that a person has dealt with)

The node of a step is made along with its first attempt, in RUNNING. PENDING is where it waits that
has to run again.

RUNNING means that an attempt is out: committed, and on its way to a worker, in its hands, or on
its way back. Which of these it is, nobody knows, and nothing depends on it: the attempt is sent
again for as long as it is out, and its answer is taken once.

A success is taken from any attempt of the present run epoch, while there is no result. A failure
is taken only from the present attempt: an older one is history.

*Permits.* A step that runs at most once goes out like any other, but whoever gets it has to ask
for its permit before the handler runs. There is one permit ever, and it belongs to whoever asked
first. From then on the attempt is not sent any more, to nobody; if nothing is heard of it, a
person has to look at it.

*Undos.* An undo is a step like any other, and stands below the step that it takes back. A step has
to be undone if it has *begun*: if the handler of some attempt may have started. It is *unsettled*
if it was ended by force while an attempt was out, so that nobody knows what became of that. Then
the attempt's own answer is taken still, which settles it, and its undo waits for that, up to
`settle_ms`.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from flow.failure import RUN, Failure
from flow.kernel.commands import CancelStep, RetryDue, RunStep, SettleDue, StartDue
from flow.kernel.machine import MachineType, Task, Transition, new_tuple
from flow.status import Status

__all__ = ["STEP", "StepData", "blocked", "first_attempt", "has_begun", "nothing_to_undo"]


EXPIRED: Final = "no worker began with it in time"
NOTHING_TO_UNDO: Final = "nothing to undo"

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
        began: Whether the handler of an attempt that did not succeed may have started.
        unsettled: Whether it was ended by force, and nothing is known of its last attempt.
        settle_ms: By when (execution time) that has to be known, or None if nobody waits for it.
        blocked_by: The id of the failed step that it depends on, if it is skipped for that.
        ended_at: The transition number at which it ended, if anything was noted of it since, or 0.
        first_ms: When (wall time) the first attempt was committed, if there were more, or None.
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
    began: bool = False
    unsettled: bool = False
    settle_ms: int | None = None
    blocked_by: str = ""
    ended_at: int = 0
    first_ms: int | None = None


_ELSE: Final = StepData()[6:]
"""What a first attempt leaves as it is."""


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
    began: bool = False


class Settled(NamedTuple):
    """It is known at last what became of an attempt; transition *ended_at* ended it by force."""

    began: bool
    output: bytes | None = None
    failure: Failure | None = None
    ended_at: int = 0


def _run(data: StepData) -> tuple[Task, ...]:
    run = RunStep(data.attempt, data.epoch)
    return (run,) if data.due_ms is None else (run, StartDue(deadline_ms=data.due_ms))


def _wait(data: StepData) -> tuple[Task, ...]:
    return (RetryDue(deadline_ms=data.due_ms),)


def _cancel(data: StepData) -> tuple[Task, ...]:
    was_noted = bool(data.ended_at) or data.settle_ms is not None
    is_settled = was_noted and not data.unsettled
    if not data.attempt or is_settled:
        return ()
    cancel = CancelStep(attempt=data.attempt, epoch=data.epoch)
    if data.settle_ms is None:
        return (cancel,)
    return (cancel, SettleDue(deadline_ms=data.settle_ms))


def _cancel_expired(data: StepData) -> tuple[Task, ...]:
    # It may wait in a queue still, and must not run any more.
    return _cancel(data) if data.reason == EXPIRED else ()


_TASKS: Final[Mapping[Status, Callable[[StepData], Sequence[Task]]]] = {
    Status.RUNNING: _run,
    Status.RETRYING: _wait,
    Status.ABORTED: _cancel,
    Status.FAILURE: _cancel_expired,
}


def first_attempt(now_ms: int, epoch: int, due_ms: int | None) -> StepData:
    """Return what a step knows that is made along with its first attempt; see `Dispatched`.

    Args:
        now_ms: When it goes out.
        epoch: The run epoch.
        due_ms: By when (execution time) it has to begin, or None.
    """
    return new_tuple(StepData, (1, 0, epoch, now_ms, None, due_ms, *_ELSE))


def blocked(now_ms: int, by: str) -> StepData:
    """Return what a step knows that is skipped because of a failure.

    Args:
        now_ms: When.
        by: The id of the failed step.
    """
    return StepData(ended_ms=now_ms, reason=f"it depends on {by!r}, which failed", blocked_by=by)


def nothing_to_undo(now_ms: int) -> StepData:
    """Return what the undo of a step knows that has none.

    Args:
        now_ms: When.
    """
    return StepData(ended_ms=now_ms, reason=NOTHING_TO_UNDO)


def has_begun(state: Enum, data: StepData) -> bool:
    """Return whether the handler of some attempt of a step may have started.

    Args:
        state: Where the step stands.
        data: What it knows about itself.
    """
    return bool(data.attempt) and (data.began or data.unsettled or state is Status.SUCCESS)


def _dispatch(data: StepData, event: Dispatched) -> StepData:
    return data._replace(
        attempt=data.attempt + 1,
        epoch=event.epoch,
        sent_ms=event.now_ms,
        started_ms=None,
        due_ms=event.due_ms,
        first_ms=data.first_ms or data.sent_ms,
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
    # By position, because every step does this: names take twice as long, and `_replace` too.
    values = (
        data.attempt,
        data.spent,
        data.epoch,
        data.sent_ms,
        data.started_ms,
        None,  # due_ms
        event.now_ms,  # ended_ms
        event.output,
        event.headers,
        None,  # failure
        data.reason,
        data.permit,
        data.worker,
        None,  # silent_ms
        data.began,
        data.unsettled,
        data.settle_ms,
        data.blocked_by,
        data.ended_at,
        data.first_ms,
    )
    return new_tuple(StepData, values)


def _back_off(data: StepData, event: Failed) -> StepData:
    return data._replace(
        spent=data.spent + 1,
        due_ms=event.due_ms,
        failure=event.failure,
        began=data.began or event.failure.phase == RUN,
    )


def _fail(data: StepData, event: Failed) -> StepData:
    return data._replace(
        spent=data.spent + 1,
        due_ms=None,
        silent_ms=None,
        ended_ms=event.now_ms,
        failure=event.failure,
        began=data.began or event.failure.phase == RUN,
    )


def _expire(data: StepData, event: Failed) -> StepData:
    # Nothing is spent: no worker has reported anything.
    return data._replace(
        due_ms=None,
        ended_ms=event.now_ms,
        failure=event.failure,
        reason=EXPIRED,
        unsettled=True,
    )


def _give_up(data: StepData, now_ms: int) -> StepData:
    return data._replace(due_ms=None, ended_ms=now_ms)


def _interrupt(data: StepData, now_ms: int) -> StepData:
    return data._replace(due_ms=None, ended_ms=now_ms, unsettled=True)


def _await_word(data: StepData, due_ms: int | None) -> StepData:
    return data._replace(settle_ms=due_ms)


def _settle(data: StepData, event: Settled) -> StepData:
    # What a step has failed for by then, its workflow may have failed for too.
    has_failed = data.reason == EXPIRED
    return data._replace(
        unsettled=False,
        began=data.began or event.began,
        output=event.output,
        failure=data.failure if has_failed else event.failure or data.failure,
        ended_at=event.ended_at,
    )


def _leave_unsent(data: StepData, event: Failed) -> StepData:
    return data._replace(ended_ms=event.now_ms, failure=event.failure)


def _skip(data: StepData, event: Skipped) -> StepData:
    return data._replace(
        due_ms=None,
        silent_ms=None,
        ended_ms=event.now_ms,
        reason=event.reason,
        output=event.output,
        began=data.began or event.began,
    )


def _revive(data: StepData, _event: None) -> StepData:
    # Nobody waits any more for word of an attempt that another one follows.
    return data._replace(
        spent=0,
        ended_ms=None,
        due_ms=None,
        failure=None,
        reason="",
        began=data.began or data.unsettled,
        unsettled=False,
        settle_ms=None,
        ended_at=0,
    )


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
ABORT: Final = Transition(
    "abort",
    frozenset({Status.PENDING, Status.RETRYING}),
    Status.ABORTED,
    _give_up,
)
INTERRUPT: Final = Transition(
    "interrupt",
    frozenset({Status.RUNNING}),
    Status.ABORTED,
    _interrupt,
)
AWAIT_WORD: Final[Mapping[Enum, Transition[StepData, int | None]]] = {
    status: Transition("await word", frozenset({status}), status, _await_word)
    for status in (Status.ABORTED, Status.FAILURE)
}
"""By status: somebody waits to hear what became of the last attempt, or does so no more."""
SETTLE: Final[Mapping[Enum, Transition[StepData, Settled]]] = {
    status: Transition("settle", frozenset({status}), status, _settle)
    for status in (Status.ABORTED, Status.FAILURE)
}
"""By status: it is known what became of the last attempt."""
LEAVE_UNSENT: Final = Transition(
    "leave unsent",
    frozenset({Status.PENDING}),
    Status.FAILURE,
    _leave_unsent,
)
RESOLVE: Final = Transition(
    "resolve",
    frozenset({Status.FAILURE, Status.ABORTED}),
    Status.SKIPPED,
    _skip,
)
REVIVE: Final = Transition(
    "revive",
    frozenset({Status.FAILURE, Status.ABORTED}),
    Status.PENDING,
    _revive,
)

STEP: Final = MachineType("step", 1, Status, StepData, _TASKS)
