"""Reviving: preparing an execution that has failed to be tried again from the failed steps."""

from flow.kernel import execution, steps
from flow.kernel.tree import Node
from flow.plan import Plan, PlannedStep
from flow.programs.index import SATISFYING
from flow.status import Status
from flow.workflow import HOOKS

__all__ = ["revive"]


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
    for step in plan.steps:
        node = owner.find(f"steps/{step.definition.id}")
        if node is not None and step.stands_in_for is None:
            _revive_step(plan, step, node)


def _revive_step(plan: Plan, step: PlannedStep, node: Node) -> None:
    owner = node.parent
    assert owner is not None, "a step is inside a workflow"
    stand_in = _stand_in(owner, plan, step)
    if node.state not in (Status.FAILURE, Status.ABORTED) or _is_settled(step, node, stand_in):
        return
    if stand_in is not None:
        owner.delete_child(stand_in.key)
    if step.plan is None:
        node.apply(steps.REVIVE, None)
        return
    node.apply(execution.RESET, None)
    revive(node, step.plan)


def _stand_in(owner: Node, plan: Plan, step: PlannedStep) -> Node | None:
    if step.fallback is None:
        return None
    return owner.find(f"steps/{plan.steps[step.fallback].definition.id}")


def _is_settled(step: PlannedStep, node: Node, stand_in: Node | None) -> bool:
    """Return whether the workflow could go on after a step has failed."""
    if node.state is not Status.FAILURE:
        return False
    if stand_in is not None and stand_in.state in SATISFYING:
        return True
    is_final = step.fallback is None or (stand_in is not None and stand_in.state is Status.FAILURE)
    return step.definition.optional and is_final
