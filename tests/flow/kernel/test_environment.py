"""References that went stale, read and write access, and the execution of tasks."""

from dataclasses import dataclass

import pytest

from flow.errors import NotRegistered, ReadOnlyAccess, StaleReference
from flow.kernel.environment import Access, Environment
from flow.kernel.machine import MachineTask, NodeView, Ref
from flow.kernel.tree import Tree
from tests.flow.kernel.tree_model import (
    GO,
    LAMP,
    SMASH,
    STOP,
    Accident,
    Lamp,
    Light,
    Wait,
    fail,
    new_tree,
    portrait,
    street,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient(MachineTask):
    """A task that its node wants whatever has happened, unless it is broken."""

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Look at the state only."""
        return node.state is not Light.BROKEN


@pytest.fixture(name="tree")
def make_tree() -> Tree:
    """Return a tree of several levels."""
    return street()


@pytest.fixture(name="environment")
def make_environment(tree: Tree) -> Environment:
    """Return the environment of that tree."""
    return Environment(tree, 1_000)


def test_time_is_given(environment: Environment) -> None:
    """The environment's moment is the one it was made with."""
    assert environment.now() == 1_000


def test_a_fresh_reference_is_valid(tree: Tree, environment: Environment) -> None:
    """A reference opens the very node that it was taken from."""
    node = tree.node("a/c/x")
    assert environment.validate(node.ref) is node


def test_a_reference_to_a_deleted_node_is_stale(tree: Tree, environment: Environment) -> None:
    """A reference to a node that is gone is refused, for its descendants too."""
    refs = [tree.node("a").ref, tree.node("a/c/x/a").ref]
    with tree.transaction():
        tree.root.delete_child("a")
    for ref in refs:
        with pytest.raises(StaleReference, match="gone"):
            environment.validate(ref)


def test_a_reference_to_a_recreated_node_is_stale(tree: Tree, environment: Environment) -> None:
    """A node that was deleted and made again is another one, even for a reference to any state."""
    ref = tree.node("a").ref
    with tree.transaction():
        tree.root.delete_child("a")
        tree.root.add_child("a", LAMP, Light.RED, Lamp())
    for stale in (ref, Ref(ref.path, ref.created)):
        with pytest.raises(StaleReference, match="made again"):
            environment.validate(stale)


def test_a_recreated_node_is_told_apart_after_a_load() -> None:
    """Numbers of deleted nodes are never given out again, not even if the tree was loaded."""
    tree = new_tree()
    with tree.transaction():
        ref = tree.root.add_child("a", LAMP, Light.RED, Lamp()).ref
    journal = [*new_tree().snapshot(), *tree.take().nodes]
    with tree.transaction():
        tree.root.delete_child("a")
    for entries in ([*journal, *tree.take().nodes], tree.snapshot()):
        loaded = Tree.load(tree.registry, entries)
        with loaded.transaction():
            loaded.root.add_child("a", LAMP, Light.RED, Lamp())
        with pytest.raises(StaleReference, match="made again"):
            Environment(loaded, 0).validate(ref)


def test_a_reference_to_a_changed_node_is_stale(tree: Tree, environment: Environment) -> None:
    """A node that has moved on is refused."""
    ref = tree.node("a").ref
    with tree.transaction():
        tree.node("a").apply(GO, 1)
    with pytest.raises(StaleReference, match="has changed"):
        environment.validate(ref)


def test_a_reference_to_any_state_stays_valid(tree: Tree, environment: Environment) -> None:
    """A reference with 0 for its last change is good in whatever state the node is."""
    node = tree.node("a")
    with tree.transaction():
        node.apply(GO, 1)
    assert environment.validate(Ref(node.path, node.created)) is node


@pytest.mark.parametrize("ref", [Ref("a", 2, 99), Ref("a", 99), Ref("nowhere", 99)])
def test_a_reference_from_the_future_is_stale(environment: Environment, ref: Ref) -> None:
    """A reference that is ahead of the tree tells that this tree is an old copy."""
    with pytest.raises(StaleReference, match="ahead of this tree"):
        environment.validate(ref)


def test_the_task_decides_what_is_stale(tree: Tree, environment: Environment) -> None:
    """A task with a rule of its own opens a node that has changed, until its rule says no."""
    node, task = tree.node("a"), Patient(destination="street")
    ref = node.ref
    with tree.transaction():
        node.apply(GO, 1)
    assert environment.validate(ref, task) is node
    with environment.access(ref, Access.WRITE, task) as opened:
        opened.apply(SMASH, 1)
    with pytest.raises(StaleReference, match="not wanted any more"):
        environment.validate(ref, task)


def test_reading_cannot_write(tree: Tree, environment: Environment) -> None:
    """Under read access no write succeeds: no transition, no new child, no deletion."""
    before = portrait(tree)
    with environment.access(tree.root.ref, Access.READ) as node:
        assert node.read(LAMP) == Lamp()
        with pytest.raises(ReadOnlyAccess):
            node.apply(GO, 1)
        with pytest.raises(ReadOnlyAccess):
            node.add_child("new", LAMP, Light.RED, Lamp())
        with pytest.raises(ReadOnlyAccess):
            node.delete_child("a")
    assert portrait(tree) == before
    assert not tree.take()


def test_reading_inside_a_transaction_cannot_write(tree: Tree, environment: Environment) -> None:
    """Read access stays so around and inside an open transaction, and ends with its block."""
    with tree.transaction():
        with environment.access(tree.root.ref, Access.READ) as node:
            with pytest.raises(ReadOnlyAccess):
                node.apply(GO, 1)
            with tree.transaction(), pytest.raises(ReadOnlyAccess):
                node.apply(GO, 1)
        tree.root.apply(GO, 1)
    assert tree.root.state is Light.GREEN


def test_a_failed_reading_ends_too(tree: Tree, environment: Environment) -> None:
    """The tree can be written to again after an exception has left a read access."""
    with pytest.raises(Accident), environment.access(tree.root.ref, Access.READ):
        raise Accident
    with environment.access(tree.root.ref, Access.WRITE) as node:
        node.apply(GO, 1)
    assert tree.root.data == Lamp(1)


@pytest.mark.parametrize("error", [Accident(), KeyboardInterrupt()])
def test_a_failed_writing_undoes_all(
    tree: Tree, environment: Environment, error: BaseException
) -> None:
    """An exception that leaves a write access undoes what happened inside."""
    before = portrait(tree)

    def write() -> None:
        tree.root.apply(GO, 1)
        tree.root.delete_child("a")

    with pytest.raises(type(error)), environment.access(tree.root.ref, Access.WRITE):
        fail(error, write)
    assert portrait(tree) == before
    assert not tree.take()


@pytest.mark.parametrize("access", list(Access))
def test_a_stale_reference_opens_nothing(environment: Environment, access: Access) -> None:
    """The reference is validated before anything is opened."""
    with pytest.raises(StaleReference), environment.access(Ref("nowhere", 1), access):
        pytest.fail("a stale reference was opened")


def test_a_task_is_carried_out(tree: Tree, environment: Environment) -> None:
    """The executor of the task's type is given the environment, the reference and the task."""

    def execute(given: Environment, ref: Ref, task: Wait) -> None:
        with given.access(ref, Access.WRITE) as node:
            node.apply(GO, given.now() + (task.deadline_ms or 0))

    tree.registry.register_executor(Wait, execute)
    task = Wait(deadline_ms=5)
    ref = tree.node("a").ref
    environment.execute(ref, task)
    assert tree.node("a").data == Lamp(1_005)
    with pytest.raises(StaleReference):
        environment.execute(ref, task)
    with tree.transaction():
        tree.node("a").apply(STOP, 0)
    assert tree.node("a").data == Lamp(1_005)


def test_a_task_without_an_executor_is_not_carried_out(
    tree: Tree, environment: Environment
) -> None:
    """That an executor is missing is said even if the task is stale as well."""
    for ref in (tree.root.ref, Ref("nowhere", 1)):
        with pytest.raises(NotRegistered, match="executor 'Wait'"):
            environment.execute(ref, Wait(deadline_ms=5))
