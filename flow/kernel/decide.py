"""Decide: what an event changes, and what must be done next. The heart of flowmq, and pure.

`decide` takes the tree of one execution, the program that drives it, an event and the moment,
changes the tree, and returns a `Decision`: what changed (the journal record to be), which tasks
came out of it (the commands to be carried out after the commit), and a verdict on the event.

Every event has one handler here. Handlers move the execution and its steps along their
transition tables (`execution`, `steps`) and leave to the program what depends on the workflow:
which step comes next, what a failure means for the whole, when all is done.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from flow.errors import NotPossible
from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.commands import ExecutionDeadline, RetryDue, StartDue
from flow.kernel.events import (
    AbortRequested,
    AnswerRequested,
    Attempt,
    Event,
    ExecutionStarted,
    PermitRequested,
    ResumeRequested,
    StepFailed,
    StepHeard,
    StepSilent,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    SuspendRequested,
    TimerFired,
)
from flow.kernel.execution import (
    COMMAND,
    EXECUTION,
    INPUT,
    SUB_WORKFLOW,
    CommandData,
    InputData,
)
from flow.kernel.machine import MachineTask, Ref, Registry, Transition
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Changes, Node, Tree
from flow.kernel.turn import Accepted, Dropped, Moment, Program, Refused, Turn, Verdict
from flow.kernel.waiters import WAITER, WaiterData, answer, wait, wait_again
from flow.retry import NO_RETRY, VERDICT_RETRY, RetryPolicy
from flow.status import ENDED, Status

__all__ = [
    "MACHINES",
    "Accepted",
    "Decision",
    "Dropped",
    "Moment",
    "Program",
    "Refused",
    "Turn",
    "Verdict",
    "decide",
]

MACHINES: Final = Registry().register(EXECUTION, SUB_WORKFLOW, INPUT, COMMAND, STEP, WAITER)
"""The machine types that every execution is made of."""

EventT = TypeVar("EventT")

_ACCEPTED: Final = {status: Accepted(status) for status in Status}
_IN_PLACE: Final = frozenset({StepStarted, PermitRequested, StepSilent, StepHeard})
"""Events after which a step stays where it is."""


class Decision(NamedTuple):
    """What came of an event."""

    changes: Changes
    verdict: Verdict


def decide(tree: Tree, program: Program, event: Event, moment: Moment) -> Decision:
    """Return what *event* changes and what must be done next; the tree is changed already.

    Args:
        tree: The execution.
        program: What drives it; its index is kept in step with the tree.
        event: What happened.
        moment: When, and the chance that goes into it.

    Raises:
        FlowError: The event broke a rule that should have been checked before. The tree is as
            it was, but the program has to be made anew from it.
    """
    turn = Turn(tree, moment)
    had_ended = turn.root.state in ENDED
    with tree.transaction():
        verdict = _HANDLERS[type(event)](turn, program, event)
        if turn.root.state in ENDED and not had_ended:
            answer(turn.root)
    changes = tree.take()
    if type(event) in _IN_PLACE and changes.outputs:
        # The step stays where it is: what its state asks for has been asked for before, and the
        # attempt that has just begun must not be sent again.
        changes = Changes(changes.nodes, ())
    return Decision(changes, verdict)


# ---------------------------------------------------------------------------------- starts


def _start(turn: Turn, program: Program, event: ExecutionStarted) -> Verdict:
    if turn.root.state is not Status.PENDING:
        return Dropped("it has begun already")
    body = InputData(
        event.workflow,
        event.definition,
        event.body,
        event.headers,
        event.options,
        event.labels,
    )
    turn.root.add_child("input", INPUT, Status.SUCCESS, body)
    began = execution.Began(turn.now_ms, turn.clock_ms, program.timeout_ms, event.epoch)
    turn.root.apply(execution.BEGIN, began)
    program.begin(turn, event.results)
    if not event.paused_by:
        return _go_on(turn, program)
    turn.root.apply(execution.SUSPEND, execution.Suspended(turn.now_ms, "run"))
    _go_on(turn, program)
    return _obey(turn, event.paused_by, "pause")


def _go_on(turn: Turn, program: Program) -> Accepted:
    if turn.running:
        program.advance(turn)
    elif turn.root.state is Status.SUSPENDING and not program.attempts_out:
        turn.root.apply(execution.QUIET, None)
    return _ACCEPTED[turn.status]


# --------------------------------------------------------------------------------- answers


def _find(turn: Turn, attempt: Attempt) -> Node | Dropped:
    """Return the step that an answer is about, if it can still take one."""
    node = turn.tree.by_number(attempt.node)
    if node is None or node.machine is not STEP:
        return Dropped("the step is gone")
    if attempt.epoch != turn.execution.epoch:
        return Dropped("the attempt is of an older run epoch")
    if node.state not in (Status.RUNNING, Status.RETRYING):
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


def _succeed(turn: Turn, program: Program, event: StepSucceeded) -> Verdict:
    node = _find(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    result = steps.Succeeded(turn.now_ms, event.output, event.headers)
    return _land(turn, program, node, steps.SUCCEED, result)


def _skip(turn: Turn, program: Program, event: StepSkipped) -> Verdict:
    node = _find(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    skipped = steps.Skipped(turn.now_ms, event.reason)
    return _land(turn, program, node, steps.SKIP, skipped)


def _fail(turn: Turn, program: Program, event: StepFailed) -> Verdict:
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
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
    return _go_on(turn, program)


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


def _note_start(turn: Turn, _program: Program, event: StepStarted) -> Verdict:
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    if node.read(STEP).started_ms is not None:
        return Dropped("it is known that the attempt has begun")
    node.apply(steps.NOTE_START, turn.now_ms)
    return _ACCEPTED[turn.status]


def _grant(turn: Turn, program: Program, event: PermitRequested) -> Verdict:
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
    return _ACCEPTED[turn.status]


def _note_silence(turn: Turn, _program: Program, event: StepSilent) -> Verdict:
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    data = node.read(STEP)
    if not data.permit or data.silent_ms is not None:
        return Dropped("it is sent again, or its silence is known")
    node.apply(steps.NOTE_SILENCE, turn.now_ms)
    _note_incident(turn)
    return _ACCEPTED[turn.status]


def _hear(turn: Turn, _program: Program, event: StepHeard) -> Verdict:
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    if node.read(STEP).silent_ms is None:
        return Dropped("it was not silent")
    node.apply(steps.HEAR, None)
    _note_incident(turn)
    return _ACCEPTED[turn.status]


def _note_incident(turn: Turn) -> None:
    """Say of the execution which of its steps are silent and cannot be sent again."""
    silent = [
        f"nothing is heard of the worker {node.data.worker!r}, which alone may run {node.path}"
        for node in turn.tree.walk()
        if node.machine is STEP and node.state is Status.RUNNING and node.data.silent_ms is not None
    ]
    turn.root.apply(execution.NOTE_INCIDENT[turn.status], "; ".join(silent))


# ---------------------------------------------------------------------------------- timers


def _fire(turn: Turn, program: Program, event: TimerFired) -> Verdict:
    if not turn.running:
        return Dropped("the execution does not run")
    node = turn.tree.find(event.ref.path)
    if node is None or node.created != event.ref.created:
        return Dropped("the node is gone")
    if not event.task.validate(event.ref, node):
        return Dropped("the timer is not wanted any more")
    _act(turn, program, node, event.task)
    return _go_on(turn, program)


def _act(turn: Turn, program: Program, node: Node, task: MachineTask) -> None:
    match task:
        case RetryDue():
            program.dispatch(turn, node)
        case StartDue():
            _expire_start(turn, program, node)
        case ExecutionDeadline():
            program.expire(turn, node)
        case _:
            return


def _expire_start(turn: Turn, program: Program, node: Node) -> None:
    data = node.read(STEP)
    waited = turn.now_ms - (data.sent_ms or turn.now_ms)
    failure = Failure(
        "flow.errors.DeadlineExceeded",
        f"no worker began with it within {waited / 1000:g} s (start_within)",
        fields={"what": node.path, "seconds": waited / 1000},
    )
    node.apply(steps.EXPIRE, steps.Failed(turn.now_ms, failure))
    program.landed(turn, node, Status.RUNNING)


# --------------------------------------------------------------------------------- control


def _obeyed(turn: Turn, command: str) -> Accepted | None:
    """Return the answer to a command that was obeyed before."""
    node = turn.root.find(f"commands/{command}")
    return None if node is None else Accepted(Status(node.read(COMMAND).status))


def _obey(turn: Turn, command: str, verb: str) -> Accepted:
    """Remember that a command was obeyed, with the status that it is answered with.

    A command that found nothing to do is remembered too: delivered again after the opposite
    command, it must not undo that.
    """
    status = turn.status
    data = CommandData(verb, status.value)
    turn.root.add_child(f"commands/{command}", COMMAND, Status.SUCCESS, data)
    return _ACCEPTED[status]


def _refuse(turn: Turn, verb: str, hint: str = "") -> Refused:
    # The kernel does not know the execution's id; whoever answers puts it in.
    return Refused(NotPossible(verb, "", turn.status.value, hint))


def _suspend(turn: Turn, program: Program, event: SuspendRequested) -> Verdict:
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    if turn.running:
        turn.root.apply(execution.SUSPEND, execution.Suspended(turn.now_ms, event.clock))
        _go_on(turn, program)
    elif turn.root.state not in (Status.SUSPENDING, Status.SUSPENDED):
        return _refuse(turn, event.verb)
    return _obey(turn, event.command, event.verb)


def _resume(turn: Turn, program: Program, event: ResumeRequested) -> Verdict:
    before = _obeyed(turn, event.command) or _held(turn, event)
    if before is not None:
        return before
    match turn.root.state:
        case Status.RUNNING if turn.execution.incident:
            return _refuse(turn, "resume", f"{turn.execution.incident}: wait for it, or abort")
        case Status.RUNNING:
            return _obey(turn, event.command, "resume")
        case Status.SUSPENDING | Status.SUSPENDED:
            turn.root.apply(execution.RESUME, turn.now_ms)
            _catch_up(turn, program)
        case Status.FAILURE if spent := program.unrepeatable(turn):
            return _refuse(turn, "resume", f"{', '.join(spent)} ran, and runs at most once")
        case Status.FAILURE:
            began = execution.Began(turn.now_ms, turn.clock_ms, program.timeout_ms)
            turn.root.apply(execution.REVIVE, began)
            wait_again(turn.root)
            program.revive(turn)
        case _:
            return _refuse(turn, "resume", "only a suspended or failed execution can be resumed")
    _go_on(turn, program)
    return _obey(turn, event.command, "resume")


def _held(turn: Turn, event: ResumeRequested) -> Refused | None:
    """Refuse to end the pause of an execution that is held by something else too, or by nothing."""
    if not event.only_paused:
        return None
    held: list[str] = []
    for node in turn.root.collection("commands", COMMAND):
        verb = node.read(COMMAND).verb
        held = [] if verb == "resume" else [*held, verb]
    if turn.root.state in (Status.SUSPENDING, Status.SUSPENDED) and "suspend" not in held:
        return None
    return _refuse(turn, "resume", "it is not a pause of its workflow that holds it")


def _catch_up(turn: Turn, program: Program) -> None:
    """Let every timer fire that came due while nothing was to be done."""
    clock = turn.clock_ms
    due = [
        output
        for output in turn.tree.regenerate()
        if output.task.deadline_ms is not None and output.task.deadline_ms <= clock
    ]
    for output in due:
        _fire_if_wanted(turn, program, output.ref, output.task)


def _fire_if_wanted(turn: Turn, program: Program, ref: Ref, task: MachineTask) -> None:
    node = turn.tree.find(ref.path)
    if turn.running and node is not None and task.validate(ref, node):
        _act(turn, program, node, task)


def _abort(turn: Turn, program: Program, event: AbortRequested) -> Verdict:
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    if turn.root.state is Status.ABORTED:
        return Accepted(Status.ABORTED)
    if turn.root.state not in execution.ABORT.sources:
        return _refuse(turn, "abort")
    turn.root.apply(execution.ABORT, None)
    program.interrupt(turn)
    reason = event.reason or "aborted on request"
    failure = Failure("flow.errors.ExecutionAborted", reason)
    turn.root.apply(execution.ABORTED, execution.Ended(turn.now_ms, failure))
    return _obey(turn, event.command, "abort")


def _wait(turn: Turn, _program: Program, event: AnswerRequested) -> Verdict:
    error = wait(turn.root, event.waiter, WaiterData(event.reply_to, event.correlation))
    return _ACCEPTED[turn.status] if error is None else Refused(error)


_HANDLERS: Final[dict[type, Callable[[Turn, Program, Any], Verdict]]] = {
    ExecutionStarted: _start,
    StepStarted: _note_start,
    PermitRequested: _grant,
    StepSilent: _note_silence,
    StepHeard: _hear,
    StepSucceeded: _succeed,
    StepFailed: _fail,
    StepSkipped: _skip,
    TimerFired: _fire,
    SuspendRequested: _suspend,
    ResumeRequested: _resume,
    AbortRequested: _abort,
    AnswerRequested: _wait,
}
