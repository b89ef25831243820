"""Tests of `flow.kernel.values`: what a handler leaves with its step."""

from __future__ import annotations

from flow.kept import Kept
from flow.kernel.decide import MACHINES
from flow.kernel.execution import EXECUTION, ExecutionData
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node, Tree
from flow.kernel.values import METADATA, SHARED, STATE, VALUE, keep, values_of
from flow.status import Status


def made() -> Tree:
    """Return an execution with a step that has no values."""
    tree = Tree.create(MACHINES, EXECUTION, Status.RUNNING, ExecutionData())
    with tree.transaction():
        tree.root.add_child("steps/a", STEP, Status.RUNNING, StepData())
    return tree


def left(tree: Tree, kept: Kept) -> Node:
    """Keep something with a step, and return the step."""
    node = tree.node("steps/a")
    with tree.transaction():
        keep(node, kept)
    return node


def test_values_are_kept_by_kind_and_name() -> None:
    """Each value is a node of its own, and each kind has its own names."""
    node = left(made(), Kept({"n": b"1"}, {"n": b"2", "m": b"null"}, {"n": b"3"}))
    assert values_of(node, STATE) == {"n": b"1"}
    assert values_of(node, SHARED) == {"n": b"2", "m": b"null"}
    assert values_of(node, METADATA) == {"n": b"3"}
    assert [child.key for child in node.children] == [
        "state/n",
        "shared/n",
        "shared/m",
        "metadata/n",
    ]
    assert all(child.machine is VALUE for child in node.children)


def test_a_later_attempt_replaces_what_it_changes() -> None:
    """A value that is the same is not written again, and others stay."""
    tree = made()
    node = left(tree, Kept({"a": b"1", "b": b"2"}))
    before = {child.key: child.updated for child in node.children}
    left(tree, Kept({"a": b"1", "b": b"3"}))
    assert values_of(node, STATE) == {"a": b"1", "b": b"3"}
    after = {child.key: child.updated for child in node.children}
    assert after["state/a"] == before["state/a"]
    assert after["state/b"] > before["state/b"]


def test_a_name_may_be_any_text() -> None:
    """A name that cannot be a key comes back as it was."""
    names = ["a/b", ".", "%2F", "Über", " "]
    node = left(made(), Kept(dict.fromkeys(names, b"1")))
    assert list(values_of(node, STATE)) == names
