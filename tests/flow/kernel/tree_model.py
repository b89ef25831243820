"""What the tests of the tree share: machine types, a naive model, and how to compare the two."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, StrEnum

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flow.errors import InvalidTransition, NodeExists, NodeNotFound
from flow.kernel.machine import (
    MachineTask,
    MachineType,
    NodeSnapshot,
    Output,
    Registry,
    Transition,
    fold,
)
from flow.kernel.tree import Node, Tree

KEYS = ("a", "b", "c/x", "c/y")


class Light(Enum):
    """The states of a lamp."""

    RED = "red"
    GREEN = "green"
    BROKEN = "broken"


class Word(StrEnum):
    """States that are equal to those of `Echo`, although they are not the same."""

    SAID = "said"


class Echo(StrEnum):
    """States that are equal to those of `Word`."""

    SAID = "said"


@dataclass(frozen=True, slots=True)
class Lamp:
    """How often a lamp has been turned."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Bell:
    """Data of another class than `Lamp`, with the same fields."""

    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(MachineTask):
    """The timer of a red lamp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(MachineTask):
    """What a green lamp sends."""

    count: int = 0


def wait(lamp: Lamp) -> Sequence[MachineTask]:
    """Return a timer."""
    return (Wait(deadline_ms=lamp.count),)


def send(lamp: Lamp) -> Sequence[MachineTask]:
    """Return a message."""
    return (Send(destination="street", count=lamp.count),)


def turn(lamp: Lamp, by: int) -> Lamp:
    """Return the lamp after it was turned."""
    return Lamp(lamp.count + by)


LAMP = MachineType("lamp", 1, Light, Lamp, {Light.RED: wait, Light.GREEN: send})
BELL = MachineType("bell", 1, Light, Bell)
WORD = MachineType("word", 1, Word, Lamp)

GO = Transition("go", frozenset({Light.RED}), Light.GREEN, turn)
STOP = Transition("stop", frozenset({Light.GREEN}), Light.RED, turn)
SMASH = Transition("smash", frozenset({Light.RED, Light.GREEN}), Light.BROKEN, turn)


class Accident(Exception):
    """What goes wrong in these tests."""


def failing(act: Callable[[], object]) -> Transition[Lamp, BaseException]:
    """Return a transition whose function does something to the tree and then raises its event."""

    def fail(_lamp: Lamp, event: BaseException) -> Lamp:
        act()
        raise event

    return Transition("fail", frozenset(Light), Light.BROKEN, fail)


def fail(error: BaseException, act: Callable[[], object]) -> None:
    """Do something, and then fail."""
    act()
    raise error


def new_registry() -> Registry:
    """Return a registry that knows the types above."""
    return Registry().register(LAMP, BELL, WORD)


def new_tree() -> Tree:
    """Return a tree with a red lamp for a root, whose creation has been taken."""
    tree = Tree.create(new_registry(), LAMP, Light.RED, Lamp())
    tree.take()
    return tree


def street() -> Tree:
    """Return a tree of several levels, whose creation has been taken."""
    tree = new_tree()
    with tree.transaction():
        first = tree.root.add_child("a", LAMP, Light.RED, Lamp())
        second = tree.root.add_child("b", LAMP, Light.GREEN, Lamp())
        inner = first.add_child("c/x", LAMP, Light.RED, Lamp())
        first.add_child("c/y", LAMP, Light.GREEN, Lamp())
        second.add_child("b", LAMP, Light.RED, Lamp())
        inner.add_child("a", LAMP, Light.RED, Lamp())
    tree.take()
    return tree


def portrait(tree: Tree) -> tuple[object, ...]:
    """Return all that can be seen of a tree: numbers, nodes, orders, tasks."""
    return (
        tree.number,
        tree.snapshot(),
        [[child.path for child in node.children] for node in tree.walk()],
        [tree.by_number(number) for number in range(tree.number + 2)],
        tree.regenerate(),
    )


def expect_same(loaded: Tree, tree: Tree) -> None:
    """Expect that a tree that was loaded cannot be told from the one that was written."""
    assert loaded.number == tree.number
    assert loaded.snapshot() == tree.snapshot()
    assert loaded.regenerate() == tree.regenerate()
    orders = [
        [[child.key for child in node.children] for node in each.walk()] for each in (loaded, tree)
    ]
    assert orders[0] == orders[1]
    assert all(loaded.by_number(node.created) is node for node in loaded.walk())


def naive_fold(entries: Sequence[NodeSnapshot]) -> dict[str, NodeSnapshot]:
    """Fold journal entries one after the other, in the most obvious way."""
    nodes: dict[str, NodeSnapshot] = {}
    for entry in entries:
        if entry.machine is None:
            top = entry.path
            nodes = {
                p: n for p, n in nodes.items() if top and p != top and not p.startswith(f"{top}/")
            }
        else:
            nodes[entry.path] = entry
    return nodes


@dataclass
class Model:
    """The tree as a table from path to (state, count, created, updated), copied when in doubt.

    Args:
        number: How many transitions there were.
        nodes: The table, in the order in which the nodes were made.
        asked: What transitions asked for: path, created, updated, count.
    """

    number: int = 1
    nodes: dict[str, tuple[Light, int, int, int]] = field(
        default_factory=lambda: {"": (Light.RED, 0, 1, 1)},
    )
    asked: list[tuple[str, int, int, int]] = field(default_factory=list[tuple[str, int, int, int]])

    def copy(self) -> "Model":
        """Return a copy to go back to."""
        return deepcopy(self)

    def add(self, path: str) -> None:
        """Make a red lamp."""
        self.number += 1
        self.nodes[path] = (Light.RED, 0, self.number, self.number)
        self.asked.append((path, self.number, self.number, 0))

    def delete(self, path: str) -> None:
        """Remove a lamp and those below it."""
        self.number += 1
        kept = self.nodes.items()
        self.nodes = {p: n for p, n in kept if p != path and not p.startswith(f"{path}/")}

    def move(self, path: str, state: Light, by: int) -> None:
        """Turn a lamp."""
        self.number += 1
        _, count, created, _ = self.nodes[path]
        self.nodes[path] = (state, count + by, created, self.number)
        if state is not Light.BROKEN:
            self.asked.append((path, created, self.number, count + by))


@dataclass(frozen=True)
class Act:
    """One thing to do at a random node, or a block of things that may fail in the end."""

    kind: str
    where: int
    key: str
    block: tuple["Act", ...] = ()


LEAVES = st.builds(
    Act,
    st.sampled_from(["add", "delete", "go", "stop", "smash"]),
    st.integers(0, 9),
    st.sampled_from(KEYS),
)
BLOCKS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        Act,
        st.sampled_from(["block", "fail", "transition"]),
        st.integers(0, 9),
        st.just(""),
        st.lists(inner, max_size=5).map(tuple),
    ),
    max_leaves=12,
)
TRANSITIONS = {"go": GO, "stop": STOP, "smash": SMASH}


class TreeMachine(RuleBasedStateMachine):
    """A tree, a model of it, and a journal, which must always tell the same."""

    def __init__(self) -> None:
        """Begin with a root."""
        super().__init__()
        self.tree = Tree.create(new_registry(), LAMP, Light.RED, Lamp())
        self.model = Model()
        self.journal = [*self.tree.take().nodes]
        self.number = self.tree.number

    @rule(acts=st.lists(BLOCKS, min_size=1, max_size=8))
    def write(self, acts: list[Act]) -> None:
        """Do things in a transaction that succeeds."""
        with self.tree.transaction():
            self.run(acts)

    @rule(acts=st.lists(BLOCKS, min_size=1, max_size=8))
    def fail(self, acts: list[Act]) -> None:
        """Do things in a transaction that fails."""
        self.run([Act("fail", 0, "", tuple(acts))])

    @precondition(lambda self: self.tree.number > self.number)
    @rule()
    def commit(self) -> None:
        """Take the changes into the journal, and compare what was asked for."""
        changes = self.tree.take()
        assert [self.seen(output) for output in changes.outputs] == self.model.asked
        assert changes
        self.model.asked.clear()
        self.journal += changes.nodes
        self.number = self.tree.number

    @precondition(lambda self: self.tree.number == self.number)
    @rule()
    def reload(self) -> None:
        """Go on with a tree that was loaded, from the journal or from a new snapshot."""
        expect_same(Tree.load(self.tree.registry, self.tree.snapshot()), self.tree)
        self.tree = Tree.load(self.tree.registry, self.journal)

    @invariant()
    def the_tree_is_the_model(self) -> None:
        """All nodes, numbers and orders are those of the model."""
        found = {
            node.path: (node.state, node.read(LAMP).count, node.created, node.updated)
            for node in self.tree.walk()
        }
        assert list(found.items()) == list(self.model.nodes.items())
        assert self.tree.number == self.model.number >= self.number
        for node in self.tree.walk():
            assert node.children == tuple(n for n in self.tree.walk() if n.parent is node)

    @invariant()
    def the_journal_is_the_tree(self) -> None:
        """Nothing is lost between the tree and its journal, once all is taken."""
        if self.tree.number == self.number:
            expect_same(Tree.load(self.tree.registry, self.journal), self.tree)
            assert {entry.path: entry for entry in fold(self.journal)} == naive_fold(self.journal)

    def seen(self, output: Output) -> tuple[str, int, int, int]:
        """Return an output as the model writes it down."""
        ref, task = output.ref, output.task
        count = task.count if isinstance(task, Send) else task.deadline_ms
        return ref.path, ref.created, ref.updated, count or 0

    def run(self, acts: list[Act]) -> None:
        """Do things to the tree and to the model."""
        for act in acts:
            paths = list(self.model.nodes)
            path = paths[act.where % len(paths)]
            if act.kind in {"block", "fail", "transition"}:
                self.nest(act, self.tree.node(path))
            elif act.kind in TRANSITIONS:
                self.move(path, TRANSITIONS[act.kind], act.where)
            else:
                self.grow(path, act)

    def nest(self, act: Act, node: Node) -> None:
        """Do a block of things in a transaction or a transition of its own."""
        before = self.model.copy()
        inner = list(act.block)
        if act.kind == "block":
            with self.tree.transaction():
                self.run(inner)
            return
        with pytest.raises(Accident):
            self.nest_failing(act.kind, node, inner)
        self.model = before

    def nest_failing(self, kind: str, node: Node, acts: list[Act]) -> None:
        """Do things in a transition or a transaction that fails in the end."""
        if kind == "transition":
            node.apply(failing(lambda: self.run(acts)), Accident())
        with self.tree.transaction():
            fail(Accident(), lambda: self.run(acts))

    def move(self, path: str, transition: Transition[Lamp, int], by: int) -> None:
        """Apply a transition, which may be invalid."""
        if self.model.nodes[path][0] in transition.sources:
            self.tree.node(path).apply(transition, by)
            self.model.move(path, Light(transition.destination), by)
            return
        with pytest.raises(InvalidTransition):
            self.tree.node(path).apply(transition, by)

    def grow(self, path: str, act: Act) -> None:
        """Add or delete a child, which may be there or not."""
        child = f"{path}/{act.key}" if path else act.key
        exists = child in self.model.nodes
        if exists == (act.kind == "add"):
            with pytest.raises((NodeExists, NodeNotFound)):
                self.change(self.tree.node(path), act)
            return
        self.change(self.tree.node(path), act)
        (self.model.delete if exists else self.model.add)(child)

    def change(self, node: Node, act: Act) -> None:
        """Add or delete a child of the tree."""
        if act.kind == "add":
            node.add_child(act.key, LAMP, Light.RED, Lamp())
        else:
            node.delete_child(act.key)
