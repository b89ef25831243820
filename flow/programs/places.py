"""Where a node stands in the plan: which step or hook of which workflow, with which bodies."""

from typing import Final

from flow.kernel.tree import Node, Tree
from flow.plan import Plan, PlannedStep
from flow.programs.bodies import Bodies

__all__ = ["UNDO", "bodies_at", "own_plan", "plan_of", "planned"]

UNDO: Final = "undo"
"""The key of an undo below its step."""


def planned(whole: Plan, node: Node) -> PlannedStep:
    """Return the planned step that a node is.

    Args:
        whole: The plan of the whole execution.
        node: The node of a step, a sub-workflow or a hook.
    """
    if node.key == UNDO and node.parent is not None:
        undo = planned(whole, node.parent).undo
        assert undo is not None, "an undo that is sent is planned"
        return undo
    plan = plan_of(whole, node)
    kind, _, name = node.key.partition("/")
    return plan.hooks[name] if kind == "hooks" else plan.steps[plan.index[name]]


def plan_of(whole: Plan, node: Node) -> Plan:
    """Return the plan of the workflow that a node is a step or a hook of.

    Args:
        whole: The plan of the whole execution.
        node: The node.
    """
    return whole if node.parent is None else own_plan(whole, node.parent)


def bodies_at(whole: Plan, tree: Tree, owner: Node) -> Bodies:
    """Return the bodies that the steps of a workflow can refer to.

    Args:
        whole: The plan of the whole execution.
        tree: The execution.
        owner: The workflow's node.
    """
    if owner.parent is None:
        return Bodies(tree, whole)
    around = bodies_at(whole, tree, owner.parent)
    return Bodies(tree, own_plan(whole, owner), owner.path, around)


def own_plan(whole: Plan, owner: Node) -> Plan:
    """Return the plan that the steps of a workflow belong to.

    Args:
        whole: The plan of the whole execution.
        owner: The workflow's node.
    """
    if owner.parent is None:
        return whole
    plan = planned(whole, owner).plan
    assert plan is not None, "only a sub-workflow has steps"
    return plan
