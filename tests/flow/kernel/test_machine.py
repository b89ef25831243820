"""Machine types, tasks, the registry, and how journal entries fold."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow.errors import (
    DuplicateRegistration,
    IncompatibleType,
    InvalidTask,
    NodeNotFound,
    NotRegistered,
)
from flow.kernel.machine import (
    Changes,
    MachineTask,
    MachineType,
    NodeSnapshot,
    NodeView,
    Output,
    Ref,
    Registry,
    fold,
    place_of,
)
from tests.flow.kernel.tree_model import (
    BELL,
    LAMP,
    WORD,
    Bell,
    Echo,
    Lamp,
    Light,
    Send,
    Wait,
    Word,
    naive_fold,
    new_tree,
)


def execute(_environment: object, _ref: Ref, _task: object) -> None:
    """Do nothing about a task."""


class WaitSerializer:
    """A serializer that keeps nothing: the deadline is stored beside the bytes."""

    def serialize(self, task: Wait) -> bytes:
        """Return no bytes."""
        return b""

    def deserialize(self, data: bytes, deadline_ms: int | None, destination: str) -> MachineTask:
        """Return the timer."""
        return Wait(deadline_ms=deadline_ms)


def test_a_second_machine_type_of_a_name_is_refused() -> None:
    """A name means one machine type forever, so a second registration is an error."""
    registry = Registry().register(LAMP)
    with pytest.raises(DuplicateRegistration, match="machine type 'lamp'"):
        registry.register(LAMP)
    with pytest.raises(DuplicateRegistration):
        registry.register(MachineType("lamp", 2, Light, Bell))
    assert registry.machine("lamp") is LAMP


def test_a_second_executor_is_refused() -> None:
    """A task type has one executor, and a second one does not replace it."""
    registry = Registry()
    registry.register_executor(Wait, execute)
    with pytest.raises(DuplicateRegistration, match="executor 'Wait'"):
        registry.register_executor(Wait, lambda _environment, _ref, _task: None)
    assert registry.executor(Wait) is execute


def test_a_second_serializer_is_refused() -> None:
    """A task type has one serializer, and a second one does not replace it."""
    registry = Registry()
    serializer = WaitSerializer()
    registry.register_serializer(Wait, serializer)
    with pytest.raises(DuplicateRegistration, match="serializer 'Wait'"):
        registry.register_serializer(Wait, WaitSerializer())
    assert registry.serializer(Wait) is serializer


LOOK_UPS: list[tuple[Callable[[Registry], object], str]] = [
    (lambda registry: registry.machine("lamp"), "machine type 'lamp' is not registered"),
    (lambda registry: registry.require(LAMP), "machine type 'lamp' is not registered"),
    (lambda registry: registry.executor(Wait), "executor 'Wait' is not registered"),
    (lambda registry: registry.serializer(Wait), "serializer 'Wait' is not registered"),
]


@pytest.mark.parametrize(("look_up", "message"), LOOK_UPS)
def test_what_is_not_registered_is_not_found(
    look_up: Callable[[Registry], object], message: str
) -> None:
    """Each look-up names what is missing, and does not chain the KeyError behind it."""
    with pytest.raises(NotRegistered, match=message) as caught:
        look_up(Registry())
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_registry_knows_types_by_identity() -> None:
    """Another type of a registered name is not known."""
    registry = Registry().register(LAMP, BELL)
    assert registry.knows(LAMP)
    assert not registry.knows(WORD)
    assert not registry.knows(MachineType("lamp", 1, Light, Lamp))
    registry.require(BELL)


def test_a_tag_tells_the_type_and_its_version() -> None:
    """What is stored with every node is the name and the version of its type."""
    assert MachineType("lamp", 2, Light, Lamp).tag == "lamp@2"


def test_a_machine_type_has_no_tasks_unless_it_says_so() -> None:
    """A type without a task function asks for nothing, in any state."""
    assert [list(BELL.asked(state, Bell())) for state in Light] == [[], [], []]
    assert BELL.upcasters == {}


@pytest.mark.parametrize(
    ("machine", "state", "data", "message"),
    [
        (LAMP, Light.RED, Bell(), "is Bell, not Lamp"),
        (LAMP, Light.RED, None, "is NoneType, not Lamp"),
        (LAMP, None, Lamp(), "is NoneType, not Light"),
        (WORD, Echo.SAID, Lamp(), "is Echo, not Word"),
    ],
)
def test_values_of_other_classes_do_not_fit(
    machine: MachineType[Any, Any], state: object, data: object, message: str
) -> None:
    """State and data must be of the type's very classes, even where values compare equal."""
    with pytest.raises(IncompatibleType, match=message):
        machine.check("a", state, data)


def test_values_of_the_right_classes_fit() -> None:
    """A state and data of the type's own classes pass the check."""
    WORD.check("a", Word.SAID, Lamp())
    assert {Word.SAID} == {str(Echo.SAID)}


def test_a_task_is_a_timer_or_bound_for_somewhere() -> None:
    """A deadline alone or a destination alone makes a task, and 0 is a deadline."""
    assert Wait(deadline_ms=0).destination == ""
    assert Send(destination="street").deadline_ms is None


@pytest.mark.parametrize("kind", [MachineTask, Wait, Send])
@pytest.mark.parametrize(("deadline_ms", "destination"), [(None, ""), (1, "street")])
def test_a_task_of_no_kind_or_two_is_invalid(
    kind: type[MachineTask], deadline_ms: int | None, destination: str
) -> None:
    """A task with neither a deadline nor a destination, or with both, cannot be made."""
    with pytest.raises(InvalidTask, match=kind.__name__):
        kind(deadline_ms=deadline_ms, destination=destination)


def test_a_task_of_the_wrong_kind_cannot_be_read_back() -> None:
    """A timer whose deadline is missing in the store is refused, not silently ignored."""
    serializer = WaitSerializer()
    task = Wait(deadline_ms=7)
    assert serializer.deserialize(serializer.serialize(task), 7, "") == task
    with pytest.raises(InvalidTask):
        serializer.deserialize(b"", None, "street")


def test_a_task_is_stale_once_its_node_has_changed() -> None:
    """A task accepts its node as it was, or in any state if its reference says 0."""
    tree = new_tree()
    task, node = Wait(deadline_ms=0), tree.root
    assert task.validate(Ref("", 1, node.updated), node)
    assert task.validate(Ref("", 1), node)
    assert not task.validate(Ref("", 1, node.updated + 1), node)


def test_a_task_may_decide_what_stale_means() -> None:
    """A subclass may accept a node that has changed."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Stubborn(MachineTask):
        def validate(self, ref: Ref, node: NodeView) -> bool:
            return node.state is Light.RED and node.data == Lamp() and node.updated > 0

    assert Stubborn(deadline_ms=1).validate(Ref("", 1, 99), new_tree().root)


def test_values_are_frozen() -> None:
    """References and tasks cannot be changed after they were handed out."""
    ref, task = Ref("a", 1), Wait(deadline_ms=1)
    with pytest.raises(AttributeError):
        ref.path = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(FrozenInstanceError):
        task.deadline_ms = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_changes_are_true_if_there_are_any() -> None:
    """Changes are false only if no node and no output is in them."""
    assert not Changes((), ())
    assert Changes((NodeSnapshot("a", None),), ())
    assert Changes((), (Output(Ref("", 1), Wait(deadline_ms=1)),))


def written(path: str, number: int) -> NodeSnapshot:
    """Return the entry of a lamp."""
    return NodeSnapshot(path, LAMP, Light.RED, Lamp(number), number, number)


PATHS = st.sampled_from(["", "a", "a/b", "ab", "a/b/c", "a/bc", "c/x"])


@given(st.lists(st.tuples(PATHS, st.booleans()), max_size=12))
def test_folding_is_the_last_write_that_was_not_deleted(acts: list[tuple[str, bool]]) -> None:
    """The fold finds what going through the entries one by one finds, in order of creation."""
    entries = [
        NodeSnapshot(path, None, updated=number) if deleted else written(path, number)
        for number, (path, deleted) in enumerate(acts, start=1)
    ]
    expected = sorted(naive_fold(entries).values(), key=lambda entry: entry.created)
    assert fold(entries) == tuple(expected)


def test_a_deletion_wipes_below_and_only_below() -> None:
    """A deletion takes descendants with it, but no path that merely begins with the same word."""
    entries = [written("a", 1), written("a/b", 2), written("ab", 3), NodeSnapshot("a", None)]
    assert fold(entries) == (entries[2],)
    assert fold([*entries, written("a", 5)]) == (entries[2], written("a", 5))


def test_deleting_the_root_wipes_all() -> None:
    """The deletion of the empty path leaves only what was written after it."""
    assert fold([written("", 1), written("a", 2), NodeSnapshot("", None), written("", 4)]) == (
        written("", 4),
    )


def test_a_path_tells_the_parent_and_the_key() -> None:
    """The parent is the longest path that is known; a key has one word, or two."""
    known = {"", "a", "a/c/x"}
    places = [place_of(path, known) for path in ("", "b", "a/b", "a/c/y", "c/x", "a/c/x/d")]
    assert places == [
        ("", ""),
        ("", "b"),
        ("a", "b"),
        ("a", "c/y"),
        ("", "c/x"),
        ("a/c/x", "d"),
    ]
    with pytest.raises(NodeNotFound, match="b/c"):
        place_of("b/c/d", known)
