"""Timers: what happens when the deadline of a task has passed."""

from flow.failure import Failure
from flow.kernel import steps
from flow.kernel.commands import ExecutionDeadline, RetryDue, SettleDue, StartDue
from flow.kernel.events import TimerFired
from flow.kernel.machine import Ref, Task
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.kernel.turn import Dropped, Program, Turn, Verdict, go_on
from flow.status import Status

__all__ = ["fire", "fire_if_wanted"]


def fire(turn: Turn, program: Program, event: TimerFired) -> Verdict:
    """The deadline of a task has passed."""
    if not turn.advancing:
        return Dropped("the execution does not run")
    node = turn.tree.find(event.ref.path)
    if node is None or node.created != event.ref.created:
        return Dropped("the node is gone")
    if not event.task.validate(event.ref, node):
        return Dropped("the timer is not wanted any more")
    _act(turn, program, node, event.task)
    return go_on(turn, program)


def fire_if_wanted(turn: Turn, program: Program, ref: Ref, task: Task) -> None:
    """Let the deadline of a task pass that nobody told of, unless it does not matter any more.

    Args:
        turn: The decision in the making.
        program: What drives it.
        ref: The node that asked for the task, as it was then.
        task: The task.
    """
    node = turn.tree.find(ref.path)
    if turn.advancing and node is not None and task.validate(ref, node):
        _act(turn, program, node, task)


def _act(turn: Turn, program: Program, node: Node, task: Task) -> None:
    match task:
        case RetryDue():
            program.dispatch(turn, node)
        case StartDue():
            _expire_start(turn, program, node)
        case ExecutionDeadline():
            program.expire(turn, node)
        case SettleDue():
            program.compensation.give_up_on(turn, node)
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
