"""Sending out: which steps and hooks go next, as far as the window has room."""

from typing import Final

from flow.kernel import execution, steps
from flow.kernel.decide import Turn
from flow.kernel.execution import SUB_WORKFLOW, ExecutionData
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.names import DISPATCH_WINDOW
from flow.plan import PlannedStep
from flow.programs.index import Index
from flow.programs.scope import Scope
from flow.status import Status
from flow.step import StepDefinition

__all__ = ["send", "send_next", "unsent_hooks"]

_HOOKS_FOR: Final = {
    Status.SUCCESS.value: ("on_success", "on_end"),
    Status.FAILURE.value: ("on_failure", "on_end"),
    Status.COMPENSATED.value: ("on_failure", "on_end"),
    Status.ABORTED.value: (),
}


def send_next(turn: Turn, index: Index) -> bool:
    """Send out what the first waiting workflow has ready.

    Args:
        turn: The decision in the making.
        index: The index of the execution.

    Returns:
        Whether there may be more to send; False if nothing waits, or the window is full.
    """
    if index.active >= DISPATCH_WINDOW:
        return False
    scope = index.waiting.take()
    if scope is None:
        return False
    if scope.owner.data.outcome and not scope.stopped:
        _send_hook(turn, index, scope)
    elif not scope.halted:
        _send_steps(turn, index, scope)
    return True


def send(turn: Turn, index: Index, node: Node, definition: StepDefinition) -> None:
    """Make the next attempt of a step or a hook.

    Args:
        turn: The decision in the making.
        index: The index of the execution.
        node: The node of the step.
        definition: The step.
    """
    due = _due(turn, definition)
    node.apply(steps.DISPATCH, steps.Dispatched(turn.now_ms, turn.execution.epoch, due))
    index.attempts_out += 1


def unsent_hooks(scope: Scope, outcome: str) -> list[str]:
    """Return the names of the hooks that a workflow has to run still.

    Args:
        scope: The workflow.
        outcome: How it will end.
    """
    return [
        hook
        for hook in _HOOKS_FOR[outcome]
        if hook in scope.plan.hooks and scope.owner.find(f"hooks/{hook}") is None
    ]


def _send_steps(turn: Turn, index: Index, scope: Scope) -> None:
    while index.active < DISPATCH_WINDOW:
        number = scope.next_ready()
        if number is None:
            return
        step = scope.plan.steps[number]
        scope.occupy(number)
        _begin(turn, index, scope, f"steps/{step.definition.id}", step)
        if step.plan is not None:
            # What is inside goes first, or all sub-workflows would be begun at once.
            break
    if scope.ready:
        index.waiting.add(scope)


def _send_hook(turn: Turn, index: Index, scope: Scope) -> None:
    unsent = unsent_hooks(scope, scope.owner.data.outcome)
    if not unsent:
        return
    scope.active += 1
    _begin(turn, index, scope, f"hooks/{unsent[0]}", scope.plan.hooks[unsent[0]])
    index.waiting.add(scope)


def _begin(turn: Turn, index: Index, scope: Scope, key: str, step: PlannedStep) -> None:
    owner = scope.owner
    node = owner.find(key)
    if step.plan is not None:
        node = node or owner.add_child(key, SUB_WORKFLOW, Status.PENDING, ExecutionData())
        began = execution.Began(turn.now_ms, turn.clock_ms, step.plan.timeout_ms)
        node.apply(execution.BEGIN, began)
        index.open(step.plan, node, scope)
        return
    index.active += 1
    if node is not None:
        send(turn, index, node, step.definition)
        return
    due = _due(turn, step.definition)
    data = steps.first_attempt(turn.now_ms, turn.root.data.epoch, due)
    owner.add_child(key, STEP, Status.RUNNING, data)
    index.attempts_out += 1


def _due(turn: Turn, definition: StepDefinition) -> int | None:
    """Return by when (execution time) an attempt has to have begun that goes out now."""
    within = definition.start_within_ms
    return None if within is None else turn.clock_ms + within
