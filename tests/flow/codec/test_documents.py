"""Failures and errors as documents: the same on the other side, however odd that side is."""

import inspect
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from flow import errors
from flow.codec import (
    decode_error,
    decode_failure,
    dumps,
    encode_error,
    encode_failure,
    loads,
)
from flow.errors import FlowError, TooLarge, UnknownStep
from flow.failure import Failure
from flow.names import MESSAGE_LIMIT, TRACEBACK_LIMIT
from tests.flow.codec.strategies import FAILURES, TEXTS, VALUES

EMPTY: list[str] = []
EVERY = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlowError)
]
NAMES_BY_NAME = st.dictionaries(TEXTS, st.lists(TEXTS, max_size=2), max_size=2)
BY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "cycles": st.lists(st.lists(TEXTS, min_size=1, max_size=2), max_size=2),
    "dependents": NAMES_BY_NAME,
    "missing": NAMES_BY_NAME,
    "needed": NAMES_BY_NAME,
    "report": st.dictionaries(TEXTS, VALUES, max_size=2),
    "seconds": st.floats(0, 1000),
}
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(0, 10**9),
    "str": TEXTS,
    "Sequence[str]": st.lists(TEXTS, max_size=3),
}


def through_json(document: Any) -> Any:
    """Return a document as it is after a trip over the wire."""
    return loads(dumps(document))


def type_of(item: Field[Any]) -> str:
    """Return the type of a field as it is written, in quotes or not."""
    plain = item.type if isinstance(item.type, type) and not get_args(item.type) else None
    return plain.__name__ if plain else str(item.type).removeprefix("collections.abc.")


def made_up(kind: type[FlowError]) -> st.SearchStrategy[FlowError]:
    """Return a strategy for errors of one class."""
    if not is_dataclass(kind):
        return st.builds(kind, TEXTS)
    values = {
        item.name: BY_FIELD[item.name] if item.name in BY_FIELD else BY_TYPE[type_of(item)]
        for item in fields(kind)
    }
    return st.builds(kind, **values)


@pytest.mark.parametrize("kind", EVERY)
@given(data=st.data())
def test_every_error_comes_back(kind: type[FlowError], data: st.DataObject) -> None:
    """Each of our errors has the same class, fields and text after a trip."""
    error = data.draw(made_up(kind))
    found = decode_error(through_json(encode_error(error)))
    assert type(found) is kind
    assert str(found) == str(error)
    assert vars(found) == vars(error)


class Foreign(TooLarge):
    """An error that the other side does not know."""


def test_an_unknown_error_keeps_its_text() -> None:
    """An error of a class that is not ours is a FlowError with the same text."""
    error = Foreign("the body", 2, 1)
    found = decode_error(through_json(encode_error(error)))
    assert type(found) is FlowError
    assert str(found) == str(error)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "TooLarge", "message": "text"},
        {"type": "TooLarge", "message": "text", "fields": 5},
        {"type": "TooLarge", "message": "text", "fields": {"what": "body"}},
        {"type": "TooLarge", "message": "text", "fields": {"what": "a", "size": "b", "limit": 1}},
        {"type": "UnknownRequirement", "message": "text", "fields": {"workflow": 1, "missing": 2}},
        {
            "type": "CyclicRequirement",
            "message": "text",
            "fields": {"workflow": "", "cycles": [EMPTY]},
        },
        {"type": ["TooLarge"], "message": "text", "fields": None},
        {"type": "is_dataclass", "message": "text"},
        {"message": "text"},
    ],
)
def test_an_odd_error_is_an_error_still(document: dict[str, Any]) -> None:
    """What a program of another version wrote can be raised and shown."""
    found = decode_error(document)
    assert type(found) is FlowError
    assert str(found) == "text"


def test_new_fields_are_passed_over() -> None:
    """A field that a newer version added does not matter."""
    document = encode_error(UnknownStep("a", "workflow 'w'"))
    document["fields"]["colour"] = "red"
    assert vars(decode_error(document)) == {"step": "a", "where": "workflow 'w'", "known": ()}


@given(FAILURES)
def test_failures_come_back(failure: Failure) -> None:
    """A failure is the same after a trip."""
    assert decode_failure(through_json(encode_failure(failure))) == failure


@pytest.mark.parametrize("phase", ["request", "validate", "prepare"])
def test_what_was_before_the_run_is_told(phase: str) -> None:
    """A phase before the run travels; `run` is what is meant without one."""
    failure = Failure("E", "", phase=phase)
    assert encode_failure(failure) == {"type": "E", "message": "", "phase": phase}
    assert decode_failure(through_json(encode_failure(failure))) == failure


@pytest.mark.parametrize("phase", ["run", "RUN", "later", "", None, 7, ["prepare"], {}])
def test_an_unknown_phase_is_the_run(phase: object) -> None:
    """A worker in another language may say anything; then the run may have had an effect."""
    assert decode_failure({"type": "E", "phase": phase}).phase == "run"


def test_empty_fields_are_left_out() -> None:
    """A failure takes no more room than it has to."""
    assert encode_failure(Failure("E", "")) == {"type": "E", "message": ""}


def test_long_texts_are_cut() -> None:
    """The beginning of a message is kept, and the end of a traceback, on both sides."""
    failure = Failure("E", "a" * 10_000 + "b", "a" * 10_000 + "b")
    document = encode_failure(failure)
    assert document["message"] == "a" * MESSAGE_LIMIT
    assert document["traceback"] == "a" * (TRACEBACK_LIMIT - 1) + "b"
    found = decode_failure({"type": "E" * 500, "message": failure.message, "step": "s" * 500})
    assert (len(found.type), len(found.message), len(found.step)) == (200, MESSAGE_LIMIT, 400)


@pytest.mark.parametrize(
    ("document", "failure"),
    [
        (None, Failure("Error", "None")),
        ("out of paper", Failure("Error", "out of paper")),
        ({}, Failure("Error", "")),
        ({"type": None, "message": 5, "fields": []}, Failure("Error", "5")),
        ({"type": "E", "message": "m", "more": 1}, Failure("E", "m")),
    ],
)
def test_an_odd_failure_is_a_failure_still(document: object, failure: Failure) -> None:
    """A worker in another language may say anything."""
    assert decode_failure(document) == failure


@given(VALUES)
def test_anything_is_a_failure(document: object) -> None:
    """No JSON value makes reading a failure fail."""
    assert isinstance(decode_failure(document), Failure)
