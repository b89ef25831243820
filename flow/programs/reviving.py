"""Reviving: preparing an execution that has failed to be tried again from the failed steps."""

from collections.abc import Iterator
from typing import Final

from flow.kernel import execution, steps
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.plan import Plan, PlannedStep
from flow.programs.index import SATISFYING
from flow.status import Status
from flow.workflow import HOOKS

__all__ = ["revive", "unrepeatable"]

_FAILED: Final = (Status.FAILURE, Status.COMPENSATED)


def revive(owner: Node, plan: Plan) -> None:
    """Put the failed and aborted steps of a workflow back to their beginning.

    Hooks and fallbacks that ran for the failure are deleted: they run anew if they are needed
    again. What has ended well stays, and so does a failure that the workflow could live with.

    Args:
        owner: The workflow's node.
        plan: Its plan.
    """
    for name in HOOKS:
        if owner.find(f"hooks/{name}") is not None:
            owner.delete_child(f"hooks/{name}")
    for node in owner.children:
        if node.machine is STEP and node.read(STEP).blocked_by:
            owner.delete_child(node.key)
    for step, node, stand_in in _failed(owner, plan):
        if stand_in is not None:
            owner.delete_child(stand_in.key)
        if step.plan is None:
            node.apply(steps.REVIVE, None)
        else:
            node.apply(execution.RESET, None)
            revive(node, step.plan)


def unrepeatable(owner: Node, plan: Plan) -> Iterator[str]:
    """Go through the paths of steps that `revive` would let run again, and that must not.

    A hook is none of them: it runs once for each end of its workflow.

    Args:
        owner: The workflow's node.
        plan: Its plan.
    """
    for step, node, stand_in in _failed(owner, plan):
        if stand_in is not None:
            yield from _with_permit(stand_in)
        if step.plan is None:
            yield from _with_permit(node)
        else:
            yield from unrepeatable(node, step.plan)


def _with_permit(node: Node) -> Iterator[str]:
    if node.machine is STEP and node.read(STEP).permit:
        yield node.path
    for child in node.children:
        yield from _with_permit(child)


def _failed(owner: Node, plan: Plan) -> list[tuple[PlannedStep, Node, Node | None]]:
    """Return the steps that failed or were aborted, each with its fallback if that ran."""
    found: list[tuple[PlannedStep, Node, Node | None]] = []
    for step in plan.steps:
        node = owner.find(f"steps/{step.definition.id}")
        if node is None or step.stands_in_for is not None:
            continue
        stand_in = _stand_in(owner, plan, step)
        if node.state in execution.RESET.sources and not _is_settled(step, node, stand_in):
            found.append((step, node, stand_in))
    return found


def _stand_in(owner: Node, plan: Plan, step: PlannedStep) -> Node | None:
    if step.fallback is None:
        return None
    return owner.find(f"steps/{plan.steps[step.fallback].definition.id}")


def _is_settled(step: PlannedStep, node: Node, stand_in: Node | None) -> bool:
    """Return whether the workflow could go on after a step has failed."""
    if node.state is Status.ABORTED:
        return False
    if stand_in is not None and stand_in.state in SATISFYING:
        return True
    is_final = step.fallback is None or (stand_in is not None and stand_in.state in _FAILED)
    return step.definition.optional and is_final
