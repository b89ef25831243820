"""The tree of state machines that an execution is.

Theory of operation
-------------------
A `Tree` holds `Node`s by path. A node's path is its parent's path and its own key with a slash
between; a key is one word (`undo`) or a collection and a name (`steps/charge`), and no word is
both among siblings, so that a path says by itself whose child it is.

The tree counts its transitions. Each node remembers the number at which it was made and the one
at which it last changed, and so does a `Ref`: that is how a late answer is recognised.

Changes happen inside `Tree.transaction()` and nowhere else. Each leaves a way back in the
`changelog`, and an exception that leaves the block walks it. A transition that fails undoes itself
alone in the same way, so that a caller may catch its error and go on.

Between two `Tree.take()` calls the tree remembers which nodes are dirty (the journal record to be)
and which tasks were asked for (to be carried out after its commit). Folding records is "the last
write to a path wins, and a deletion wipes all below". A deletion carries its transition number:
else a tree that was loaded would count anew, and take a stale reference for a good one.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from operator import attrgetter
from typing import Any, Final, Generic, NoReturn, TypeVar

from flow.errors import (
    IncompatibleType,
    InvalidName,
    InvalidTransition,
    NodeExists,
    NodeNotFound,
    ReadOnlyAccess,
)
from flow.kernel.changelog import ChangeLog
from flow.kernel.machine import (
    Changes,
    MachineType,
    NodeSnapshot,
    Output,
    Ref,
    Registry,
    Transition,
    fold,
    new_tuple,
    place_of,
)

__all__ = ["Changes", "Collection", "Node", "NodeSnapshot", "Output", "Tree"]

StateT = TypeVar("StateT", bound=Enum)
DataT = TypeVar("DataT")
EventT = TypeVar("EventT")


class Node:
    """A state machine at a place in the tree."""

    __slots__ = (
        "_children",
        "_tree",
        "created",
        "data",
        "exists",
        "key",
        "machine",
        "parent",
        "path",
        "state",
        "updated",
    )

    def __init__(
        self,
        tree: "Tree",
        parent: "Node | None",
        key: str,
        machine: MachineType[Any, Any],
        state: Enum,
        data: object,
    ) -> None:
        """Make a node of the tree's present number; only the tree does."""
        self._tree = tree
        self._children = _NONE
        self.parent = parent
        self.key = key
        self.path: str = f"{parent.path}/{key}" if parent is not None and parent.path else key
        self.machine = machine
        self.state = state
        self.data: Any = data
        self.created = self.updated = tree.log.number
        self.exists = True  # Until it is deleted.
        if parent is not None:
            parent.take_in(self)

    @property
    def ref(self) -> Ref:
        """A reference to the node as it is now."""
        return Ref(self.path, self.created, self.updated)

    @property
    def children(self) -> "tuple[Node, ...]":
        """The children, in the order in which they were added."""
        return tuple(self._children.values())

    def read(self, machine: "MachineType[StateT, DataT]") -> DataT:
        """Return the data, typed.

        Args:
            machine: The type that the caller takes the node for.

        Raises:
            IncompatibleType: The node is of another type.
        """
        if self.machine is not machine:
            raise IncompatibleType(self.path, machine.name, self.machine.name)
        data: DataT = self.data
        return data

    def child(self, key: str) -> "Node":
        """Return the child called *key*.

        Raises:
            NodeNotFound: There is none.
        """
        try:
            return self._children[key]
        except KeyError:
            raise NodeNotFound(_join(self.path, key)) from None

    def find(self, key: str) -> "Node | None":
        """Return the child called *key*, or None."""
        return self._children.get(key)

    def collection(self, name: str, machine: "MachineType[StateT, DataT]") -> "Collection[DataT]":
        """Return the children whose keys begin with *name* and a slash, typed.

        Args:
            name: The collection's name, such as `steps`.
            machine: The type of its members.
        """
        return Collection(self, name, machine)

    def add_child(
        self, key: str, machine: "MachineType[StateT, DataT]", state: StateT, data: DataT
    ) -> "Node":
        """Make a child.

        Args:
            key: One word, or a collection and a name with a slash between.
            machine: Its type.
            state: The state that it begins in.
            data: The data that it begins with.

        Raises:
            NodeExists: There is a child of this key, or the word is a collection's name already.
            NotRegistered: The type is not registered.
            IncompatibleType: The state or the data is not of the type's class.
            InvalidName: The key is neither a word nor two with a slash between.
            NodeNotFound: The node itself has been deleted.
            ReadOnlyAccess: The tree is not open for writing.
        """
        if not (self._tree.log.writable and self.exists):
            self._refuse()
        if self._is_taken(key):
            raise NodeExists(_join(self.path, key))
        return self._tree.attach(self, key, machine, state, data)

    def delete_child(self, key: str) -> None:
        """Delete the child called *key* with all below it.

        Raises:
            NodeNotFound: There is none, or the node itself has been deleted.
            ReadOnlyAccess: The tree is not open for writing.
        """
        if not (self._tree.log.writable and self.exists):
            self._refuse()
        self._tree.detach(self.child(key))

    def apply(self, transition: "Transition[DataT, EventT]", event: EventT) -> None:
        """Make a transition. If it fails, nothing at all has changed.

        Args:
            transition: The arrow to follow.
            event: What its function is given.

        Raises:
            InvalidTransition: The node's state is not one that it starts at.
            IncompatibleType: It ends in a state, or made data, of another class.
            NodeNotFound: The node has been deleted.
            ReadOnlyAccess: The tree is not open for writing.
        """
        log = self._tree.log
        if not (log.writable and self.exists):
            self._refuse()
        if self.state not in transition.sources:
            raise InvalidTransition(self.path, transition.name, self.state.name)
        # A nested transaction in all but name, without the price of entering one.
        steps, number = len(log.undo), log.number
        machine, state = self.machine, transition.destination
        try:
            data = transition.apply(self.data, event)
            if type(state) is not machine.states or type(data) is not machine.data:
                machine.check(self.path, state, data)
            tasks = tuple(machine.tasks[state](data)) if state in machine.tasks else ()
        except BaseException:
            log.go_back(steps, number)
            raise
        # What follows cannot fail.
        log.number = number = log.number + 1
        log.undo.append((_put_back, self, self.state, self.data, self.updated))
        log.written.setdefault(self, number)
        self.state, self.data, self.updated = state, data, number
        if tasks:
            log.ask(self.path, self.created, tasks)

    def take_in(self, child: "Node") -> None:
        """Put the youngest of all nodes among the children; only the tree does."""
        if self._children is _NONE:
            self._children = {}
        self._children[child.key] = child

    def take_back(self, child: "Node") -> None:
        """Put a node among the children, where its age belongs; only the tree does."""
        self._children[child.key] = child
        siblings = sorted(self._children.values(), key=_by_age)
        self._children = {node.key: node for node in siblings}

    def abandon(self, child: "Node") -> None:
        """Take a node out of the children; only the tree does."""
        del self._children[child.key]

    def snapshot(self) -> NodeSnapshot:
        """Return the node as a value."""
        values = (self.path, self.machine, self.state, self.data, self.created, self.updated)
        return new_tuple(NodeSnapshot, values)

    def _refuse(self) -> NoReturn:
        """Say why nothing is written: no transaction is open, or the node was deleted."""
        if not self._tree.log.writable:
            raise ReadOnlyAccess(self.path)
        raise NodeNotFound(self.path)

    def _is_taken(self, key: str) -> bool:
        first, slash, second = key.partition("/")
        if not first or (slash and not second) or "/" in second:
            raise InvalidName("key", key, "it must be one word, or two with a slash between")
        if slash:
            return key in self._children or first in self._children
        below = f"{key}/"
        return key in self._children or any(other.startswith(below) for other in self._children)


class Collection(Generic[DataT]):
    """Siblings of one type under one name, such as all `steps/…` of an execution."""

    __slots__ = ("_machine", "_name", "_owner")

    def __init__(self, owner: Node, name: str, machine: MachineType[Any, DataT]) -> None:
        """Look at the children of *owner* whose keys begin with *name* and a slash."""
        self._owner = owner
        self._name = name
        self._machine = machine

    def add(self, name: str, state: Enum, data: DataT) -> Node:
        """Make a member; see `Node.add_child`."""
        return self._owner.add_child(f"{self._name}/{name}", self._machine, state, data)

    def node(self, name: str) -> Node:
        """Return the member called *name*; see `Node.child`."""
        return self._owner.child(f"{self._name}/{name}")

    def find(self, name: str) -> Node | None:
        """Return the member called *name*, or None."""
        return self._owner.find(f"{self._name}/{name}")

    def data(self, name: str) -> DataT:
        """Return the data of the member called *name*."""
        return self.node(name).read(self._machine)

    def __iter__(self) -> Iterator[Node]:
        """Go through the members in the order in which they were added."""
        prefix = f"{self._name}/"
        return iter([node for node in self._owner.children if node.key.startswith(prefix)])

    def __len__(self) -> int:
        """Return how many members there are."""
        return sum(1 for _ in self)


class Tree:
    """The nodes of one execution, with what changed since the last commit."""

    __slots__ = ("_known", "_nodes", "_numbers", "log", "registry", "root")

    root: Node

    def __init__(self, registry: Registry) -> None:
        """Make an empty tree; `create` and `load` make useful ones."""
        self.registry = registry
        self._known = registry.known
        # These are in the order in which the nodes were made, as all children are.
        self._nodes: dict[str, Node] = {}
        self._numbers: dict[int, Node] = {}
        self.log = ChangeLog()  # For nodes; not for users.

    @classmethod
    def create(
        cls, registry: Registry, machine: MachineType[StateT, DataT], state: StateT, data: DataT
    ) -> "Tree":
        """Return a new tree with a root of the given type, state and data.

        Raises:
            NotRegistered: The type is not registered.
            IncompatibleType: The state or the data is not of the type's class.
        """
        tree = cls(registry)
        with tree.transaction():
            tree.attach(None, "", machine, state, data)
        return tree

    @classmethod
    def load(cls, registry: Registry, snapshots: Iterable[NodeSnapshot]) -> "Tree":
        """Return the tree that the folded *snapshots* describe.

        Args:
            registry: Knows the machine types.
            snapshots: Entries of journal records, oldest first. The last one of a path wins.

        Raises:
            NodeNotFound: The parent of a node is missing.
            NotRegistered: The type of a node is not registered.
            IncompatibleType: The state or the data of a node is not of its type's class.
        """
        tree = cls(registry)
        entries = tuple(snapshots)
        for entry in fold(entries):
            assert entry.machine is not None, "deletions have been folded away"
            registry.require(entry.machine)
            entry.machine.check(entry.path, entry.state, entry.data)
            assert entry.state is not None, "the check has found a member of the enum"
            above, key = place_of(entry.path, tree._nodes)
            parent = tree._nodes[above] if entry.path else None
            tree.log.number = entry.created
            node = Node(tree, parent, key, entry.machine, entry.state, entry.data)
            node.updated = entry.updated
            tree._nodes[node.path] = tree._numbers[node.created] = node
            if parent is None:
                tree.root = node
        tree.log.number = max((max(entry.created, entry.updated) for entry in entries), default=0)
        return tree

    @property
    def number(self) -> int:
        """How many transitions the tree has made."""
        return self.log.number

    def node(self, path: str) -> Node:
        """Return the node at *path*.

        Raises:
            NodeNotFound: There is none.
        """
        try:
            return self._nodes[path]
        except KeyError:
            raise NodeNotFound(path) from None

    def find(self, path: str) -> Node | None:
        """Return the node at *path*, or None."""
        return self._nodes.get(path)

    def by_number(self, created: int) -> Node | None:
        """Return the node that was made at transition number *created*, or None."""
        return self._numbers.get(created)

    def walk(self) -> Iterator[Node]:
        """Go through all nodes in the order in which they were made: parents before children."""
        return iter(list(self._nodes.values()))

    def regenerate(self) -> list[Output]:
        """Return every task that the present states ask for, as after a load."""
        nodes = self._nodes.values()
        asked = ((each.ref, each.machine.asked(each.state, each.data)) for each in nodes)
        return [Output(ref, task) for ref, tasks in asked for task in tasks]

    def snapshot(self) -> tuple[NodeSnapshot, ...]:
        """Return the tree as values: every node, from which `load` makes the same tree.

        If a deletion came last, no node has the tree's number. Then the deletion of all that was
        before stands in front and has it.
        """
        nodes = tuple(node.snapshot() for node in self._nodes.values())
        if self.number == max((node.updated for node in nodes), default=0):
            return nodes
        return (NodeSnapshot("", None, updated=self.number), *nodes)

    def take(self) -> Changes:
        """Return what changed since the last call, and forget it."""
        log = self.log
        # Deletions go first, so that none can wipe out what was made again after it.
        nodes = [node.snapshot() for node in log.written if node.exists]
        changes = new_tuple(Changes, ((*log.deleted, *nodes), tuple(log.outputs)))
        log.forget()
        return changes

    def transaction(self) -> AbstractContextManager[None]:
        """Open the tree for writing; an exception that leaves the block undoes all of it."""
        return self.log

    @contextmanager
    def reading(self) -> Generator[None]:
        """Close the tree for writing, even inside a transaction and for those opened inside."""
        self.log.seal()
        try:
            yield
        finally:
            self.log.unseal()

    def dissolve(self) -> None:
        """Let all nodes go, so that no collector has to look for them; nobody uses the tree now."""
        for node in self._nodes.values():
            node.parent = None
        self._nodes, self._numbers = {}, {}
        del self.root

    # ------------------------------------------------------- for nodes; not for users

    def attach(
        self,
        parent: Node | None,
        key: str,
        machine: MachineType[Any, Any],
        state: Enum,
        data: object,
    ) -> Node:
        """Make a node, remember it as dirty, and collect its tasks."""
        if machine not in self._known:
            self.registry.require(machine)
        if type(state) is not machine.states or type(data) is not machine.data:
            machine.check(_join(parent.path, key) if parent else key, state, data)
        # Before anything is touched: this is not our code and may raise.
        tasks = tuple(machine.tasks[state](data)) if state in machine.tasks else ()
        log = self.log
        log.number = number = log.number + 1
        node = Node(self, parent, key, machine, state, data)
        self._nodes[node.path] = self._numbers[number] = node
        if parent is None:
            self.root = node
        log.undo.append((self._forget, (node,)))
        log.written[node] = number
        if tasks:
            log.ask(node.path, number, tasks)
        return node

    def detach(self, node: Node) -> None:
        """Delete a node with all below it."""
        nodes = sorted(_subtree(node), key=_by_age)
        self.log.number += 1
        self._forget(nodes)
        self.log.note_deletion(node.path, self._remember, nodes)

    def _remember(self, nodes: list[Node]) -> None:
        """Put a deleted node with all below it back to where their age belongs."""
        for node in nodes:
            node.exists = True
            self._numbers[node.created] = node
        self._numbers = dict(sorted(self._numbers.items()))
        self._nodes = {node.path: node for node in self._numbers.values()}
        parent = nodes[0].parent
        assert parent is not None, "a root is never deleted"
        parent.take_back(nodes[0])

    def _forget(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            node.exists = False
            del self._nodes[node.path]
            del self._numbers[node.created]
        if nodes[0].parent is not None:
            nodes[0].parent.abandon(nodes[0])


_by_age: Final = attrgetter("created")
_NONE: Final[dict[str, Node]] = {}  # The children of a node that has none, as most.


def _put_back(node: Node, state: Enum, data: object, updated: int) -> None:
    """Undo what a transition has changed."""
    node.state, node.data, node.updated = state, data, updated


def _join(path: str, key: str) -> str:
    return f"{path}/{key}" if path else key


def _subtree(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _subtree(child)
