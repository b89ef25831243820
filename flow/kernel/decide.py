"""Decide: what an event changes, and what must be done next. The heart of flowmq, and pure.

`decide` takes the tree of one execution, the program that drives it, an event and the moment,
changes the tree, and returns a `Decision`: what changed (the journal record to be), which tasks
came out of it (the commands to be carried out after the commit), and a verdict on the event.

Every event has one handler: in `answers` what workers say, in `control` what people want, in
`timers` what is due, and here how an execution begins. Handlers move the execution and its steps
along their transition tables (`execution`, `steps`) and leave to the program what depends on the
workflow: which step comes next, what a failure means for the whole, when all is done.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from flow.kernel import answers, control, execution, timers
from flow.kernel.events import (
    AbortRequested,
    AnswerRequested,
    Event,
    ExecutionStarted,
    PermitRequested,
    ResolveRequested,
    ResumeRequested,
    StepCancelled,
    StepFailed,
    StepHeard,
    StepKept,
    StepSilent,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    SuspendRequested,
    TimerFired,
    UndoRequested,
)
from flow.kernel.execution import COMMAND, EXECUTION, INPUT, SUB_WORKFLOW, InputData
from flow.kernel.machine import Registry
from flow.kernel.steps import STEP
from flow.kernel.tree import Changes, Tree
from flow.kernel.turn import Accepted, Dropped, Moment, Program, Refused, Turn, Verdict, go_on
from flow.kernel.values import VALUE
from flow.kernel.waiters import WAITER, answer
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

MACHINES: Final = Registry().register(EXECUTION, SUB_WORKFLOW, INPUT, COMMAND, STEP, WAITER, VALUE)
"""The machine types that every execution is made of."""

_IN_PLACE: Final = frozenset({StepStarted, PermitRequested, StepSilent, StepHeard, StepKept})
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
    was_at = turn.root.updated
    with tree.transaction():
        verdict = _HANDLERS[type(event)](turn, program, event)
        if turn.root.updated != was_at and turn.root.state in ENDED:
            answer(turn.root)
    changes = tree.take()
    if changes.outputs and type(event) in _IN_PLACE:
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
        return go_on(turn, program)
    turn.root.apply(execution.SUSPEND, execution.Suspended(turn.now_ms, "run"))
    go_on(turn, program)
    return control.obey(turn, event.paused_by, "pause")


_HANDLERS: Final[dict[type, Callable[[Turn, Program, Any], Verdict]]] = {
    ExecutionStarted: _start,
    StepStarted: answers.note_start,
    PermitRequested: answers.grant,
    StepSilent: answers.note_silence,
    StepHeard: answers.hear,
    StepSucceeded: answers.succeed,
    StepFailed: answers.fail,
    StepSkipped: answers.skip,
    StepCancelled: answers.cancelled,
    StepKept: answers.leave,
    TimerFired: timers.fire,
    SuspendRequested: control.suspend,
    ResumeRequested: control.resume,
    AbortRequested: control.abort,
    UndoRequested: control.undo,
    ResolveRequested: control.resolve,
    AnswerRequested: control.let_wait,
}
