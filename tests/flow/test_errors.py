"""Tests of `flow.errors`: the tree, the texts that people read, and the fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import pytest

from flow import errors
from flow.errors import FlowError
from flow.failure import Failure

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, FlowError)
}
GROUPS = {name for name, value in CLASSES.items() if not dataclasses.is_dataclass(value)}

GOLDEN: list[tuple[str, tuple[Any, ...], str]] = [
    ("ExecutionCompensated", ("x1", "step 'pay': ValueError: no"),
     "execution 'x1' was compensated: step 'pay': ValueError: no"),
    ("OutcomeUnknown", ("steps/pay", 60.0),
     ("steps/pay was ended by force, and nothing was heard of its last attempt within 60 s "
     "(settle_within)")),
    ("UndoFailed", (["steps/pay"],), "1 undo failed: 'steps/pay'"),
    ("UndoFailed", ([f"steps/s{n}" for n in range(7)],),
     ("7 undos failed: 'steps/s0', 'steps/s1', 'steps/s2', 'steps/s3', 'steps/s4' and 2 more")),
    ("StepsUndone", (["steps/pay"],),
     "steps of it were undone by hand, and others were not: 'steps/pay'"),
    ("StateConflict", ("room", ["a", "b"]),
     ("'a', 'b' share different values as 'room', and neither depends on the other: let one "
     "require the other, or use two keys")),
    ("AlreadyUndone", ("pay.charge", "order-1:steps/charge"),
     "pay.charge does not run for 'order-1:steps/charge': that was undone already"),
    ("InvalidName", ("step", "a b", "no blanks"), "step 'a b' is not a valid name: no blanks"),
    ("InvalidOption", ("step 'a'", "x", "0", "at least 1"),
     "step 'a': x=0 is not possible: at least 1"),
    ("InvalidReference", ("step 'a'", "b.c", "leads nowhere"),
     "step 'a': the reference to 'b.c' leads nowhere"),
    ("BindingError", ("charge", "ordr", "has no source", ("order", "hold")),
     "charge(): parameter 'ordr' has no source; did you mean 'order'?"),
    ("BindingError", ("charge", "x", "has no source"),
     "charge(): parameter 'x' has no source"),
    ("DuplicateDefinition", ("step ids", ("a", "b"), "workflow 'w'"),
     "workflow 'w': step ids declared more than once: 'a', 'b'"),
    ("UnknownRequirement", ("w", {"a": ["bb", "c"], "d": ["e"]}, ("bbb",)),
     ("workflow 'w': 'a' requires 'bb', which is not a step of it; did you mean 'bbb'?; "
     "'a' requires 'c', which is not a step of it; 'd' requires 'e', which is not a step of it")),
    ("SelfRequirement", ("w", ("a", "b")),
     "workflow 'w': a step cannot require itself: 'a', 'b'"),
    ("CyclicRequirement", ("w", [["a", "b"], ["c", "d", "e"]]),
     "workflow 'w': steps require each other in a circle: a -> b -> a; c -> d -> e -> c"),
    ("StepIsRequired", ("w", {"a": ["b", "c"], "d": ["e"]}),
     "workflow 'w': cannot remove steps: 'a' is required by 'b', 'c'; 'd' is required by 'e'"),
    ("UnresolvedSteps", ("w", ("a", "b")),
     ("workflow 'w' names steps of other programs: 'a', 'b'. It can be run, but what it is made of "
     "is known only once they are announced: `await app.workflows.load('w')` returns it then")),
    ("InvalidInput", ("the body", "it is no JSON"), "the body: it is no JSON"),
    ("TooLarge", ("the request of step 'a'", 300_000, 262_144, ("b", "c")),
     ("the request of step 'a' has 300,000 bytes; at most 262,144 are allowed; it is made of "
     "'b', 'c'. Keep large data elsewhere and pass a reference to it")),
    ("TooLarge", ("it", 2, 1), ("it has 2 bytes; at most 1 are allowed. Keep large data elsewhere "
     "and pass a reference to it")),
    ("UnknownWorkflow", ("chekout", ("checkout", "ship")),
     "there is no workflow 'chekout'; did you mean 'checkout'? (known: 'checkout', 'ship')"),
    ("UnknownWorkflow", ("w",), "there is no workflow 'w' (none is known)"),
    ("UnknownExecution", ("order-42",), "there is no execution 'order-42'"),
    ("UnknownStep", ("chrge", "workflow 'w'", ("charge",)),
     "workflow 'w' has no step 'chrge'; did you mean 'charge'?"),
    ("UnknownEndpoint", ("pay.chrge", ("pay.charge",)),
     "nobody serves the endpoint 'pay.chrge'; did you mean 'pay.charge'?"),
    ("MissingResults", ("w", {"a": ["b", "c"], "d": ["e"]}),
     ("workflow 'w' cannot start there: results are needed of 'a' (for 'b', 'c'), 'd' (for 'e'); "
     "supply them, or take them from an earlier execution")),
    ("MissingSteps", ("w", {"reserv": ["ship"], "pay": [], "tell": ["a", "b"]}, ("reserve",)),
     ("workflow 'w' names steps that nobody has announced yet: 'reserv' (for 'ship'; did you mean "
     "'reserve'?), 'pay', 'tell' (for 'a', 'b'). Start the services that declare them")),
    ("MissingSteps", ("w", {f"s{n}": [] for n in range(22)}),
     ("workflow 'w' names steps that nobody has announced yet: "
     + ", ".join(f"'s{n}'" for n in range(20)) + ", and 2 more. "
     "Start the services that declare them")),
    ("StepConflict", ("reserve", "b", "0123456789abcdef", "a", "fedcba9876543210"),
     ("service 'b' announces step 'reserve' (01234567), but service 'a' has announced another step "
     "of this id (fedcba98). Give one of them another id; or, if 'a' is gone for good: "
     "await app.catalogue.forget('reserve')")),
    ("ExecutionConflict", ("e", "another input"),
     ("execution 'e' already exists with another input; the same id can only be used for the same "
     "start")),
    ("DefinitionInUse", ("workflow 'w'", ("e", "f")), "workflow 'w' is in use by 'e', 'f'"),
    ("NotPossible", ("resume", "e", "SUCCESS", "start it again"),
     "cannot resume execution 'e': it is SUCCESS; start it again"),
    ("NotPossible", ("abort", "e", "FAILURE"), "cannot abort execution 'e': it is FAILURE"),
    ("TooMany", ("waiters for one execution", 1_000),
     "there are 1,000 waiters for one execution already, and no more are allowed"),
    ("ExecutionPruned", ("e", "SUCCESS"),
     ("execution 'e' ended in SUCCESS and was pruned since: its result, report and history are "
      "gone")),
    ("ExecutionFailed", ("e", "step 'a': ValueError: b"),
     "execution 'e' failed: step 'a': ValueError: b"),
    ("ExecutionAborted", ("e", "by hand"), "execution 'e' was aborted: by hand"),
    ("ExecutionAborted", ("e", ""), "execution 'e' was aborted"),
    ("CallFailed", ("pay.charge", "ValueError", "no"), "pay.charge failed: ValueError: no"),
    ("BrokerUnavailable", ("amqp://mq", "refused"),
     "the broker amqp://mq cannot be reached: refused"),
    ("StoreUnavailable", ("sqlite:///x", "full"), "the store sqlite:///x cannot be used: full"),
    ("StoreLocked", ("x.db", "process 7", "stop it"),
     "the store x.db is in use by process 7; stop it"),
    ("Overloaded", ("the queue", 1000), "the queue is full (at most 1,000); try again later"),
    ("DeadlineExceeded", ("the start", 1.5, "ask again"),
     "the start: no answer within 1.5 s; ask again"),
    ("DeadlineExceeded", ("the start", 30.0), "the start: no answer within 30 s"),
    ("MappingFailed", ("step 'a'", "b.output.c", "there is no 'c'"),
     "step 'a': cannot take b.output.c: there is no 'c'"),
    ("CorruptRecord", ("record 7", "it is cut"), "record 7 cannot be decoded: it is cut"),
    ("UnsupportedVersion", ("the schema", 3, 2),
     "the schema has version 3; this program understands versions up to 2. Use a newer flowmq"),
    ("ConfigurationError", ("store", "it is no URL"), "store: it is no URL"),
    ("SimulationFailed", ("task 3 has failed",),
     "in the simulation something failed unnoticed: task 3 has failed"),
    ("SimulationRefused", ("socket.bind", "it is real"),
     "a simulation refuses socket.bind: it is real"),
    ("SimulationStuck", ("nothing can happen", ["a in main", "b"]),
     "the simulation is stuck: nothing can happen; waiting:\n  a in main\n  b"),
    ("SimulationStuck", ("it was stopped", []),
     "the simulation is stuck: it was stopped; waiting: nobody"),
    ("DuplicateRegistration", ("machine", "m"), "machine 'm' is already registered"),
    ("NotRegistered", ("machine", "m"), "machine 'm' is not registered"),
    ("IncompatibleType", ("a/b", "timer", "step"), "node 'a/b' is step, not timer"),
    ("InvalidTransition", ("a/b", "fail", "DONE"),
     "node 'a/b' is DONE: the transition 'fail' is invalid"),
    ("InvalidTask", ("wake", "has no deadline"), "machine task 'wake' has no deadline"),
    ("NodeExists", ("a/b",), "node 'a/b' already exists"),
    ("NodeNotFound", ("a/b",), "there is no node 'a/b'"),
    ("StaleReference", ("a/b", "it ended"), "the reference to node 'a/b' is stale: it ended"),
    ("ReadOnlyAccess", ("a/b",), "node 'a/b' was opened for reading and cannot be changed"),
]  # fmt: skip


def drawn_tree() -> dict[str, str]:
    """Return the parent of each class, as the picture in the module's docstring shows it."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ├└─]*)([A-Z][A-Za-z]+)(?=\s|$)", line)
        if found:
            depth = len(found[1]) // 4
            del path[depth:]
            parents[found[2]] = path[-1] if path else ""
            path.append(found[2])
    return parents


def test_the_drawn_tree_is_the_real_one() -> None:
    """The picture shows every class below its parent, and no class more."""
    real = {
        name: next((base.__name__ for base in value.__bases__ if base is not Exception), "")
        for name, value in CLASSES.items()
    }
    assert drawn_tree() == real


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_one_of_ours(name: str) -> None:
    """Whoever catches FlowError catches them all."""
    assert issubclass(CLASSES[name], FlowError)
    assert (CLASSES[name].__doc__ or "").endswith(".")


def test_every_error_has_a_golden_text() -> None:
    """Every class with a text is in the table above; the others only group."""
    assert {name for name, _, _ in GOLDEN} == CLASSES.keys() - GROUPS
    assert {
        "FlowError",
        "DefinitionError",
        "RequestError",
        "OutcomeError",
        "UnavailableError",
        "DataError",
        "SimulationError",
        "StateMachineError",
    } == GROUPS


@pytest.mark.parametrize(("name", "arguments", "text"), GOLDEN)
def test_texts_are_golden(name: str, arguments: tuple[Any, ...], text: str) -> None:
    """Each error says exactly this, and keeps what it was made from in its fields."""
    made = CLASSES[name](*arguments)
    assert str(made) == text
    fields = [field.name for field in dataclasses.fields(made)]  # type: ignore[arg-type]
    assert [getattr(made, field) for field in fields[: len(arguments)]] == list(arguments)


@pytest.mark.parametrize(("name", "arguments", "text"), GOLDEN)
def test_errors_can_be_raised(name: str, arguments: tuple[Any, ...], text: str) -> None:
    """Each error is raised, caught as what it is, and hashable as the traceback module asks."""
    with pytest.raises(CLASSES[name], match=re.escape(text)) as caught:
        raise CLASSES[name](*arguments)
    assert len({caught.value, caught.value}) == 1


def test_reports_are_not_shared() -> None:
    """Two failures without a report do not share one."""
    one, other = errors.ExecutionFailed("e", ""), errors.ExecutionFailed("e", "")
    assert one.report == {}
    assert one.report is not other.report


def test_long_lists_are_cut() -> None:
    """Only twenty names are written out, and the rest is counted."""
    assert errors.listed("abc") == "'a', 'b', 'c'"
    assert errors.listed(map(str, range(25)), limit=2) == "'0', '1' and 23 more"
    assert errors.listed([]) == ""


def test_hints_are_near() -> None:
    """A hint is given only for a name that is close."""
    assert errors.nearest("chrge", ["charge", "reserve"]) == "; did you mean 'charge'?"
    assert errors.nearest("zzz", ["charge", "reserve"]) == ""
    assert errors.nearest("x", []) == ""


def test_a_long_name_is_cut() -> None:
    """A wrong name is not repeated in full length."""
    assert len(str(errors.InvalidName("step", "x" * 10_000, "too long"))) < 300


def test_an_error_becomes_a_failure() -> None:
    """An error as a value has its qualified name, its text and its fields."""
    made = errors.failure_of(errors.UndoFailed(["steps/pay"]))
    assert made == Failure(
        "flow.errors.UndoFailed", "1 undo failed: 'steps/pay'", fields={"steps": ["steps/pay"]}
    )
