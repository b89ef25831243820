"""The tree: what may be done to it, that nothing remains of what failed, and its journal."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from flow.errors import (
    IncompatibleType,
    InvalidName,
    InvalidTransition,
    NodeExists,
    NodeNotFound,
    NotRegistered,
    ReadOnlyAccess,
)
from flow.kernel.machine import (
    MachineTask,
    MachineType,
    NodeSnapshot,
    Output,
    Ref,
    Registry,
    Transition,
)
from flow.kernel.tree import Node, Tree
from tests.flow.kernel.tree_model import (
    BELL,
    GO,
    KEYS,
    LAMP,
    SMASH,
    STOP,
    WORD,
    Accident,
    Bell,
    Echo,
    Lamp,
    Light,
    Send,
    TreeMachine,
    Wait,
    Word,
    expect_same,
    fail,
    failing,
    new_registry,
    new_tree,
    portrait,
    street,
    turn,
)

RED = (LAMP, Light.RED, Lamp())


@pytest.fixture(name="tree")
def make_tree() -> Tree:
    """Return a tree of several levels, with nothing to take."""
    return street()


@pytest.fixture(name="written")
def open_tree(tree: Tree) -> Iterator[Tree]:
    """Return that tree, open for writing."""
    with tree.transaction():
        yield tree


def test_a_new_tree_has_a_root_to_take() -> None:
    """Making the root is a transition: it is number 1, dirty, and its tasks are asked for."""
    tree = Tree.create(new_registry(), LAMP, Light.RED, Lamp(3))
    root = tree.root
    assert (root.path, root.key, root.parent, root.ref) == ("", "", None, Ref("", 1, 1))
    changes = tree.take()
    assert changes.nodes == (NodeSnapshot("", LAMP, Light.RED, Lamp(3), 1, 1),)
    assert changes.outputs == (Output(Ref("", 1, 1), Wait(deadline_ms=3)),)


@pytest.mark.parametrize(
    "machine", [MachineType("other", 1, Light, Lamp), MachineType("lamp", 1, Light, Lamp)]
)
def test_nodes_of_unregistered_types_are_refused(
    written: Tree, machine: MachineType[Light, Lamp]
) -> None:
    """Neither a root, nor a child, nor a loaded node can be of a type that is not registered."""
    with pytest.raises(NotRegistered, match=machine.name):
        Tree.create(new_registry(), machine, Light.RED, Lamp())
    with pytest.raises(NotRegistered):
        written.root.add_child("new", machine, Light.RED, Lamp())
    with pytest.raises(NotRegistered):
        Tree.load(new_registry(), [NodeSnapshot("", machine, Light.RED, Lamp(), 1, 1)])
    with pytest.raises(NotRegistered):
        Tree.load(Registry(), written.snapshot())


def test_data_of_another_class_is_refused(written: Tree) -> None:
    """A node takes data of its type's class only, when it is made, loaded, or changed."""
    wrong: Any = Bell()
    with pytest.raises(IncompatibleType, match="'a/new' is Bell, not Lamp"):
        written.node("a").add_child("new", LAMP, Light.RED, wrong)
    with pytest.raises(IncompatibleType):
        Tree.create(new_registry(), LAMP, Light.RED, wrong)
    with pytest.raises(IncompatibleType):
        Tree.load(new_registry(), [NodeSnapshot("", LAMP, Light.RED, wrong, 1, 1)])
    to_bell: Transition[Any, int] = Transition(
        "change", frozenset(Light), Light.RED, lambda _, event: Bell(event)
    )
    before = portrait(written)
    with pytest.raises(IncompatibleType, match="Bell, not Lamp"):
        written.root.apply(to_bell, 1)
    assert portrait(written) == before


def test_a_state_of_another_class_is_refused(written: Tree) -> None:
    """A node is never made, loaded, or moved in a state of another enum, even an equal one."""
    wrong: Any = Echo.SAID
    with pytest.raises(IncompatibleType, match="Echo, not Word"):
        written.root.add_child("new", WORD, wrong, Lamp())
    with pytest.raises(IncompatibleType):
        Tree.load(new_registry(), [NodeSnapshot("", WORD, None, Lamp(), 1, 1)])
    node = written.root.add_child("new", WORD, Word.SAID, Lamp())
    with pytest.raises(IncompatibleType, match="'new' is Echo, not Word"):
        node.apply(Transition("echo", frozenset({Word.SAID}), wrong, turn), 1)
    assert node.state is Word.SAID


def test_data_is_read_as_the_type_it_has(tree: Tree) -> None:
    """Reading a node as a type that it is not of is an error."""
    assert tree.root.read(LAMP) == Lamp()
    with pytest.raises(IncompatibleType, match="is lamp, not bell"):
        tree.root.read(BELL)


def test_nodes_are_found_by_path_key_and_number(tree: Tree) -> None:
    """Each way to a node leads to the same object; and what is missing is named by its path."""
    node = tree.node("a/c/x")
    assert node is tree.node("a").child("c/x") is tree.node("a").find("c/x")
    assert node is tree.find("a/c/x") is tree.by_number(node.created)
    assert (node.key, node.parent) == ("c/x", tree.node("a"))
    assert tree.find("x") is tree.root.find("x") is tree.by_number(99) is None
    with pytest.raises(NodeNotFound, match="'a/c/z'"):
        tree.node("a").child("c/z")
    with pytest.raises(NodeNotFound, match="'c/z'"):
        tree.node("c/z")


@pytest.mark.parametrize("key", ["b", "c", "a/x", "steps/x", "steps"])
def test_a_path_belongs_to_one_node(written: Tree, key: str) -> None:
    """A key is refused if it is there, or if a word would be a child and a collection at once."""
    root = written.root
    root.add_child("c/x", *RED)
    root.add_child("steps/x", *RED)
    before = portrait(written)
    with pytest.raises(NodeExists, match=key):
        root.add_child(key, *RED)
    assert portrait(written) == before
    assert root.add_child("step", *RED) is root.child("step")


@pytest.mark.parametrize("key", ["", "/", "a/", "/a", "a/b/c", "a//b"])
def test_a_key_is_one_word_or_two(written: Tree, key: str) -> None:
    """A key from which a load could not tell the parent is refused."""
    with pytest.raises(InvalidName):
        written.root.add_child(key, *RED)


def test_a_tree_is_only_written_in_a_transaction(tree: Tree) -> None:
    """Outside of a transaction every write is refused and changes nothing."""
    before = portrait(tree)
    acts: list[Callable[[], object]] = [
        lambda: tree.root.add_child("new", *RED),
        lambda: tree.root.delete_child("a"),
        lambda: tree.root.apply(GO, 1),
    ]
    for act in acts:
        with pytest.raises(ReadOnlyAccess):
            act()
    assert portrait(tree) == before
    assert not tree.take()


def test_a_tree_can_be_closed_inside_a_transaction(written: Tree) -> None:
    """While it is read, no transaction around or inside makes a tree writable."""
    with written.reading(), written.transaction():
        with written.reading(), pytest.raises(ReadOnlyAccess):
            written.root.apply(GO, 1)
        with pytest.raises(ReadOnlyAccess):
            written.root.apply(GO, 1)
    written.root.apply(GO, 1)
    assert written.root.state is Light.GREEN


def test_an_invalid_transition_changes_nothing(written: Tree) -> None:
    """A transition that does not start at the node's state does not even call its function."""
    before = portrait(written)
    never = Transition("stop", STOP.sources, STOP.destination, failing(pytest.fail).apply)
    with pytest.raises(InvalidTransition, match="'a' is RED: the transition 'stop'"):
        written.node("a").apply(never, Accident())
    assert portrait(written) == before


def test_a_transition_sets_state_data_and_number(written: Tree) -> None:
    """A transition changes its own node and the tree's number, and nothing else."""
    node, number = written.node("a"), written.number
    node.apply(GO, 2)
    assert (node.state, node.data, node.updated) == (Light.GREEN, Lamp(2), number + 1)
    assert (written.number, written.root.updated) == (number + 1, 1)


def test_outputs_carry_the_reference_of_their_transition(tree: Tree) -> None:
    """Each task comes in the order of the transitions, with its own count and not the last."""
    with tree.transaction():
        node = tree.root.add_child("new", *RED)
        node.apply(GO, 1)
        tree.root.apply(GO, 5)
        node.apply(STOP, 1)
        node.apply(SMASH, 1)
    made = node.created
    assert tree.take().outputs == (
        Output(Ref("new", made, made), Wait(deadline_ms=0)),
        Output(Ref("new", made, made + 1), Send(destination="street", count=1)),
        Output(Ref("", 1, made + 2), Send(destination="street", count=5)),
        Output(Ref("new", made, made + 3), Wait(deadline_ms=2)),
    )


def test_what_is_dissolved_is_no_garbage() -> None:
    """Nothing of a tree that was let go is in a cycle: the collector finds nothing."""
    tree = street()
    gc.collect()
    tree.dissolve()
    del tree
    assert gc.collect() == 0


def test_tasks_are_regenerated_from_the_state() -> None:
    """A tree that was loaded asks for what the last transition of each node asked for."""
    tree = new_tree()
    with tree.transaction():
        tree.root.apply(GO, 1)
        for key in KEYS:
            tree.root.add_child(key, *RED)
        tree.node("b").apply(SMASH, 1)
    outputs = tree.take().outputs
    loaded = Tree.load(tree.registry, tree.snapshot())
    assert loaded.regenerate() == [output for output in outputs if output.ref.path != "b"]
    assert not loaded.take()


def test_a_new_node_is_dirty_at_once(tree: Tree) -> None:
    """A child that was only added is in the changes, and only it."""
    with tree.transaction():
        tree.node("b").add_child("new", *RED)
    assert [entry.path for entry in tree.take().nodes] == ["b/new"]


def test_what_was_taken_is_forgotten(tree: Tree) -> None:
    """A second take has nothing, and a later one only what is new."""
    with tree.transaction():
        tree.root.apply(GO, 1)
    assert tree.take()
    assert not tree.take()
    with tree.transaction():
        tree.node("a").apply(GO, 1)
    assert [entry.path for entry in tree.take().nodes] == ["a"]


def test_a_take_inside_a_failing_transaction_is_undone(tree: Tree) -> None:
    """What was taken comes back if the transaction around it fails, in the order it had."""
    with tree.transaction():
        tree.root.apply(GO, 1)
        tree.root.delete_child("a")

    def take_between() -> None:
        tree.node("b").apply(STOP, 1)
        assert len(tree.take().nodes) == 3
        tree.node("b").apply(GO, 1)

    with pytest.raises(Accident), tree.transaction():
        fail(Accident(), take_between)
    changes = tree.take()
    assert [entry.path for entry in changes.nodes] == ["a", ""]
    assert [output.ref.path for output in changes.outputs] == [""]


ACTS: dict[str, Callable[[Tree], object]] = {
    "add": lambda tree: tree.root.add_child("new", *RED),
    "move": lambda tree: tree.node("a").apply(GO, 1),
    "move dirty": lambda tree: tree.root.apply(STOP, 1),
    "delete first": lambda tree: tree.root.delete_child("a"),
    "delete last": lambda tree: tree.root.delete_child("b"),
    "delete inner": lambda tree: tree.node("a").delete_child("c/x"),
    "delete dirty": lambda tree: tree.root.delete_child("dirty"),
    "delete again": lambda tree: delete_twice(tree.root),
    "take": lambda tree: tree.take(),
}


def delete_twice(root: Node) -> None:
    """Delete a node, make it and a child again, and delete both again."""
    for _ in range(2):
        root.delete_child("a")
        root.add_child("a", *RED).add_child("c/x", *RED)


def dirty_street() -> Tree:
    """Return a tree of several levels with changes of every kind that are not taken yet."""
    tree = street()
    with tree.transaction():
        tree.root.apply(GO, 1)
        tree.root.add_child("dirty", *RED).add_child("c/x", *RED)
        tree.node("b").delete_child("b")
        tree.node("b").add_child("b", *RED).add_child("a", *RED)
        tree.node("a").delete_child("c/y")
    return tree


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("error", [Accident, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("caught_inside", [False, True])
def test_nothing_remains_of_a_failed_transaction(
    act: Callable[[Tree], object], error: type[BaseException], *, caught_inside: bool
) -> None:
    """States, data, numbers, children, orders, outputs and dirtiness are what they were before."""
    tree, twin = dirty_street(), dirty_street()
    nodes, before = list(tree.walk()), portrait(tree)
    if caught_inside:
        with tree.transaction(), pytest.raises(error), tree.transaction():
            fail(error(), lambda: act(tree))
    else:
        with pytest.raises(error), tree.transaction():
            fail(error(), lambda: act(tree))
    assert portrait(tree) == before
    assert [id(node) for node in tree.walk()] == [id(node) for node in nodes]
    assert tree.take() == twin.take()


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("error", [Accident(), SystemExit()])
def test_nothing_remains_of_a_failed_transition(
    act: Callable[[Tree], object], error: BaseException
) -> None:
    """A transition that fails takes with it all that its function did; what was before survives."""
    tree, twin = dirty_street(), dirty_street()
    with tree.transaction(), twin.transaction():
        for each in (tree, twin):
            each.root.add_child("kept", *RED)
        before = portrait(tree)
        with pytest.raises(type(error)):
            tree.root.apply(failing(lambda: act(tree)), error)
        assert portrait(tree) == before
    assert tree.take() == twin.take()


def test_a_subtree_comes_back_in_its_order() -> None:
    """Nodes of a deletion that failed are in the order of their making, not in that of paths."""
    tree = new_tree()
    with tree.transaction():
        top = tree.root.add_child("a", *RED)
        first, _ = top.add_child("a", *RED), top.add_child("b", *RED)
        first.add_child("a", *RED)
    before = portrait(tree)
    with pytest.raises(Accident), tree.transaction():
        fail(Accident(), lambda: tree.root.delete_child("a"))
    assert portrait(tree) == before


def test_nothing_remains_of_a_failed_root() -> None:
    """A root whose transaction fails is undone like all else."""
    tree = Tree(new_registry())
    with pytest.raises(Accident), tree.transaction():
        fail(Accident(), lambda: tree.attach(None, "", *RED))
    assert (tree.number, tree.find(""), list(tree.walk()), bool(tree.take())) == (
        0,
        None,
        [],
        False,
    )


def test_a_type_whose_tasks_fail_leaves_no_trace() -> None:
    """A node is not made, loaded half, or moved if its own task function raises."""

    def tasks(lamp: Lamp) -> list[MachineTask]:
        return [Wait(deadline_ms=1), *(Send(destination="") for _ in range(lamp.count))]

    machine = MachineType("faulty", 1, Light, Lamp, dict.fromkeys(Light, tasks))
    tree = Tree.create(Registry().register(machine), machine, Light.RED, Lamp())
    before = portrait(tree)
    with tree.transaction():
        for act in (
            lambda: tree.root.add_child("new", machine, Light.RED, Lamp(1)),
            lambda: tree.root.apply(GO, 1),
        ):
            with pytest.raises(Exception, match="needs a deadline or a destination"):
                act()
    assert portrait(tree) == before
    assert len(tree.take().outputs) == 1


def test_a_deletion_takes_the_descendants(tree: Tree) -> None:
    """A deleted node is gone with all below it, and one entry in the journal says so."""
    number = tree.number
    with tree.transaction():
        tree.root.delete_child("a")
        with pytest.raises(NodeNotFound):
            tree.root.delete_child("a")
    assert [node.path for node in tree.walk()] == ["", "b", "b/b"]
    assert tree.take().nodes == (NodeSnapshot("a", None, updated=number + 1),)
    assert tree.number == number + 1


def test_a_deleted_node_cannot_be_written_to(written: Tree) -> None:
    """Whoever kept a node that is gone, or was made again, cannot write through it."""
    old, below = written.node("a"), written.node("a/c/x")
    written.root.delete_child("a")
    written.root.add_child("a", *RED)
    for node in (old, below):
        with pytest.raises(NodeNotFound):
            node.apply(GO, 1)
        with pytest.raises(NodeNotFound):
            node.add_child("new", *RED)
        with pytest.raises(NodeNotFound):
            node.delete_child("c/y")
    assert written.node("a").state is Light.RED


def test_a_recreated_node_is_a_new_one(tree: Tree) -> None:
    """A node that was deleted and made again has nothing of the old one, after a load as well."""
    journal, old = [*tree.snapshot()], tree.node("a").ref
    with tree.transaction():
        delete_twice(tree.root)
    changes = tree.take()
    assert [(entry.path, entry.machine is None) for entry in changes.nodes] == [
        ("a", True),
        ("a", True),
        ("a", False),
        ("a/c/x", False),
    ]
    assert tree.node("a").created > old.created
    assert [child.key for child in tree.root.children] == ["b", "a"]
    expect_same(Tree.load(tree.registry, [*journal, *changes.nodes]), tree)


def test_a_node_that_lived_shortly_leaves_its_number(tree: Tree) -> None:
    """A node that was made and deleted between two takes is still counted after a load."""
    journal = [*tree.snapshot()]
    with tree.transaction():
        tree.root.add_child("new", *RED)
        tree.root.delete_child("new")
    expect_same(Tree.load(tree.registry, [*journal, *tree.take().nodes]), tree)
    assert tree.snapshot()[0] == NodeSnapshot("", None, updated=tree.number)
    expect_same(Tree.load(tree.registry, tree.snapshot()), tree)


def test_a_collection_is_typed_siblings(written: Tree) -> None:
    """A collection adds, finds and reads members of its name, in the order of their making."""
    steps = written.root.collection("steps", LAMP)
    assert (len(steps), list(steps)) == (0, [])
    first, second = steps.add("z", Light.RED, Lamp(1)), steps.add("a", Light.GREEN, Lamp(2))
    written.root.add_child("stepson/a", BELL, Light.RED, Bell())
    assert (len(steps), list(steps)) == (2, [first, second])
    assert (first.path, steps.node("z"), steps.find("a")) == ("steps/z", first, second)
    assert steps.data("a") == Lamp(2)
    assert steps.find("x") is None
    with pytest.raises(NodeNotFound, match="steps/x"):
        steps.node("x")
    with pytest.raises(IncompatibleType):
        written.root.collection("stepson", LAMP).data("a")
    with pytest.raises(NodeExists):
        steps.add("a", Light.RED, Lamp())


def test_a_tree_is_loaded_from_entries_in_any_order_of_paths(tree: Tree) -> None:
    """Within what is left after folding the order does not matter: the numbers tell it."""
    expect_same(Tree.load(tree.registry, reversed(tree.snapshot())), tree)
    assert Tree.load(tree.registry, []).number == 0
    with pytest.raises(NodeNotFound):
        Tree.load(tree.registry, []).node("")


@pytest.mark.parametrize(
    ("path", "missing"), [("a/b/c/d", "'a/b/c'"), ("steps/x/undo", "'steps/x'")]
)
def test_a_node_without_a_parent_cannot_be_loaded(path: str, missing: str) -> None:
    """A node whose parent is unknown is not hung onto another node; nor is one without a root."""
    root = NodeSnapshot("", LAMP, Light.RED, Lamp(), 1, 1)
    entry = NodeSnapshot(path, LAMP, Light.RED, Lamp(), 2, 2)
    for entries in ([root, entry], [entry]):
        with pytest.raises(NodeNotFound, match=missing):
            Tree.load(new_registry(), entries)
    with pytest.raises(NodeNotFound):
        Tree.load(new_registry(), [NodeSnapshot("steps/x", LAMP, Light.RED, Lamp(), 2, 2)])


TreeMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestTreeAgainstModel = TreeMachine.TestCase
