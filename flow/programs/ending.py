"""Ending: how a workflow ends when nothing of it is out, and what its end means for the one around.

A workflow ends in this order of precedence: in the outcome that is known already, once its hooks
are done; as its compensation turns out, if it has failed and takes back what it did; in ABORTED, if
the workflow around it is going to fail; in FAILURE, if a step of it has failed; in SUCCESS, if all
steps are satisfied and its result can be put together.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from flow.errors import FlowError, failure_of
from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.decide import Turn
from flow.kernel.execution import ExecutionData
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.programs.bodies import Bodies
from flow.programs.compensation import (
    Compensation,
    compensates_inside,
    incident_of,
    outcome_of,
)
from flow.programs.index import Index
from flow.programs.places import bodies_at
from flow.programs.scope import Scope
from flow.programs.sending import unsent_hooks
from flow.status import Status
from flow.template import Composed, FromStep, Template
from flow.workflow import HOOKS

__all__ = ["Assemble", "Ending"]

Assemble = Callable[[Template, Bodies, str], bytes]
"""Puts a template together; the third argument says for whom, in the error."""

# Members of an enum that are looked up take as long as three calls each; every step asks for these.
_RUNNING: Final = Status.RUNNING
_RETRYING: Final = Status.RETRYING
_ABORTED: Final = Status.ABORTED

_MOVES: Final = {
    Status.SUCCESS.value: execution.SUCCEED,
    Status.FAILURE.value: execution.FAIL,
}
_UNDONE: Final = {
    Status.COMPENSATED.value: execution.COMPENSATED,
    Status.FAILURE.value: execution.FAIL,
    Status.ABORTED.value: execution.STAY_ABORTED,
}


class Ending:
    """Ends the steps and the workflows of one execution.

    Args:
        index: The index of the execution.
        assemble: Puts bodies together; used to find out whether a result's mapping finds what it
            looks for.
        compensation: Takes back what has run, where a workflow wants that.
    """

    __slots__ = ("_assemble", "_compensation", "_index")

    def __init__(self, index: Index, assemble: Assemble, compensation: Compensation) -> None:
        """End what is in *index*."""
        self._index = index
        self._assemble = assemble
        self._compensation = compensation

    def land(self, turn: Turn, node: Node, was: Enum) -> None:
        """Take note that an attempt ended, and perhaps its step by it.

        Args:
            turn: The decision in the making.
            node: The step or hook.
            was: The status that it had before.
        """
        scope = self._index.around(node)
        self._index.touched.add(scope)
        if was is _RUNNING:
            self._index.attempts_out -= 1
        if node.state is _RETRYING:
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
        elif scope.owner.state is Status.COMPENSATING:
            self._conclude_undoing(turn, scope)
        elif scope.failure is not None and scope.plan.on_error == "compensate":
            self._know(turn, scope, scope.failure)
        elif scope.outer is not None and scope.stopped:
            self._close(turn, scope, execution.INTERRUPT, execution.Ended(turn.now_ms))
        elif scope.failure is not None and (scope.failing or not scope.left):
            self._know(turn, scope, scope.failure)
        elif not scope.left:
            self._know(turn, scope, self._check_result(turn, scope))

    # ---------------------------------------------------------------------- workflows

    def _know(self, turn: Turn, scope: Scope, failure: Failure | None) -> None:
        """End a workflow, or only note how it will end, or begin to take back what it did."""
        status = Status.SUCCESS if failure is None else Status.FAILURE
        if failure is not None and scope.plan.on_error == "compensate":
            scope.owner.apply(execution.COMPENSATE, execution.Compensating(turn.now_ms, failure))
            self._compensation.begin(turn, scope)
        elif scope.plan.hooks and unsent_hooks(scope, status.value):
            outcome = execution.OutcomeKnown(status, failure)
            scope.owner.apply(execution.NOTE_OUTCOME[Status.RUNNING], outcome)
        else:
            move = execution.SUCCEED if failure is None else execution.FAIL
            self._close(
                turn, scope, move, execution.Ended(turn.now_ms, failure, _undo_incident(scope))
            )

    def _conclude_undoing(self, turn: Turn, scope: Scope) -> None:
        """End a workflow that was compensated, or begin with its hooks."""
        if not self._compensation.over(scope.owner):
            return
        outcome = outcome_of(scope)
        if not scope.stopped and unsent_hooks(scope, outcome.status.value):
            scope.owner.apply(execution.NOTE_OUTCOME[Status.COMPENSATING], outcome)
        else:
            ended = execution.Ended(turn.now_ms, outcome.failure, _undo_incident(scope))
            self._close(turn, scope, _UNDONE[outcome.status.value], ended)

    def _finish(self, turn: Turn, scope: Scope) -> None:
        """End a workflow whose hooks are done."""
        data: ExecutionData = scope.owner.data
        was_undone = scope.owner.state is Status.COMPENSATING
        found = (_undo_incident(scope), _failed_hook(scope))
        incident = "; ".join(each for each in found if each)
        moves = _UNDONE if was_undone else _MOVES
        ended = execution.Ended(turn.now_ms, data.failure, incident)
        self._close(turn, scope, moves[data.outcome], ended)

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
        if number is None or node.state is _ABORTED:
            return
        was_failing = scope.failure is not None
        failed = self._index.settle(scope, number, node)
        if failed is not None and scope.plan.on_error == "continue":
            self._block(turn, scope, failed)
        elif failed is not None and not was_failing:
            self._give_up_retries(turn, scope)

    def _block(self, turn: Turn, scope: Scope, failed: int) -> None:
        """Skip everything that depends on a failed step."""
        blocked = steps.blocked(turn.now_ms, scope.plan.steps[failed].definition.id)
        for number in scope.blocks(failed):
            key = f"steps/{scope.plan.steps[number].definition.id}"
            scope.owner.add_child(key, STEP, Status.SKIPPED, blocked)
            scope.block(number)

    def _give_up_retries(self, turn: Turn, scope: Scope) -> None:
        """End the waiting of every step in a failing workflow and in those inside it."""
        self._index.touched.add(scope)
        for node in sorted(scope.retrying, key=_by_age):
            node.apply(steps.GIVE_UP, turn.now_ms)
            number = self._index.leave(scope, node)
            if number is not None:
                # As it is found after a load: a sub-workflow may have failed for that by itself.
                self._index.settle(scope, number, node)
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
            return failure_of(error)
        return None


def _undo_incident(scope: Scope) -> str:
    """Return which undos failed in a workflow that ends, or an empty string."""
    if scope.owner.state is Status.COMPENSATING:
        return incident_of(scope)
    # The failed undos of a sub-workflow are for the whole to tell, however that ends.
    may_have = scope.outer is None and compensates_inside(scope.plan)
    return incident_of(scope) if may_have else ""


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
