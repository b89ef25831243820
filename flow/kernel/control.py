"""Control: what somebody asks of an execution, and whether it is done.

Each function takes the decision in the making, the program and an event, and returns the verdict.
Every command is answered for the execution's life like the first time that it came.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from flow.errors import NotPossible
from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.events import (
    AbortRequested,
    AnswerRequested,
    ResolveRequested,
    ResumeRequested,
    SuspendRequested,
    UndoRequested,
)
from flow.kernel.execution import COMMAND, CommandData
from flow.kernel.steps import STEP
from flow.kernel.timers import fire_if_wanted
from flow.kernel.turn import Accepted, Program, Refused, Turn, Verdict, go_on
from flow.kernel.waiters import WaiterData, wait, wait_again
from flow.status import Status

__all__ = ["abort", "let_wait", "obey", "resolve", "resume", "suspend", "undo"]

_HINTS: Final[Mapping[Status, str]] = {
    Status.COMPENSATING: "what ran is being undone: wait for the end of it",
}


def _obeyed(turn: Turn, command: str) -> Accepted | None:
    """Return the answer to a command that was obeyed before."""
    node = turn.root.find(f"commands/{command}")
    return None if node is None else Accepted(Status(node.read(COMMAND).status))


def obey(turn: Turn, command: str, verb: str) -> Accepted:
    """Remember that a command was obeyed, with the status that it is answered with.

    A command that found nothing to do is remembered too: delivered again after the opposite
    command, it must not undo that.

    Args:
        turn: The decision in the making.
        command: The id of the command.
        verb: What it asked for.
    """
    status = turn.status
    data = CommandData(verb, status.value)
    turn.root.add_child(f"commands/{command}", COMMAND, Status.SUCCESS, data)
    return turn.accepted


def _refuse(turn: Turn, verb: str, hint: str = "") -> Refused:
    # The kernel does not know the execution's id; whoever answers puts it in.
    return Refused(NotPossible(verb, "", turn.status.value, hint))


def suspend(turn: Turn, program: Program, event: SuspendRequested) -> Verdict:
    """Somebody wants no new attempts for now."""
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    if turn.running:
        turn.root.apply(execution.SUSPEND, execution.Suspended(turn.now_ms, event.clock))
        go_on(turn, program)
    elif turn.root.state not in (Status.SUSPENDING, Status.SUSPENDED):
        return _refuse(turn, event.verb, _HINTS.get(turn.status, ""))
    return obey(turn, event.command, event.verb)


def resume(turn: Turn, program: Program, event: ResumeRequested) -> Verdict:
    """Somebody wants it to go on, or to try again what has failed."""
    before = _obeyed(turn, event.command) or _held(turn, event)
    if before is not None:
        return before
    refused = _cannot_resume(turn, program)
    if refused is not None:
        return refused
    match turn.root.state:
        case Status.RUNNING:
            return obey(turn, event.command, "resume")
        case Status.FAILURE:
            began = execution.Began(turn.now_ms, turn.clock_ms, program.timeout_ms)
            turn.root.apply(execution.REVIVE, began)
            wait_again(turn.root)
            program.revive(turn)
        case _:
            turn.root.apply(execution.RESUME, turn.now_ms)
            _catch_up(turn, program)
    go_on(turn, program)
    return obey(turn, event.command, "resume")


def _cannot_resume(turn: Turn, program: Program) -> Refused | None:
    """Return why an execution cannot go on, or None."""
    hint = ""
    match turn.root.state:
        case Status.RUNNING if turn.execution.incident:
            hint = f"{turn.execution.incident}: wait for it, or abort"
        case Status.FAILURE if _has_undos(turn):
            hint = "steps of it were undone: undo the others too, or resolve what failed"
        case Status.FAILURE if spent := program.unrepeatable(turn):
            hint = f"{', '.join(spent)} ran, and runs at most once"
        case Status.RUNNING | Status.SUSPENDING | Status.SUSPENDED | Status.FAILURE:
            return None
        case _:
            hint = "only a suspended or failed execution can be resumed"
            hint = _HINTS.get(turn.status, hint)
    return _refuse(turn, "resume", hint)


def _has_undos(turn: Turn) -> bool:
    """Return whether steps of an execution were to be undone: whether a step is below another."""
    return any(
        node.machine is STEP and node.parent is not None and node.parent.machine is STEP
        for node in turn.tree.walk()
    )


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
        fire_if_wanted(turn, program, output.ref, output.task)


def abort(turn: Turn, program: Program, event: AbortRequested) -> Verdict:
    """Somebody wants it to end."""
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    has_its_way = Status.COMPENSATING if event.compensate else Status.ABORTED
    if turn.root.state is has_its_way:
        return obey(turn, event.command, "abort")
    if turn.root.state not in execution.ABORT.sources:
        return _refuse(turn, "abort", _HINTS.get(turn.status, ""))
    failure = Failure(execution.ABORTED_FAILURE, event.reason or "aborted on request")
    program.interrupt(turn)
    if event.compensate:
        turn.root.apply(execution.COMPENSATE, execution.Compensating(turn.now_ms, failure))
        program.compensate(turn)
        go_on(turn, program)
    else:
        turn.root.apply(execution.ABORT, None)
        turn.root.apply(execution.ABORTED, execution.Ended(turn.now_ms, failure))
    return obey(turn, event.command, "abort")


def undo(turn: Turn, program: Program, event: UndoRequested) -> Verdict:
    """Somebody wants what ran to be taken back."""
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    unknown = program.unknown(event.steps)
    if unknown is not None:
        return Refused(unknown)
    if turn.root.state in execution.UNDOABLE:
        _compensate(turn, program, event.steps or None, again=True)
    elif turn.root.state is not Status.COMPENSATED:
        hint = "abort it with compensation" if turn.root.state in execution.ABORT.sources else ""
        return _refuse(turn, "undo", hint)
    return obey(turn, event.command, "undo")


def resolve(turn: Turn, program: Program, event: ResolveRequested) -> Verdict:
    """Somebody has dealt with an undo that failed."""
    before = _obeyed(turn, event.command)
    if before is not None:
        return before
    node = turn.tree.find(f"{event.step}/undo")
    if turn.root.state is not Status.FAILURE or node is None or node.machine is not STEP:
        return _refuse(turn, "resolve", f"{event.step} has no undo that failed")
    if node.state not in steps.RESOLVE.sources:
        return _refuse(turn, "resolve", f"the undo of {event.step} is {node.state.value}")
    node.apply(steps.RESOLVE, steps.Skipped(turn.now_ms, f"resolved: {event.reason}"))
    _compensate(turn, program, (), again=False)
    return obey(turn, event.command, "resolve")


def _compensate(turn: Turn, program: Program, names: Sequence[str] | None, *, again: bool) -> None:
    """Undo what ran in an execution that has ended; whoever waits for its end waits again."""
    turn.root.apply(execution.COMPENSATE, execution.Compensating(turn.now_ms))
    wait_again(turn.root)
    program.compensate(turn, names, again=again)
    go_on(turn, program)


def let_wait(turn: Turn, _program: Program, event: AnswerRequested) -> Verdict:
    """Somebody wants to be told how it ends."""
    error = wait(turn.root, event.waiter, WaiterData(event.reply_to, event.correlation))
    return turn.accepted if error is None else Refused(error)
