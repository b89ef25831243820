"""Values that handlers attach: bytes and JSON are kept apart, and nothing is bent."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow.codec import dumps, loads
from flow.codec.values import decode_value, encode_value, plain
from flow.errors import InvalidInput
from flow.names import DEPTH_LIMIT
from tests.flow.codec.strategies import VALUES


class Level(IntEnum):
    """A number with a name."""

    LOW = 1


class Colour(StrEnum):
    """A text with a name."""

    RED = "red"


class Ratio(float):
    """A number of a class of its own."""


def deep(levels: int) -> Any:
    """Return lists in lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@given(VALUES.filter(lambda value: not isinstance(value, dict) or value.keys() != {"$bytes"}))
def test_json_values_come_back(value: Any) -> None:
    """A JSON value survives the way to JSON text and back."""
    document = encode_value(value, "it")
    assert dumps(decode_value(loads(dumps(document)), "it")) == dumps(value)


@given(st.binary())
def test_bytes_come_back(value: bytes) -> None:
    """Bytes survive the way to JSON text and back."""
    document = encode_value(value, "it")
    assert document.keys() == {"$bytes"}
    assert decode_value(loads(dumps(document)), "it") == value


def test_large_integers_survive() -> None:
    """Integers of up to 64 bits are not rounded."""
    value = {"a": [2**53 + 1, 2**64 - 1, -(2**63)]}
    assert decode_value(loads(dumps(encode_value(value, "it"))), "it") == value


def test_an_object_with_more_keys_is_no_bytes() -> None:
    """Only an object with the one key stands for bytes, and only where a value begins."""
    for value in ({"$bytes": "aGk=", "more": 1}, {"inside": {"$bytes": "aGk="}}, {}):
        assert encode_value(value, "it") == value
        assert decode_value(value, "it") == value


def test_a_copy_is_plain() -> None:
    """Members of enumerations, tuples and other mappings become what JSON has."""
    given_: Mapping[str, object] = MappingProxyType(
        {Colour.RED: (Level.LOW, Colour.RED, Ratio(0.5), True)}
    )
    copy = plain(given_, "it")
    assert copy == {"red": [1, "red", 0.5, True]}
    assert [type(item) for item in copy["red"]] == [int, str, float, bool]
    assert {type(key) for key in copy} == {str}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"$bytes": "aGk="}, r"^m: an object whose only key is '\$bytes' stands for bytes"),
        ({"a": [0, 2**64]}, r"^m\['a'\]\[1\]: the integer 18446744073709551616 does not fit"),
        (-(2**63) - 1, "^m: the integer -9223372036854775809 does not fit"),
        ([10**5_000], r"^m\[0\]: the integer does not fit"),
        ([float("nan")], r"^m\[0\]: it is nan"),
        (float("inf"), "^m: it is inf"),
        ([b"inside"], r"^m\[0\]: JSON has no form for bytes"),
        ({1: 2}, "^m: the key 1 is no text"),
        ({"a", "b"}, "^m: JSON has no form for set"),
        ("\ud800", "^m: it has no form in UTF-8"),
        ({"\ud800": 1}, "^m: it has no form in UTF-8"),
        (deep(DEPTH_LIMIT + 1), "it is nested more than 64 levels deep"),
    ],
)
def test_what_json_has_no_form_for_is_refused(value: object, wrong: str) -> None:
    """What cannot be written is refused with the place where it stands."""
    with pytest.raises(InvalidInput, match=wrong):
        encode_value(value, "m")


def test_a_value_may_be_as_deep_as_a_body() -> None:
    """The deepest body that is allowed is a value too."""
    assert encode_value(deep(DEPTH_LIMIT), "m") == deep(DEPTH_LIMIT)


@pytest.mark.parametrize("inside", ["a", "@@@@", "é", 5, None, ["aGk="]])
def test_what_is_no_base64_is_refused(inside: object) -> None:
    """An object that should stand for bytes holds base64, or is refused."""
    with pytest.raises(InvalidInput, match=r"^m: '\$bytes' must be followed by base64 text"):
        decode_value({"$bytes": inside}, "m")
