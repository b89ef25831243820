"""Decide: what an event changes, and what must be done next. The heart of flowmq, and pure.

`decide` takes the tree of one execution, the program that drives it, an event and the moment,
changes the tree, and returns a `Decision`: what changed (the journal record to be), which tasks
came out of it (the commands to be carried out after the commit), and a verdict on the event.

Every event has one handler here. Handlers move the execution and its steps along their
transition tables (`execution`, `steps`) and leave to the program what depends on the workflow:
which step comes next, what a failure means for the whole, when all is done.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flow.errors import FlowError, NotPossible
from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.commands import ExecutionDeadline, RetryDue, StartDue
from flow.kernel.events import (
    AbortRequested,
    Attempt,
    Event,
    ExecutionStarted,
    ResumeRequested,
    StepFailed,
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
    ExecutionData,
    InputData,
    execution_clock,
)
from flow.kernel.machine import MachineTask, Ref, Registry
from flow.kernel.steps import STEP
from flow.kernel.tree import Changes, Node, Tree
from flow.retry import NO_RETRY, VERDICT_RETRY, RetryPolicy
from flow.status import Status
from flow.step import StepDefinition

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

MACHINES: Final = Registry().register(EXECUTION, SUB_WORKFLOW, INPUT, COMMAND, STEP)
"""The machine types that every execution is made of."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made, and the chance that goes into it.

    Args:
        now_ms: The store's wall time.
        random: A random number, 0 <= random < 1, for the jitter of a retry.
    """

    now_ms: int
    random: float = 0.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event took effect, or had taken effect before. `status` is the execution's by now."""

    status: Status


@dataclass(frozen=True, slots=True)
class Dropped:
    """The event comes too late or twice. It is acknowledged and counted, and changes nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked for is not possible. Whoever asked gets the error."""

    error: FlowError


Verdict = Accepted | Dropped | Refused


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of an event."""

    changes: Changes
    verdict: Verdict


class Turn:
    """One decision in the making: the tree, and the moment as the execution sees it."""

    __slots__ = ("now_ms", "random", "root", "tree")

    def __init__(self, tree: Tree, moment: Moment) -> None:
        """Begin to decide about *tree* at *moment*."""
        self.tree = tree
        self.root = tree.root
        self.now_ms = moment.now_ms
        self.random = moment.random

    @property
    def execution(self) -> ExecutionData:
        """The root's data."""
        return self.root.read(EXECUTION)

    @property
    def clock_ms(self) -> int:
        """The execution time."""
        return execution_clock(self.execution, self.now_ms)

    @property
    def running(self) -> bool:
        """Whether new attempts may be made."""
        return self.root.state is Status.RUNNING


class Program(Protocol):
    """What drives a tree: it knows the workflow. The kernel knows only the machines."""

    @property
    def attempts_out(self) -> int:
        """How many attempts are out."""
        ...

    @property
    def timeout_ms(self) -> int | None:
        """How long the execution may take."""
        ...

    def begin(self, turn: Turn, results: Mapping[str, bytes]) -> None:
        """Prepare everything for the first `advance`."""
        ...

    def advance(self, turn: Turn) -> None:
        """Make every attempt that can be made now, and end what is done."""
        ...

    def definition(self, node: Node) -> StepDefinition:
        """Return the definition of the step that a node is."""
        ...

    def may_retry(self, node: Node) -> bool:
        """Return whether another attempt of a step still makes sense for the whole."""
        ...

    def dispatch(self, turn: Turn, node: Node) -> None:
        """Make the next attempt of a step that waited for it."""
        ...

    def landed(self, turn: Turn, node: Node, was: Status) -> None:
        """Take note that an attempt ended by which the step left the status *was*."""
        ...

    def expire(self, turn: Turn, node: Node) -> None:
        """End an execution or a sub-workflow whose deadline has passed."""
        ...

    def interrupt(self, turn: Turn) -> None:
        """Abort everything that is out or waiting."""
        ...

    def revive(self, turn: Turn) -> None:
        """Prepare everything to try again what has failed."""
        ...


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
    with tree.transaction():
        verdict = _HANDLERS[type(event)](turn, program, event)
    changes = tree.take()
    if isinstance(event, StepStarted):
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
    return _go_on(turn, program)


def _go_on(turn: Turn, program: Program) -> Accepted:
    if turn.running:
        program.advance(turn)
    elif turn.root.state is Status.SUSPENDING and not program.attempts_out:
        turn.root.apply(execution.QUIET, None)
    return Accepted(_status(turn))


def _status(turn: Turn) -> Status:
    return Status(turn.root.state.value)


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
    if attempt.number > node.read(STEP).attempt:
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
    return _land(turn, program, node, lambda: node.apply(steps.SUCCEED, result))


def _skip(turn: Turn, program: Program, event: StepSkipped) -> Verdict:
    node = _find(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    skipped = steps.Skipped(turn.now_ms, event.reason)
    return _land(turn, program, node, lambda: node.apply(steps.SKIP, skipped))


def _fail(turn: Turn, program: Program, event: StepFailed) -> Verdict:
    node = _find_present(turn, event.attempt)
    if isinstance(node, Dropped):
        return node
    due = _retry_due(turn, program, node, event)
    failed = steps.Failed(turn.now_ms, event.failure, due)
    move = steps.FAIL if due is None else steps.BACK_OFF
    return _land(turn, program, node, lambda: node.apply(move, failed))


def _land(turn: Turn, program: Program, node: Node, move: Callable[[], None]) -> Verdict:
    was = Status(node.state.value)
    move()
    program.landed(turn, node, was)
    return _go_on(turn, program)


def _retry_due(turn: Turn, program: Program, node: Node, event: StepFailed) -> int | None:
    """Return when (execution time) the next attempt is due, or None if there is none."""
    policy = _policy(program.definition(node).retry, event)
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
    return Accepted(_status(turn))


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
    status = _status(turn)
    data = CommandData(verb, status.value)
    turn.root.add_child(f"commands/{command}", COMMAND, Status.SUCCESS, data)
    return Accepted(status)


def _refuse(turn: Turn, verb: str, hint: str = "") -> Refused:
    # The kernel does not know the execution's id; whoever answers puts it in.
    return Refused(NotPossible(verb, "", _status(turn).value, hint))


def _suspend(turn: Turn, program: Program, event: SuspendRequested) -> Verdict:
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    if turn.running:
        turn.root.apply(execution.SUSPEND, execution.Suspended(turn.now_ms, event.clock))
        _go_on(turn, program)
    elif turn.root.state not in (Status.SUSPENDING, Status.SUSPENDED):
        return _refuse(turn, "suspend")
    return _obey(turn, event.command, "suspend")


def _resume(turn: Turn, program: Program, event: ResumeRequested) -> Verdict:
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    match turn.root.state:
        case Status.RUNNING:
            return _obey(turn, event.command, "resume")
        case Status.SUSPENDING | Status.SUSPENDED:
            turn.root.apply(execution.RESUME, turn.now_ms)
            _catch_up(turn, program)
        case Status.FAILURE:
            began = execution.Began(turn.now_ms, turn.clock_ms, program.timeout_ms)
            turn.root.apply(execution.REVIVE, began)
            program.revive(turn)
        case _:
            return _refuse(turn, "resume", "only a suspended or failed execution can be resumed")
    _go_on(turn, program)
    return _obey(turn, event.command, "resume")


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


_HANDLERS: Final[dict[type, Callable[[Turn, Program, Any], Verdict]]] = {
    ExecutionStarted: _start,
    StepStarted: _note_start,
    StepSucceeded: _succeed,
    StepFailed: _fail,
    StepSkipped: _skip,
    TimerFired: _fire,
    SuspendRequested: _suspend,
    ResumeRequested: _resume,
    AbortRequested: _abort,
}
