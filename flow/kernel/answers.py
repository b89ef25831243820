"""Answers: what workers say of attempts, and what becomes of the steps by that.

Each function takes the decision in the making, the program and an event, and returns the verdict.

An answer is taken while its step has not ended, and belongs to the present run epoch. The one
exception is a step that was ended by force while an attempt was out: if it has an undo, the answer
to that attempt is taken at any time, for it settles whether there is something to undo.
"""

from typing import TypeVar

from flow.failure import RUN
from flow.kernel import execution, steps
from flow.kernel.events import (
    Attempt,
    PermitRequested,
    StepCancelled,
    StepFailed,
    StepHeard,
    StepKept,
    StepSilent,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from flow.kernel.machine import Transition
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node
from flow.kernel.turn import Accepted, Dropped, Program, Refused, Turn, Verdict, go_on
from flow.kernel.values import keep
from flow.retry import NO_RETRY, VERDICT_RETRY, RetryPolicy
from flow.status import Status

__all__ = [
    "cancelled",
    "fail",
    "grant",
    "hear",
    "leave",
    "note_silence",
    "note_start",
    "skip",
    "succeed",
]

EventT = TypeVar("EventT")


def _find(turn: Turn, attempt: Attempt) -> Node | Dropped:
    """Return the step that an answer is about, if it can still take one."""
    node = turn.tree.by_number(attempt.node)
    if node is None or node.machine is not STEP:
        return Dropped("the step is gone")
    if attempt.epoch != turn.root.data.epoch:
        return Dropped("the attempt is of an older run epoch")
    if node.state not in steps.SUCCEED.sources:
        return Dropped("the step has ended already")
    if attempt.number > node.data.attempt:
        return Dropped("there was no such attempt")
    return node


def _find_present(turn: Turn, attempt: Attempt) -> Node | Dropped:
    """Return the step that an answer is about, if that attempt is out."""
    node = _find(turn, attempt)
    if isinstance(node, Node) and (
        node.state is not Status.RUNNING or attempt.number != node.read(STEP).attempt
    ):
        return Dropped("the attempt is not the present one")
    return node


def _find_unsettled(turn: Turn, program: Program, attempt: Attempt) -> Node | None:
    """Return the step of an attempt that was ended by force, if an undo could depend on it."""
    node = turn.tree.by_number(attempt.node)
    if node is None or node.machine is not STEP or not node.read(STEP).unsettled:
        return None
    data = node.read(STEP)
    is_it = attempt.number == data.attempt and attempt.epoch == data.epoch
    return node if is_it and program.definition(node).undo is not None else None


def _settle(
    turn: Turn, program: Program, attempt: Attempt, settled: steps.Settled
) -> Accepted | None:
    """Note what became of an attempt that was ended by force."""
    node = _find_unsettled(turn, program, attempt)
    if node is None:
        return None
    node.apply(steps.SETTLE[node.state], settled._replace(ended_at=node.updated))
    program.compensation.settled(turn, node)
    return go_on(turn, program)


def leave(turn: Turn, program: Program, event: StepKept) -> Verdict:
    """A worker tells what an attempt leaves; what contradicts others is refused, the rest stays."""
    node = _find(turn, event.attempt)
    if isinstance(node, Dropped):
        unsettled = _find_unsettled(turn, program, event.attempt)
        if unsettled is None:
            return node
        node = unsettled
    kept = event.kept
    if not node.key.startswith("steps/"):
        # Nothing comes after a hook or an undo that could see it.
        kept = kept._replace(shared={})
    conflict = program.sharing.conflict(node, kept.shared) if kept.shared else None
    if conflict is not None:
        # The step fails by this, but its undo needs to know what it did.
        keep(node, kept._replace(shared={}))
        return Refused(conflict)
    keep(node, kept)
    if kept.shared:
        program.sharing.note(node)
    return turn.accepted


def cancelled(turn: Turn, program: Program, event: StepCancelled) -> Verdict:
    """A worker has let go of an attempt that was not wanted any more."""
    node = _find_unsettled(turn, program, event.attempt)
    began = event.began
    if node is not None and program.definition(node).at_most_once and not node.read(STEP).permit:
        # Nobody had the permit, and nobody gets it any more.
        began = False
    settled = _settle(turn, program, event.attempt, steps.Settled(began=began))
    return settled or Dropped("nobody waits for word of the attempt")


def succeed(turn: Turn, program: Program, event: StepSucceeded) -> Verdict:
    """A worker answered with a result."""
    node = _find(turn, event.attempt)
    if isinstance(node, Dropped):
        settled = steps.Settled(began=True, output=event.output)
        return _settle(turn, program, event.attempt, settled) or node
    result = steps.Succeeded(turn.now_ms, event.output, event.headers)
    return _land(turn, program, node, steps.SUCCEED, result)


def skip(turn: Turn, program: Program, event: StepSkipped) -> Verdict:
    """A handler found that there is nothing to do."""
    node = _find(turn, event.attempt)
    if isinstance(node, Dropped):
        return _settle(turn, program, event.attempt, steps.Settled(event.began)) or node
    skipped = steps.Skipped(turn.now_ms, event.reason, began=event.began)
    return _land(turn, program, node, steps.SKIP, skipped)


def fail(turn: Turn, program: Program, event: StepFailed) -> Verdict:
    """An attempt failed."""
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        settled = steps.Settled(began=event.failure.phase == RUN, failure=event.failure)
        return _settle(turn, program, event.attempt, settled) or node
    due = _retry_due(turn, program, node, event)
    failed = steps.Failed(turn.now_ms, event.failure, due)
    move = steps.FAIL if due is None else steps.BACK_OFF
    return _land(turn, program, node, move, failed)


def _land(
    turn: Turn,
    program: Program,
    node: Node,
    move: Transition[StepData, EventT],
    event: EventT,
) -> Verdict:
    was, was_silent = node.state, node.data.silent_ms is not None
    node.apply(move, event)
    if was_silent:
        _note_incident(turn)
    program.landed(turn, node, was)
    return go_on(turn, program)


def _retry_due(turn: Turn, program: Program, node: Node, event: StepFailed) -> int | None:
    """Return when (execution time) the next attempt is due, or None if there is none."""
    definition = program.definition(node)
    if definition.at_most_once:
        # Another attempt would need another permit.
        return None
    policy = _policy(definition.retry, event)
    spent = node.read(STEP).spent + 1
    if not event.retryable or not policy.allows(spent, event.failure.type):
        return None
    if not program.may_retry(node):
        return None
    if event.retry_after_ms is not None:
        return turn.clock_ms + event.retry_after_ms
    return turn.clock_ms + policy.delay_ms(spent, turn.random)


def _policy(declared: RetryPolicy | None, event: StepFailed) -> RetryPolicy:
    if declared is not None:
        return declared
    return VERDICT_RETRY if event.asked_to_retry else NO_RETRY


def note_start(turn: Turn, _program: Program, event: StepStarted) -> Verdict:
    """A worker has begun with an attempt."""
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    if node.read(STEP).started_ms is not None:
        return Dropped("it is known that the attempt has begun")
    node.apply(steps.NOTE_START, turn.now_ms)
    return turn.accepted


def grant(turn: Turn, program: Program, event: PermitRequested) -> Verdict:
    """A worker asks for the permit of a step that runs at most once."""
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    holder = node.read(STEP).permit
    if not program.definition(node).at_most_once:
        return Dropped("the step does not run with a permit")
    if holder and holder != event.permit:
        return Dropped("somebody else has the permit")
    if not holder:
        node.apply(steps.GRANT, steps.Granted(turn.now_ms, event.permit, event.worker))
    return turn.accepted


def note_silence(turn: Turn, _program: Program, event: StepSilent) -> Verdict:
    """Nothing is heard of an attempt that is not sent again."""
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    data = node.read(STEP)
    if not data.permit or data.silent_ms is not None:
        return Dropped("it is sent again, or its silence is known")
    node.apply(steps.NOTE_SILENCE, turn.now_ms)
    _note_incident(turn)
    return turn.accepted


def hear(turn: Turn, _program: Program, event: StepHeard) -> Verdict:
    """An attempt that was silent goes on."""
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    if node.read(STEP).silent_ms is None:
        return Dropped("it was not silent")
    node.apply(steps.HEAR, None)
    _note_incident(turn)
    return turn.accepted


def _note_incident(turn: Turn) -> None:
    """Say of the execution which of its steps are silent and cannot be sent again."""
    silent = [
        f"nothing is heard of the worker {node.data.worker!r}, which alone may run {node.path}"
        for node in turn.tree.walk()
        if node.machine is STEP and node.state is Status.RUNNING and node.data.silent_ms is not None
    ]
    turn.root.apply(execution.NOTE_INCIDENT[turn.status], "; ".join(silent))
