"""JSON in and out: what is a body and what is not, and that finding out costs little."""

from dataclasses import dataclass
from math import inf, nan
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given

from flow.codec import check_body, dumps, expect_finite, loads, same
from flow.codec.json import canonical, check_shape, fragment, pretty
from flow.errors import InvalidInput, TooLarge
from flow.names import BODY_LIMIT
from tests.flow.codec.strategies import VALUES


@dataclass
class Point:
    """Something with a field."""

    x: float


def refusal(text: bytes) -> str:
    """Return why a body is refused."""
    with pytest.raises(InvalidInput) as caught:
        check_body(text, "the body")
    return str(caught.value)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    """A JSON value that is written and read is the same, and may be a body."""
    assert loads(check_body(dumps(value), "the body")) == value
    assert loads(canonical(value)) == loads(pretty(value)) == value


def test_fragments_are_not_looked_into() -> None:
    """A fragment is written as it is."""
    assert dumps({"a": fragment(b"[ 1 ]")}) == b'{"a":[ 1 ]}'


def test_canonical_text_is_sorted() -> None:
    """The same object has the same text, in whichever order its keys come."""
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == b'{"a":2,"b":1}'


@pytest.mark.parametrize("write", [dumps, canonical, pretty])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (nan, "it is NaN, which JSON has no form for"),
        ({"a": [None, inf]}, "a[1] is infinite, which JSON has no form for"),
        ((Point(-inf),), "[0].x is infinite, which JSON has no form for"),
        (2**64, "it cannot be written as JSON: Integer exceeds 64-bit range"),
        ({1: 2}, "it cannot be written as JSON: Dict key must be str"),
        (object(), "it cannot be written as JSON: Type is not JSON serializable: object"),
        ("\ud800", "it cannot be written as JSON: str is not valid UTF-8: surrogates not allowed"),
    ],
)
def test_what_json_lacks_is_refused(write: Any, value: object, text: str) -> None:
    """What JSON has no form for is an error, and never becomes null."""
    with pytest.raises(InvalidInput) as caught:
        write(value)
    assert str(caught.value) == f"the value: {text}"


def test_finite_values_pass() -> None:
    """What is not a number, or finite, is let through."""
    assert expect_finite([1, 2.5, {"a": (None, "nan")}, Point(1)], "the value") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'"\xed\xa0\x80"',
        b"",
        b"[1,]",
        b"{'a': 1}",
        b"01",
        b"1 2",
        b"\xff",
        b"nul",
        b'"\t"',
    ],
)
def test_what_is_not_json_is_no_body(text: bytes) -> None:
    """Only what every parser of JSON takes may be a body."""
    assert refusal(text).startswith("the body: it is not valid JSON: ")


@pytest.mark.parametrize(
    "text",
    [
        b"18446744073709551615",
        b"-9223372036854775808",
        b"[1.23456789012345678901234567890]",
        b"12345678901234567890123456789.5",
        b"1e30",
        b"1E-0000000000000000000000001",
        b'"99999999999999999999999"',
        b'{"99999999999999999999999": "a\\"-99999999999999999999999"}',
    ],
)
def test_numbers_that_fit_are_taken(text: bytes) -> None:
    """Integers up to 64 bits are taken, and so are fractions and digits in strings."""
    assert check_body(text, "the body") is text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b'["a", 100000000000000000000]', "100000000000000000000"),
        (b'{"1":-' + b"9" * 30 + b"}", "-" + "9" * 23 + "…"),
    ],
)
def test_integers_that_do_not_fit_are_refused(text: bytes, shown: str) -> None:
    """An integer of more than 64 bits would lose digits on the way, so it is refused."""
    assert refusal(text) == f"the body: the integer {shown} does not fit into 64 bits"


NESTED = b"[" * 64 + b"]" * 64


@pytest.mark.parametrize(
    "text",
    [
        NESTED,
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b"[" + b",".join([NESTED[1:-1]] * 20) + b"]",
        b'["' + b"[{" * 100 + b'"]',
        b'["\\"' + b"[" * 100 + b'\\\\"]',
    ],
)
def test_nesting_is_taken_up_to_the_limit(text: bytes) -> None:
    """Sixty-four levels are taken, and brackets in strings are none."""
    assert check_body(text, "the body") is text


@pytest.mark.parametrize(
    "text",
    [
        b"[" + NESTED + b"]",
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'["]]]]]", ' + NESTED + b"]",
        b'["\\"]", ' + NESTED + b"]",
        b"[" * 200_000,
    ],
)
def test_deeper_nesting_is_refused(text: bytes) -> None:
    """The sixty-fifth level is one too many, whatever strings try to hide."""
    assert refusal(text) == "the body: it is nested more than 64 levels deep"


def test_size_is_checked_first() -> None:
    """A body that is too large is not parsed, so nobody finds out that it is not JSON."""
    with pytest.raises(TooLarge) as caught:
        check_body(b"x" * (BODY_LIMIT + 1), "the body")
    assert str(caught.value) == (
        "the body has 262,145 bytes; at most 262,144 are allowed. Keep large data elsewhere and "
        "pass a reference to it"
    )
    assert check_body(b'"' + b"x" * (BODY_LIMIT - 2) + b'"', "the body")
    assert check_body(b"[1]", "the body", limit=3) == b"[1]"
    with pytest.raises(TooLarge):
        check_body(b"[1]", "the body", limit=2)


def test_the_shape_of_what_we_have_written_is_checked_alone() -> None:
    """Text of our own is not parsed again, but may be neither too large nor too deep."""
    assert check_shape(NESTED, "the body") is NESTED
    assert check_shape(b"[1]", "the body", limit=3) == b"[1]"
    with pytest.raises(TooLarge):
        check_shape(b"[1]", "the body", limit=2)
    with pytest.raises(InvalidInput, match="nested more than 64 levels deep"):
        check_shape(b"[" + NESTED + b"]", "the body")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 65 + b'"' + b'\\"' * 120_000,
        b"[" * 65 + b'"' + b"\\\n" * 120_000,
        b'"' * 200_000 + b"[" * 65,
        b"9" * 5_000,
        b"9" * 250_000,
        b"[" + b"9" * 250_000 + b".0]",
        b"-" * 250_000,
        b'["' + b"9" * 250_000 + b'",1e999]',
    ],
)
def test_a_hostile_body_costs_little(text: bytes) -> None:
    """What is refused is refused in linear time, however it is made."""
    before = perf_counter()
    refusal(text)
    assert perf_counter() - before < 2.0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (b"1", b"1.0"),
        (b"100", b"1e2"),
        (b'{"a": 1, "b": [1, 2]}', b'{"b":[1,2.0],"a":1}'),
        (b'"\\u0061"', b'"a"'),
        (b"[]", b"[ ]"),
        (b"0", b"-0.0"),
    ],
)
def test_the_same_value_is_the_same(left: bytes, right: bytes) -> None:
    """Neither the order of keys matters, nor how a number or a letter is written."""
    assert same(left, right)
    assert same(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (b"1", b"true"),
        (b"0", b"false"),
        (b"[1]", b"[true]"),
        (b'{"a": 0}', b'{"a": false}'),
        (b"null", b"false"),
        (b"[1, 2]", b"[2, 1]"),
        (b"[1]", b"[1, 1]"),
        (b'{"a": 1}', b'{"a": 1, "b": null}'),
        (b'"1"', b"1"),
        (b"[]", b"{}"),
    ],
)
def test_another_value_is_not(left: bytes, right: bytes) -> None:
    """Types, order and missing fields matter."""
    assert not same(left, right)
    assert not same(right, left)


@pytest.mark.parametrize("text", [None, {"a": 1}, 5])
def test_only_text_is_read(text: Any) -> None:
    """What is not text is refused as no JSON, and not by accident."""
    with pytest.raises(InvalidInput, match=r"^the reply: it is not valid JSON: "):
        loads(text, "the reply")
