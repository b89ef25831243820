"""What can happen to an execution: one frozen class for each kind of event.

The two that every execution takes, and only those, are named tuples: others could be equal to them.
Names are in the past tense for what happened elsewhere, and end in `Requested` for what somebody
wants. Each event has exactly one handler, in `flow.kernel.decide`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from flow.failure import Failure
from flow.kept import Kept
from flow.kernel.machine import Ref, Task

__all__ = [
    "AbortRequested",
    "AnswerRequested",
    "Attempt",
    "Event",
    "ExecutionStarted",
    "PermitRequested",
    "ResolveRequested",
    "ResumeRequested",
    "StepCancelled",
    "StepFailed",
    "StepHeard",
    "StepKept",
    "StepSilent",
    "StepSkipped",
    "StepStarted",
    "StepSucceeded",
    "SuspendRequested",
    "TimerFired",
    "UndoRequested",
]


_NOTHING: Final[Mapping[str, Any]] = {}


class Attempt(NamedTuple):
    """Which attempt of which step an answer is about.

    Args:
        node: The transition number at which the step's node was made; unique in its tree.
        epoch: The run epoch.
        number: The number of the attempt.
    """

    node: int
    epoch: int
    number: int


class ExecutionStarted(NamedTuple):
    """Somebody starts an execution.

    Args:
        workflow: The workflow's id.
        definition: The hash of the definition.
        body: The input (JSON).
        headers: Metadata, passed on to every step.
        options: The start options as a JSON object; they are already part of the plan.
        results: Results (JSON) of steps that therefore do not run, by step id.
        labels: For finding it again.
        epoch: The first run epoch. One that no execution of this id had before keeps answers to
            a deleted execution out of a new one.
        paused_by: The id of the command that pauses the workflow: the execution is suspended from
            the beginning, before its first attempt. Empty if the workflow is not paused.
    """

    workflow: str
    definition: str
    body: bytes
    headers: Mapping[str, str] = _NOTHING
    options: Mapping[str, Any] = _NOTHING
    results: Mapping[str, bytes] = _NOTHING
    labels: Mapping[str, str] = _NOTHING
    epoch: int = 1
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A worker has begun with an attempt."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class PermitRequested:
    """A worker wants to begin with an attempt of a step that runs at most once.

    Args:
        attempt: Which.
        permit: Tells one taking of the request from all others; not empty.
        worker: The worker.
    """

    attempt: Attempt
    permit: str
    worker: str


@dataclass(frozen=True, slots=True)
class StepSilent:
    """Nothing is heard of an attempt that is not sent again."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class StepHeard:
    """An attempt that was silent goes on."""

    attempt: Attempt


class StepSucceeded(NamedTuple):
    """A worker answered with a result (JSON)."""

    attempt: Attempt
    output: bytes
    headers: Mapping[str, str] = _NOTHING


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed.

    Args:
        attempt: Which.
        failure: Why.
        retryable: Whether another attempt could go better.
        retry_after_ms: How long to wait for it, if the handler said so.
        asked_to_retry: Whether the handler itself asked for another attempt.
    """

    attempt: Attempt
    failure: Failure
    retryable: bool = True
    retry_after_ms: int | None = None
    asked_to_retry: bool = False


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """The handler found that there is nothing to do, or a hook in front of it did.

    Args:
        attempt: Which.
        reason: Why.
        began: Whether the handler has started.
    """

    attempt: Attempt
    reason: str = ""
    began: bool = True


class StepKept(NamedTuple):
    """A worker tells what an attempt leaves beside its result, right before it tells of that.

    Args:
        attempt: Which.
        kept: What it leaves.
    """

    attempt: Attempt
    kept: Kept


@dataclass(frozen=True, slots=True)
class StepCancelled:
    """A worker has stopped an attempt, or will not begin with it, because it is not wanted.

    Args:
        attempt: Which.
        began: Whether its handler may have started.
    """

    attempt: Attempt
    began: bool = True


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The deadline of a task has passed."""

    ref: Ref
    task: Task


@dataclass(frozen=True, slots=True)
class SuspendRequested:
    """Somebody wants no new attempts for now.

    Args:
        command: The id of the command; the same id again does nothing.
        clock: Whether deadlines go on meanwhile, or stop.
        verb: Whether it is the execution that is suspended, or its whole workflow that is paused.
    """

    command: str
    clock: Literal["run", "stop"] = "run"
    verb: Literal["suspend", "pause"] = "suspend"


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody wants it to go on, or to try again what has failed.

    Args:
        command: The id of the command; the same id again does nothing.
        only_paused: Whether it may only go on if nothing but a pause of its workflow holds it.
    """

    command: str
    only_paused: bool = False


@dataclass(frozen=True, slots=True)
class AbortRequested:
    """Somebody wants it to end.

    Args:
        command: The id of the command; the same id again does nothing.
        reason: Why.
        compensate: Whether what ran is taken back.
    """

    command: str
    reason: str = ""
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class UndoRequested:
    """Somebody wants what ran in an execution that has ended to be taken back.

    Args:
        command: The id of the command; the same id again does nothing.
        steps: The ids of steps; they and all that depends on them are undone. Empty for all.
    """

    command: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolveRequested:
    """Somebody has dealt with an undo that failed, and wants it to count as done.

    Args:
        command: The id of the command; the same id again does nothing.
        step: The path of the step, such as `steps/charge`.
        reason: What was done about it.
    """

    command: str
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerRequested:
    """Somebody wants to be told how it ends, and will not ask again.

    Args:
        waiter: The same for the same `reply_to` and `correlation`, and for no others: one word.
        reply_to: The queue that the answer goes to.
        correlation: What ties the answer to the question.
    """

    waiter: str
    reply_to: str
    correlation: str


Event = (
    ExecutionStarted
    | StepStarted
    | PermitRequested
    | StepSilent
    | StepHeard
    | StepSucceeded
    | StepFailed
    | StepSkipped
    | StepCancelled
    | StepKept
    | TimerFired
    | SuspendRequested
    | ResumeRequested
    | AbortRequested
    | UndoRequested
    | ResolveRequested
    | AnswerRequested
)
