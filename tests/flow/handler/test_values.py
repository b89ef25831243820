"""Typed values for clients: results are read by type, inputs are written whatever they are."""

import socket
from dataclasses import dataclass, field
from datetime import date
from math import nan
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, Field

from flow.errors import InvalidInput, TooLarge
from flow.handler import decode_result, encode_value, value_of
from flow.handler.values import type_name
from flow.message import Message
from flow.names import BODY_LIMIT
from tests.flow.handler.samples import Hold, Order, Receipt, complaint

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


@dataclass
class Basket:
    """A dataclass with a model inside."""

    orders: list[Order] = field(default_factory=list[Order])


@pytest.mark.parametrize(
    ("returns", "body", "value"),
    [
        (Any, b'{"total": 1}', {"total": 1}),
        (Order, b'{"total": 1}', Order(total=1)),
        (Page[Order], b'{"items": [{"total": 1}]}', Page[Order](items=[Order(total=1)])),
        (Basket, b'{"orders": [{"total": 1}]}', Basket([Order(total=1)])),
        (type(None), b"null", None),
        (None, b"null", None),
        (Annotated[int, ["not", "hashable"]], b"1", 1),
        (Annotated[int, Field(ge=1)], b"1", 1),
        (Message, b"[ 1 ]", Message(body=b"[ 1 ]")),
    ],
)
def test_results_are_read_by_type(returns: Any, body: bytes, value: object) -> None:
    """A result becomes a value of the type that was asked for."""
    assert decode_result(returns, body) == value
    assert decode_result(returns, body) == value


@pytest.mark.parametrize(
    ("returns", "value", "wanted"),
    [
        (Any, {"a": 1}, {"a": 1}),
        (int, 1, 1),
        (str, "a", "a"),
        (float, 1, 1.0),
        (Order, {"total": 1}, Order(total=1)),
        (Message, [1], Message(body=b"[1]")),
    ],
)
def test_values_are_read_by_type(returns: Any, value: Any, wanted: object) -> None:
    """What was read from JSON already becomes a value of the type that was asked for."""
    found = value_of(returns, value, "it")
    assert (found, type(found)) == (wanted, type(wanted))


def test_a_wrong_value_is_told() -> None:
    """A value that cannot be one of the type is refused."""
    wrong: list[tuple[Any, Any]] = [(int, "1a"), (int, None), (Order, {})]
    for returns, value in wrong:
        error = complaint(lambda: value_of(returns, value, "it"))  # noqa: B023 - called at once
        assert error.startswith("InvalidInput: it: it is expected to be ")


@pytest.mark.parametrize(
    ("returns", "body", "text"),
    [
        (Order, b"{}", "the result: it is expected to be Order, but total is missing"),
        (
            list[Hold],
            b'[{"id": 1}]',
            (
                "the result: it is expected to be list[Hold], but [0].id should be a valid string "
                "(it is 1)"
            ),
        ),
        (
            float,
            b"NaN",
            (
                "the result: it is not valid JSON: unexpected character, expected a JSON value: "
                "line 1 column 1 (char 0)"
            ),
        ),
        (socket.socket, b"1", "the result: it cannot be read as socket"),
    ],
)
def test_a_wrong_result_is_told(returns: Any, body: bytes, text: str) -> None:
    """A result of another type is refused with the type that was expected."""
    error = complaint(lambda: decode_result(returns, body))
    assert error.removeprefix("InvalidInput: ").startswith(text)


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (None, b"null"),
        ({"when": date(2024, 2, 29), "order": Order(total=1)}, None),
        (Basket([Order(total=1)]), b'{"orders":[{"total":1,"lines":[]}]}'),
        (Page[int](items=[1]), b'{"items":[1]}'),
        ((1, "a", {2}), b'[1,"a",[2]]'),
        (Message({"tenant": "a"}, b"[ 1 ]"), b"[ 1 ]"),
    ],
)
def test_inputs_are_written(value: object, body: bytes | None) -> None:
    """Whatever pydantic can write may be an input, models inside of collections included."""
    expected = b'{"when":"2024-02-29","order":{"total":1,"lines":[]}}' if body is None else body
    assert encode_value(value) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (nan, "the input of checkout: it is NaN, which JSON has no form for"),
        ({"a": Receipt(nan)}, "the input of checkout: a.amount is NaN, which JSON has no form for"),
        (
            {"a": object},
            (
                "the input of checkout: it cannot be written as JSON: Unable to serialize unknown "
                "type: <class 'type'>"
            ),
        ),
        (Message(body=b"x"), "the input of checkout: it is not valid JSON: "),
        (-(2**63) - 1, "the input of checkout: the integer -9223372036854775809 does not fit into"),
    ],
)
def test_a_wrong_input_is_told(value: object, text: str) -> None:
    """An input that JSON has no form for is refused before it is sent."""
    error = complaint(lambda: encode_value(value, "the input of checkout"))
    assert error.removeprefix("InvalidInput: ").startswith(text)


def test_an_input_has_a_limit() -> None:
    """An input that is too large is refused before it is sent."""
    with pytest.raises(TooLarge):
        encode_value("x" * BODY_LIMIT)


def test_an_input_that_is_too_deep_is_refused() -> None:
    """An input is checked as any body is."""
    deep: list[Any] = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(InvalidInput, match="nested more than 64 levels deep"):
        encode_value(deep)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
        ),
    ),
)
def test_json_values_come_back(value: object) -> None:
    """A JSON value that is written and read is the same."""
    assert decode_result(Any, encode_value(value)) == value


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Order, "Order"),
        (type(None), "None"),
        (list[Order], "list[Order]"),
        (Order | None, "Order | None"),
        (dict[str, Basket], "dict[str, Basket]"),
        (Any, "Any"),
        (Literal["a", "b"], "Literal['a', 'b']"),
    ],
)
def test_types_are_named_as_users_write_them(annotation: Any, name: str) -> None:
    """Errors name a type without the modules that it comes from."""
    assert type_name(annotation) == name
