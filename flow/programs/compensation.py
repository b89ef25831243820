"""Compensation: taking back what ran, the last first.

Theory of operation
-------------------
When a workflow begins to be compensated, every step of it that has begun gets its undo at once,
and so do the steps of the sub-workflows in it, which are compensated along with it: what has to
be undone is a matter of record. An `Unwinding` says whose turn it is. It follows from the plan
and the tree, and is made anew after a load.

An undo whose step is unsettled waits, when its turn has come, until it is known what the step did;
and if that takes too long, it is not sent at all and counts as failed, for a person to look at.
A failed undo lets the others go on, or keeps them back, as the workflow says.

A sub-workflow that was compensated for a failure of its own is not touched again. Its failed undos
count as those of the workflow around it.
"""

from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from heapq import heappop, heappush
from typing import Final

from flow.errors import OutcomeUnknown, StepsUndone, UndoFailed, failure_of
from flow.failure import Failure
from flow.kernel import execution, steps
from flow.kernel.execution import SUB_WORKFLOW
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node
from flow.kernel.turn import Turn
from flow.names import DISPATCH_WINDOW
from flow.plan import Plan, PlannedStep
from flow.programs import places, sending
from flow.programs.index import Index
from flow.programs.places import UNDO
from flow.programs.scope import Scope
from flow.programs.unwinding import Unwinding
from flow.status import Status

__all__ = [
    "Compensation",
    "compensates_inside",
    "failed_undos",
    "incident_of",
    "is_undone",
    "mark",
    "outcome_of",
]

_KEPT_MAX: Final = 100
"""How many steps a failure names that is kept."""
_NEVER_BEGAN: Final = "its run never began"
_DONE: Final = (Status.SUCCESS, Status.SKIPPED)
_FAILED: Final = (Status.FAILURE, Status.ABORTED)


class Compensation:
    """Undoes the steps of one execution.

    Args:
        index: The index of the execution.
    """

    __slots__ = ("_hungry", "_index", "_over")

    def __init__(self, index: Index) -> None:
        """Find out what is to be undone, and what is out."""
        self._index = index
        # Heaps, so that a program that was loaded goes on like one that stayed in memory. One may
        # be there twice, or be closed by now.
        self._hungry: list[Unwinding] = []
        self._over: list[Unwinding] = []
        for scope in index.compensating():
            self._open(scope.plan, scope.owner, None)

    def begin(self, turn: Turn, scope: Scope) -> None:
        """Undo all that has begun in a workflow, which is COMPENSATING.

        Args:
            turn: The decision in the making.
            scope: The workflow.
        """
        mark(turn, scope.owner, scope.plan)
        self._open(scope.plan, scope.owner, None)

    def over(self, owner: Node) -> bool:
        """Return whether nothing of a workflow that is COMPENSATING will be undone any more.

        Args:
            owner: The workflow's node.
        """
        return owner.path not in self._index.unwindings

    def advance(self, turn: Turn) -> None:
        """Send every undo that can go out now, and end the sub-workflows that are done with.

        Args:
            turn: The decision in the making.
        """
        while self._over:
            unwinding = heappop(self._over)
            # It may have been put there halfway through a look at what is out.
            if self._is_open(unwinding) and unwinding.over:
                self._close(turn, unwinding)
        self._send_waiting(turn)

    def land(self, turn: Turn, undo: Node, was: Enum) -> None:
        """Take note that an attempt of an undo ended, and perhaps the undo by it.

        Args:
            turn: The decision in the making.
            undo: The undo.
            was: The status that it had before.
        """
        del turn
        if was is Status.RUNNING:
            self._index.attempts_out -= 1
        if undo.state is Status.RETRYING:
            return
        self._index.active -= 1
        unwinding = self._around(undo)
        assert unwinding is not None, "what is out is being undone"
        unwinding.active -= 1
        self._walk(unwinding, (_number_of(unwinding, undo),))

    def settled(self, turn: Turn, step: Node) -> None:
        """Take note that it is known what a step did that was ended by force.

        Args:
            turn: The decision in the making.
            step: The step.
        """
        undo = step.find(UNDO)
        if undo is None or undo.state is not Status.PENDING:
            return
        if not steps.has_begun(step.state, step.read(STEP)):
            undo.apply(steps.SKIP, steps.Skipped(turn.now_ms, _NEVER_BEGAN))
        self._decide(undo)

    def give_up_on(self, turn: Turn, step: Node) -> None:
        """Leave a step to a person, because nothing was heard of it in time.

        Args:
            turn: The decision in the making.
            step: The step.
        """
        step.apply(steps.AWAIT_WORD[step.state], None)
        undo = step.find(UNDO)
        if undo is None or undo.state is not Status.PENDING:
            return
        plan = places.plan_of(self._index.plan, step)
        unknown = failure_of(OutcomeUnknown(step.path, plan.settle_within_ms / 1000))
        undo.apply(steps.LEAVE_UNSENT, steps.Failed(turn.now_ms, unknown))
        self._decide(undo)

    # ------------------------------------------------------------------------- privately

    def _around(self, undo: Node) -> Unwinding | None:
        """Return the unwinding that an undo is a part of, or None if that is over."""
        step = undo.parent
        assert step is not None, "an undo stands below its step"
        assert step.parent is not None, "a step stands below its workflow"
        return self._index.unwindings.get(step.parent.path)

    def _is_open(self, unwinding: Unwinding) -> bool:
        return self._index.unwindings.get(unwinding.owner.path) is unwinding

    def _decide(self, undo: Node) -> None:
        """Go on with an undo that was held back because its step was not settled."""
        unwinding = self._around(undo)
        if unwinding is None:
            return
        number = _number_of(unwinding, undo)
        if number in unwinding.unsettled:
            unwinding.unsettled.discard(number)
            self._walk(unwinding, (number,))

    def _open(self, plan: Plan, owner: Node, outer: Unwinding | None, number: int = 0) -> None:
        unwinding = Unwinding(plan, owner, outer, number)
        self._index.unwindings[owner.path] = unwinding
        self._walk(unwinding, unwinding.last())

    def _walk(self, unwinding: Unwinding, numbers: Iterable[int]) -> None:
        """Look at the steps whose turn has come, and pass through those that are done with."""
        turns = list(numbers)
        while turns:
            number = turns.pop()
            if self._is_done(unwinding, number):
                turns += unwinding.leave(number)
        self._check(unwinding)

    def _is_done(self, unwinding: Unwinding, number: int) -> bool:
        """Return whether a step whose turn has come is done with; otherwise note what it does."""
        step = unwinding.plan.steps[number]
        node = unwinding.owner.find(f"steps/{step.definition.id}")
        if node is None:
            return True
        if node.machine is SUB_WORKFLOW:
            return self._is_workflow_done(unwinding, number, node)
        undo = node.find(UNDO)
        if undo is None or undo.state in _DONE:
            return True
        if undo.state in _FAILED:
            return self._note_failure(unwinding)
        if undo.state is not Status.PENDING:
            self._count(unwinding, undo)
        elif node.read(STEP).unsettled:
            unwinding.unsettled.add(number)
        else:
            unwinding.wait(number)
            heappush(self._hungry, unwinding)
        return False

    def _is_workflow_done(self, unwinding: Unwinding, number: int, node: Node) -> bool:
        inner = unwinding.plan.steps[number].plan
        assert inner is not None, "only a sub-workflow has such a node"
        if node.state is Status.COMPENSATING:
            unwinding.active += 1
            self._open(inner, node, unwinding, number)
            return False
        if node.state is not Status.FAILURE:
            return True
        if any(failed_undos(node, inner)):
            return self._note_failure(unwinding)
        # One that was held back by a failure outside of it is not done with.
        return not any(_undos(node, inner, (Status.PENDING,)))

    def _count(self, unwinding: Unwinding, undo: Node) -> None:
        """Count an undo as out that was found so in a loaded tree."""
        unwinding.active += 1
        self._index.active += 1
        if undo.state is Status.RUNNING:
            self._index.attempts_out += 1

    def _note_failure(self, unwinding: Unwinding) -> bool:
        """Note that an undo has failed; return whether the others go on."""
        unwinding.failed = True
        if unwinding.plan.on_undo_error == "continue":
            return True
        for each in self._index.unwindings.values():
            self._check(each)
        return False

    def _check(self, unwinding: Unwinding) -> None:
        if unwinding.over:
            heappush(self._over, unwinding)

    def _send_waiting(self, turn: Turn) -> None:
        while self._hungry and self._index.active < DISPATCH_WINDOW:
            unwinding = self._hungry[0]
            number = unwinding.next() if self._is_open(unwinding) else None
            if number is None:
                heappop(self._hungry)
                continue
            step = unwinding.plan.steps[number]
            assert step.undo is not None, "only a step that has an undo waits for it"
            undo = unwinding.owner.child(f"steps/{step.definition.id}").child(UNDO)
            unwinding.active += 1
            self._index.active += 1
            sending.send(turn, self._index, undo, step.undo.definition)

    def _close(self, turn: Turn, unwinding: Unwinding) -> None:
        """End a workflow that is done with, or leave that to whoever opened it."""
        owner, outer = unwinding.owner, unwinding.outer
        del self._index.unwindings[owner.path]
        if not unwinding.complete:
            _hold_back(turn, owner, unwinding.plan)
        if outer is None:
            scope = self._index.at(owner)
            assert scope is not None, "what is compensated by itself has a scope"
            self._index.touched.add(scope)
            return
        move = execution.COMPENSATED
        if unwinding.failed or not unwinding.complete:
            move = execution.FAIL
        owner.apply(move, execution.Ended(turn.now_ms))
        outer.active -= 1
        self._walk(outer, (unwinding.number,))


# ------------------------------------------------------------------------ what is to be undone


def outcome_of(scope: Scope) -> execution.OutcomeKnown:
    """Return how a workflow ends that was compensated.

    Args:
        scope: The workflow.
    """
    failure: Failure | None = scope.owner.data.failure
    failed = [_step_of(undo) for undo in failed_undos(scope.owner, scope.plan)]
    if failed:
        why = failure or failure_of(UndoFailed(failed[:_KEPT_MAX]))
        return execution.OutcomeKnown(Status.FAILURE, why)
    if scope.outer is not None or is_undone(scope.owner, scope.plan):
        return execution.OutcomeKnown(Status.COMPENSATED, failure)
    if failure is None:
        undone = [node.path for node in _leaves(scope.owner, scope.plan) if node.find(UNDO)]
        why = failure_of(StepsUndone(undone[:_KEPT_MAX]))
        return execution.OutcomeKnown(Status.FAILURE, why)
    was_aborted = failure.type == execution.ABORTED_FAILURE
    return execution.OutcomeKnown(Status.ABORTED if was_aborted else Status.FAILURE, failure)


def incident_of(scope: Scope) -> str:
    """Return what a person has to look at after a compensation, or an empty string.

    Args:
        scope: The workflow.
    """
    failed = [_step_of(undo) for undo in failed_undos(scope.owner, scope.plan)]
    return str(UndoFailed(failed)) if failed else ""


def compensates_inside(plan: Plan) -> bool:
    """Return whether a sub-workflow may be compensated although the workflow around it is not.

    Args:
        plan: The plan of the workflow around it.
    """
    known: bool | None = plan.notes.get("compensates_inside")
    if known is None:
        inside = [step.plan for step in plan.steps if step.plan is not None]
        known = any(one.on_error == "compensate" or compensates_inside(one) for one in inside)
        plan.notes["compensates_inside"] = known
    return known


def _hold_back(turn: Turn, owner: Node, plan: Plan) -> None:
    """End the sub-workflows whose turn to be undone never came, until somebody goes on with it."""
    for step in plan.steps:
        node = None if step.plan is None else owner.find(f"steps/{step.definition.id}")
        if node is not None and step.plan is not None and node.state is Status.COMPENSATING:
            _hold_back(turn, node, step.plan)
            node.apply(execution.FAIL, execution.Ended(turn.now_ms))


def _number_of(unwinding: Unwinding, undo: Node) -> int:
    assert undo.parent is not None, "an undo stands below its step"
    return unwinding.plan.index[undo.parent.key.partition("/")[2]]


def _step_of(undo: Node) -> str:
    assert undo.parent is not None, "an undo stands below its step"
    return undo.parent.path


def is_undone(owner: Node, plan: Plan) -> bool:
    """Return whether everything that has begun in a workflow is undone.

    Args:
        owner: The workflow's node.
        plan: Its plan.
    """
    for node in _leaves(owner, plan):
        undo = node.find(UNDO)
        if undo is None:
            is_left = steps.has_begun(node.state, node.read(STEP))
        else:
            is_left = undo.state not in _DONE
        if is_left:
            return False
    return True


def failed_undos(owner: Node, plan: Plan) -> Iterator[Node]:
    """Go through the undos that failed in a workflow, those of its sub-workflows included.

    Args:
        owner: The workflow's node.
        plan: Its plan.
    """
    return _undos(owner, plan, _FAILED)


def _undos(owner: Node, plan: Plan, states: Collection[Enum]) -> Iterator[Node]:
    """Go through the undos in a workflow that are in one of some states."""
    for node in _leaves(owner, plan):
        undo = node.find(UNDO)
        if undo is not None and undo.state in states:
            yield undo


def _leaves(owner: Node, plan: Plan) -> Iterator[Node]:
    """Go through the steps of a workflow that have nodes and are no sub-workflows."""
    for step in plan.steps:
        node = owner.find(f"steps/{step.definition.id}")
        if node is None:
            continue
        if node.machine is STEP:
            yield node
        else:
            assert step.plan is not None, "only a sub-workflow has such a node"
            yield from _leaves(node, step.plan)


def mark(
    turn: Turn,
    owner: Node,
    plan: Plan,
    chosen: Collection[int] | None = None,
    *,
    again: bool = False,
) -> bool:
    """Give an undo to every step of a workflow that has begun.

    An undo that waits since an earlier compensation goes on, whatever was chosen.

    Args:
        turn: The decision in the making.
        owner: The workflow's node.
        plan: Its plan.
        chosen: The numbers of the steps that are undone, or None for all.
        again: Whether undos that failed are tried again.

    Returns:
        Whether there is anything to undo.
    """
    found = False
    for number, step in enumerate(plan.steps):
        node = owner.find(f"steps/{step.definition.id}")
        if node is None:
            continue
        is_chosen = chosen is None or number in chosen
        if node.machine is STEP:
            if is_chosen:
                _mark_step(turn, node, step, again=again)
            found = _await_word(turn, node, plan) or found
        else:
            assert step.plan is not None, "only a sub-workflow has such a node"
            inside = None if is_chosen else ()
            if mark(turn, node, step.plan, inside, again=again and is_chosen):
                _reopen(turn, node)
                found = True
    return found


def _reopen(turn: Turn, node: Node) -> None:
    if node.state is Status.PENDING:
        # It was to begin again, and does not.
        node.apply(execution.INTERRUPT, execution.Ended(turn.now_ms))
    # Only a sub-workflow that has succeeded has a result, and no failure.
    needs_one = node.state is Status.ABORTED and node.data.failure is None
    failure = Failure(execution.ABORTED_FAILURE, "interrupted") if needs_one else None
    node.apply(execution.COMPENSATE, execution.Compensating(turn.now_ms, failure))


def _mark_step(turn: Turn, node: Node, step: PlannedStep, *, again: bool) -> None:
    """Give a step its undo if it has begun, or let that be tried again."""
    undo = node.find(UNDO)
    if undo is not None:
        _try_again(turn, node, undo, again=again)
    elif steps.has_begun(node.state, node.read(STEP)):
        if node.state is Status.PENDING:
            # It was to run again, and does not.
            node.apply(steps.ABORT, turn.now_ms)
        if step.undo is None:
            done = steps.nothing_to_undo(turn.now_ms)
            node.add_child(UNDO, STEP, Status.SKIPPED, done)
        else:
            node.add_child(UNDO, STEP, Status.PENDING, StepData())


def _try_again(turn: Turn, node: Node, undo: Node, *, again: bool) -> None:
    """Put an undo back that was interrupted, or has failed and is to be tried again."""
    if undo.read(STEP).permit:
        # It runs at most once, and has run.
        return
    if undo.state in _FAILED and not steps.has_begun(node.state, node.read(STEP)):
        # Word of that came too late for the compensation before this one.
        undo.apply(steps.RESOLVE, steps.Skipped(turn.now_ms, _NEVER_BEGAN))
    elif again and undo.state is Status.FAILURE:
        if node.read(STEP).unsettled:
            # Whoever wants it tried again does not wait for word any more.
            node.apply(steps.SETTLE[node.state], steps.Settled(began=True))
        undo.apply(steps.REVIVE, None)
    elif undo.state is Status.ABORTED:
        undo.apply(steps.REVIVE, None)


def _await_word(turn: Turn, node: Node, plan: Plan) -> bool:
    """Return whether the undo of a step waits; from now on also for word of what the step did."""
    undo = node.find(UNDO)
    if undo is None or undo.state is not Status.PENDING:
        return False
    if node.read(STEP).unsettled:
        node.apply(steps.AWAIT_WORD[node.state], turn.clock_ms + plan.settle_within_ms)
    return True
