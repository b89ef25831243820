"""Types of state machines: states, transitions, tasks, and the registry that knows them all.

Theory of operation
-------------------
Everything durable is a node in a tree, and every node is a state machine of a registered
`MachineType`. A machine has a *state* (a member of its enum) and *data* (a named tuple or a
frozen dataclass); both change only together, by a `Transition`, which names the states it may
start at, the state it ends in, and a pure function from the old data to the new.

What a machine asks of the world is a function of its state alone: `MachineType.tasks` says, for
each state that asks for anything, which tasks a node wants. A task has either a *deadline*
(something is due by then) or a *destination* (something has to be sent there). The same function
serves after a transition and after a load, so a task can never be lost: it is regenerated from the
state.

A task is handed out with a `Ref` to its node. When the task is carried out, or its answer comes
back, `Task.validate` decides whether the node has moved on meanwhile; if so the task is
stale and is dropped.

References, snapshots and outputs are made for every transition, so they are named tuples, which
are made several times faster than frozen dataclasses; the data of our own machines too.

The idea is that of Temporal's hierarchical state machines (service/history/hsm and its
successor, CHASM). What differs: data is frozen (a transition cannot half-change it), the state
is set after the function succeeded, tasks come from the state and not from the transition, and
siblings keep their order.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from flow.errors import (
    DuplicateRegistration,
    IncompatibleType,
    InvalidTask,
    NodeNotFound,
    NotRegistered,
)

__all__ = [
    "Changes",
    "MachineTask",
    "MachineType",
    "NodeSnapshot",
    "NodeView",
    "Output",
    "Ref",
    "Registry",
    "Task",
    "TaskSerializer",
    "Transition",
    "fold",
    "new_tuple",
    "place_of",
]

StateT = TypeVar("StateT", bound=Enum)
DataT = TypeVar("DataT")
EventT = TypeVar("EventT")
TupleT = TypeVar("TupleT", bound=tuple[Any, ...])
TaskT = TypeVar("TaskT", bound="Task")
TaskT_contra = TypeVar("TaskT_contra", bound="Task", contravariant=True)


class _NewTuple(Protocol):
    """Makes a named tuple of some kind."""

    def __call__(self, kind: type[TupleT], values: Iterable[Any], /) -> TupleT:
        """Return it, of these values, one for each field."""
        ...


new_tuple: Final[_NewTuple] = tuple.__new__  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
"""Makes a named tuple past its constructor, in half the time: each turn makes twenty of them."""


class Ref(NamedTuple):
    """A reference to a node as it was at some moment.

    The two numbers count the transitions of the whole tree, which only grow: a node that was
    deleted and made again has another `created`, and one that has moved has another `updated`.

    Args:
        path: Where the node is, such as `steps/charge`; the root's is an empty string.
        created: The tree's transition number at which the node was made.
        updated: The number at which it last changed, or 0 to refer to it in any state.
    """

    path: str
    created: int
    updated: int = 0


class NodeView(Protocol):
    """What a task may look at when it is validated."""

    @property
    def state(self) -> Enum:
        """The node's state."""
        ...

    @property
    def data(self) -> Any:
        """The node's data."""
        ...

    @property
    def updated(self) -> int:
        """The transition number at which the node last changed."""
        ...


class Task(Protocol):
    """Something that a state asks for; see `MachineTask`."""

    @property
    def deadline_ms(self) -> int | None:
        """When it is due (execution time), for a timer."""
        ...

    @property
    def destination(self) -> str:
        """Where something has to be sent, for everything else."""
        ...

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether the node still wants this task."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTask:
    """A task. Subclass it to name the kinds of a machine.

    Args:
        deadline_ms: When it is due (execution time), for a timer.
        destination: Where something has to be sent, for everything else.

    Raises:
        InvalidTask: It has neither, or both.
    """

    deadline_ms: int | None = None
    destination: str = ""

    def __post_init__(self) -> None:
        """Refuse a task that is neither a timer nor bound for somewhere."""
        if (self.deadline_ms is None) == (not self.destination):
            raise InvalidTask(type(self).__name__, "needs a deadline or a destination, not both")

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether the node still wants this task.

        Args:
            ref: The reference that the task was handed out with.
            node: The node as it is now.
        """
        return ref.updated in (0, node.updated)


@dataclass(frozen=True, slots=True)
class Transition(Generic[DataT, EventT]):
    """One arrow of a machine's transition table.

    Args:
        name: What the arrow is called in errors.
        sources: The states that it may start at.
        destination: The state that it ends in.
        apply: Makes the new data from the old data and the event. Pure. If it raises, nothing
            has changed.
    """

    name: str
    sources: frozenset[Enum]
    destination: Enum
    apply: Callable[[DataT, EventT], DataT]


@dataclass(frozen=True, eq=False)
class MachineType(Generic[StateT, DataT]):
    """A kind of state machine.

    Args:
        name: Its name; stored with every node, so it never changes.
        version: The version of its data's form, 1 or more.
        states: The enum of its states.
        data: The class of its data: a named tuple or a frozen dataclass.
        tasks: For each state that asks for anything: what it asks for, by the data. Pure.
        upcasters: For each older version, how to turn its data (as decoded JSON) into the data
            of the next version. Pure.
    """

    name: str
    version: int
    states: type[StateT]
    data: type[DataT]
    tasks: Mapping[StateT, Callable[[DataT], Sequence[Task]]] = field(
        default_factory=dict[StateT, Callable[[DataT], Sequence[Task]]],
    )
    upcasters: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = field(
        default_factory=dict[int, Callable[[dict[str, Any]], dict[str, Any]]],
    )

    @cached_property
    def tag(self) -> str:
        """The name and the version, as they are stored with every node."""
        return f"{self.name}@{self.version}"

    def check(self, path: str, state: object, data: object) -> None:
        """Raise IncompatibleType unless a node at *path* may have this state and data."""
        # By class, not by value: members of two string enums may be equal.
        if type(state) is not self.states:
            raise IncompatibleType(path, self.states.__name__, type(state).__name__)
        if type(data) is not self.data:
            raise IncompatibleType(path, self.data.__name__, type(data).__name__)

    def asked(self, state: StateT, data: DataT) -> Sequence[Task]:
        """Return the tasks that a state asks for, with this data."""
        return self.tasks[state](data) if state in self.tasks else ()


class NodeSnapshot(NamedTuple):
    """A node as a value: one entry of a journal record.

    Args:
        path: Where it is.
        machine: Its machine type, or None if the node and all below it are gone.
        state: Its state, or None.
        data: Its data, or None.
        created: The transition number at which it was made.
        updated: The transition number at which it last changed, or was deleted.
    """

    path: str
    machine: MachineType[Any, Any] | None
    state: Enum | None = None
    data: Any = None
    created: int = 0
    updated: int = 0


class Output(NamedTuple):
    """A task that a transition asked for, with a reference to its node at that moment."""

    ref: Ref
    task: Task


class Changes(NamedTuple):
    """What happened to a tree: deletions, then dirty nodes; and the tasks asked for, in order."""

    nodes: tuple[NodeSnapshot, ...]
    outputs: tuple[Output, ...]

    def __bool__(self) -> bool:
        """Return whether anything happened at all."""
        return bool(self.nodes or self.outputs)


def fold(entries: Sequence[NodeSnapshot]) -> tuple[NodeSnapshot, ...]:
    """Return what is left of journal entries: the last write to each path that still exists.

    Args:
        entries: Written nodes and deletions, oldest first.

    Returns:
        The written nodes, in the order in which they were made.
    """
    nodes: dict[str, NodeSnapshot] = {}
    deleted: set[str] = set()
    for entry in reversed(entries):
        if entry.machine is None:
            deleted.add(entry.path)
        elif entry.path not in nodes and not (deleted and _is_below(entry.path, deleted)):
            nodes[entry.path] = entry
    return tuple(sorted(nodes.values(), key=lambda entry: entry.created))


def _is_below(path: str, deleted: set[str]) -> bool:
    while path and path not in deleted:
        path = path.rpartition("/")[0]
    return path in deleted


def place_of(path: str, known: Container[str]) -> tuple[str, str]:
    """Return the path of a node's parent, and the node's key there; both are empty for the root.

    Args:
        path: The node's path.
        known: The paths of all nodes that are older.

    Raises:
        NodeNotFound: The parent is not among them.
    """
    above, _, key = path.rpartition("/")
    if above and above not in known:
        above, _, collection = above.rpartition("/")
        key = f"{collection}/{key}"
    if path and above not in known:
        raise NodeNotFound(path.rpartition("/")[0])
    return above, key


class TaskSerializer(Protocol[TaskT_contra]):
    """Turns the tasks of one type into bytes and back."""

    def serialize(self, task: TaskT_contra) -> bytes:
        """Return the task as bytes."""
        ...

    def deserialize(self, data: bytes, deadline_ms: int | None, destination: str) -> Task:
        """Return the task from its bytes, its deadline and its destination."""
        ...


# The first argument is the Environment, whose module builds on this one.
Executor = Callable[[Any, Ref, Any], None]


class Registry:
    """Knows machine types, the executors of their tasks, and the serializers of these.

    Names are registered once, at the start. It is not locked: register before you share it.
    """

    def __init__(self) -> None:
        """Make an empty registry."""
        self._machines: dict[str, MachineType[Any, Any]] = {}
        self._known: set[MachineType[Any, Any]] = set()
        self._executors: dict[type[Task], Executor] = {}
        self._serializers: dict[type[Task], TaskSerializer[Any]] = {}

    def register(self, *types: MachineType[Any, Any]) -> "Registry":
        """Make machine types known.

        Raises:
            DuplicateRegistration: A type of that name is known already.
        """
        for machine in types:
            if machine.name in self._machines:
                raise DuplicateRegistration("machine type", machine.name)
            self._machines[machine.name] = machine
        self._known.update(types)
        return self

    @property
    def known(self) -> AbstractSet[MachineType[Any, Any]]:
        """The machine types that are registered; it grows when others are."""
        return self._known

    def machine(self, name: str) -> MachineType[Any, Any]:
        """Return the machine type called *name*.

        Raises:
            NotRegistered: There is none.
        """
        try:
            return self._machines[name]
        except KeyError:
            raise NotRegistered("machine type", name) from None

    def knows(self, machine: MachineType[Any, Any]) -> bool:
        """Return whether this very machine type is registered."""
        return machine in self._known

    def require(self, machine: MachineType[Any, Any]) -> None:
        """Raise NotRegistered unless this very machine type is registered."""
        if machine not in self._known:
            raise NotRegistered("machine type", machine.name)

    def register_executor(self, task: type[Task], executor: Executor) -> None:
        """Say what carries out the tasks of a type.

        Args:
            task: The type.
            executor: Called with the environment, the task's reference and the task.

        Raises:
            DuplicateRegistration: The type has an executor already.
        """
        if task in self._executors:
            raise DuplicateRegistration("executor", task.__name__)
        self._executors[task] = executor

    def executor(self, task: type[Task]) -> Executor:
        """Return what carries out the tasks of a type.

        Raises:
            NotRegistered: Nothing does.
        """
        try:
            return self._executors[task]
        except KeyError:
            raise NotRegistered("executor", task.__name__) from None

    def register_serializer(self, task: type[TaskT], serializer: TaskSerializer[TaskT]) -> None:
        """Say how the tasks of a type become bytes.

        Raises:
            DuplicateRegistration: The type has a serializer already.
        """
        if task in self._serializers:
            raise DuplicateRegistration("serializer", task.__name__)
        self._serializers[task] = serializer

    def serializer(self, task: type[Task]) -> TaskSerializer[Any]:
        """Return the serializer of a task type.

        Raises:
            NotRegistered: It has none.
        """
        try:
            return self._serializers[task]
        except KeyError:
            raise NotRegistered("serializer", task.__name__) from None
