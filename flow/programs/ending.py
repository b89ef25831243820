"""Ending: how a workflow ends when nothing of it is out, and what its end means for the one around.

A workflow ends in this order of precedence: in the outcome that is known already, once its hooks
are done; in ABORTED, if the workflow around it is going to fail; in FAILURE, if a step of it has
failed; in SUCCESS, if all steps are satisfied and its result can be put together.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from flow.errors import FlowError
from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.decide import Turn
from flow.kernel.execution import ExecutionData
from flow.kernel.tree import Node
from flow.programs.bodies import Bodies
from flow.programs.index import Index
from flow.programs.places import bodies_at
from flow.programs.scope import Scope
from flow.programs.sending import unsent_hooks
from flow.status import Status
from flow.step import Composed, FromStep, Template
from flow.workflow import HOOKS

__all__ = ["Assemble", "Ending"]

Assemble = Callable[[Template, Bodies, str], bytes]
"""Puts a template together; the third argument says for whom, in the error."""

_MOVES: Final = {
    Status.SUCCESS.value: execution.SUCCEED,
    Status.FAILURE.value: execution.FAIL,
}


class Ending:
    """Ends the steps and the workflows of one execution.

    Args:
        index: The index of the execution.
        assemble: Puts bodies together; used to find out whether a result's mapping finds what it
            looks for.
    """

    __slots__ = ("_assemble", "_index")

    def __init__(self, index: Index, assemble: Assemble) -> None:
        """End what is in *index*."""
        self._index = index
        self._assemble = assemble

    def land(self, turn: Turn, node: Node, was: Enum) -> None:
        """Take note that an attempt ended, and perhaps its step by it.

        Args:
            turn: The decision in the making.
            node: The step or hook.
            was: The status that it had before.
        """
        scope = self._index.around(node)
        self._index.touched.add(scope)
        if was is Status.RUNNING:
            self._index.attempts_out -= 1
        if node.state is Status.RETRYING:
            scope.retrying[node] = None
        else:
            self._leave(turn, scope, node)

    def conclude(self, turn: Turn, scope: Scope) -> None:
        """End a workflow, or begin with its hooks, if nothing of it is out and it is decided how.

        Args:
            turn: The decision in the making.
            scope: The workflow.
        """
        if scope.active:
            return
        outcome = scope.owner.data.outcome
        if outcome:
            if scope.stopped or not unsent_hooks(scope, outcome):
                self._finish(turn, scope)
        elif scope.stopped:
            self._close(turn, scope, execution.INTERRUPT, execution.Ended(turn.now_ms))
        elif scope.failure is not None:
            self._know(turn, scope, scope.failure)
        elif scope.done:
            self._know(turn, scope, self._check_result(turn, scope))

    # ---------------------------------------------------------------------- workflows

    def _know(self, turn: Turn, scope: Scope, failure: Failure | None) -> None:
        """End a workflow, or only note how it will end if it has hooks for that."""
        status = Status.SUCCESS if failure is None else Status.FAILURE
        if scope.plan.hooks and unsent_hooks(scope, status.value):
            outcome = execution.OutcomeKnown(status, failure)
            scope.owner.apply(execution.NOTE_OUTCOME, outcome)
        else:
            move = execution.SUCCEED if failure is None else execution.FAIL
            self._close(turn, scope, move, execution.Ended(turn.now_ms, failure))

    def _finish(self, turn: Turn, scope: Scope) -> None:
        """End a workflow whose hooks are done."""
        data: ExecutionData = scope.owner.data
        ended = execution.Ended(turn.now_ms, data.failure, _failed_hook(scope))
        self._close(turn, scope, _MOVES[data.outcome], ended)

    def _close(
        self,
        turn: Turn,
        scope: Scope,
        move: execution.Ending,
        ended: execution.Ended,
    ) -> None:
        scope.owner.apply(move, ended)
        self._index.close(scope)
        if scope.outer is not None:
            self._index.touched.add(scope.outer)
            self._leave(turn, scope.outer, scope.owner)

    def _leave(self, turn: Turn, scope: Scope, node: Node) -> None:
        """Count out a step, a sub-workflow or a hook that has ended, and draw the conclusions."""
        number = self._index.leave(scope, node)
        if number is None or node.state is Status.ABORTED:
            return
        was_failing = scope.failure is not None
        self._index.settle(scope, number, node)
        if scope.failure is not None and not was_failing:
            self._give_up_retries(turn, scope)

    def _give_up_retries(self, turn: Turn, scope: Scope) -> None:
        """End the waiting of every step in a failing workflow and in those inside it."""
        self._index.touched.add(scope)
        for node in sorted(scope.retrying, key=_by_age):
            node.apply(steps.GIVE_UP, turn.now_ms)
            self._index.leave(scope, node)
        for owner in sorted(scope.inner, key=_by_age):
            self._give_up_retries(turn, scope.inner[owner])

    def _check_result(self, turn: Turn, scope: Scope) -> Failure | None:
        """Return why the workflow's result cannot be put together, if it cannot."""
        if _is_plain(scope.plan.output):
            return None
        bodies = bodies_at(self._index.plan, turn.tree, scope.owner)
        owner = f"the output of workflow {scope.plan.workflow!r}"
        try:
            self._assemble(scope.plan.output, bodies, owner)
        except FlowError as error:
            return Failure(
                f"flow.errors.{type(error).__name__}", str(error), fields=dict(vars(error))
            )
        return None


def _failed_hook(scope: Scope) -> str:
    """Return a sentence about the first hook that failed, or an empty string."""
    for name in HOOKS:
        hook = scope.owner.find(f"hooks/{name}")
        if hook is not None and hook.state is Status.FAILURE:
            return f"the hook {name} failed: {hook.data.failure}"
    return ""


def _is_plain(output: Template) -> bool:
    """Return whether putting an output together cannot fail for want of a field."""
    match output:
        case FromStep(path=()):
            return True
        case Composed(fields=fields):
            return len(fields) == 1 and _is_plain(fields[0][1])
        case _:
            return False


def _by_age(node: Node) -> int:
    return node.created
