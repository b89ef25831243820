"""Interrupting: ending by force what is out or waits, after an abort or when time is up."""

from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.decide import Turn
from flow.kernel.execution import SUB_WORKFLOW
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.programs.index import Index
from flow.programs.places import UNDO
from flow.programs.scope import Scope
from flow.status import Status

__all__ = ["expire", "interrupt"]


def interrupt(turn: Turn, index: Index, owner: Node) -> None:
    """Abort every step and hook in a workflow, and everything in the sub-workflows in it.

    The workflow itself loses its scope, and is left for the caller to end.

    Args:
        turn: The decision in the making.
        index: The index of the execution.
        owner: The workflow's node.
    """
    for node in owner.children:
        if node.machine is STEP:
            _abort(turn, index, node)
            undo = node.find(UNDO)
            if undo is not None:
                _abort(turn, index, undo)
        elif node.machine is SUB_WORKFLOW and node.state in execution.INTERRUPT.sources:
            interrupt(turn, index, node)
            node.apply(execution.INTERRUPT, execution.Ended(turn.now_ms))
    index.unwindings.pop(owner.path, None)
    scope = index.at(owner)
    if scope is not None:
        index.close(scope)


def expire(turn: Turn, index: Index, scope: Scope) -> None:
    """Interrupt a workflow whose deadline has passed, and let it fail for that.

    Args:
        turn: The decision in the making.
        index: The index of the execution.
        scope: The workflow.
    """
    workflow, seconds = scope.plan.workflow, (scope.plan.timeout_ms or 0) / 1000
    interrupt(turn, index, scope.owner)
    if scope.outer is None:
        scope.owner.apply(execution.NEW_EPOCH, None)
    failure = Failure(
        "flow.errors.DeadlineExceeded",
        f"the workflow {workflow!r} did not end within its timeout ({seconds:g} s)",
        fields={"what": workflow, "seconds": seconds},
    )
    empty = index.open_empty(scope)
    empty.expired = True
    empty.fail(failure, turn.tree.number)


def _abort(turn: Turn, index: Index, node: Node) -> None:
    if node.state is Status.RUNNING:
        index.attempts_out -= 1
        index.active -= 1
        node.apply(steps.INTERRUPT, turn.now_ms)
    elif node.state in steps.ABORT.sources:
        index.active -= node.state is Status.RETRYING
        node.apply(steps.ABORT, turn.now_ms)
