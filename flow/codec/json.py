"""JSON text in and out, with the checks that keep bad bodies outside."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from math import isfinite, isnan
from typing import Any, Final

import orjson

from flow.errors import InvalidInput, TooLarge
from flow.names import BODY_LIMIT, DEPTH_LIMIT

__all__ = [
    "check_body",
    "check_integers",
    "check_shape",
    "dumps",
    "expect_finite",
    "loads",
    "pretty",
    "same",
]

# A string, or what is left of one that does not end: else each quote in it would be tried anew.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19,}")
_LONG_INTEGER: Final = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,}(?![0-9.eE])")
_LARGEST: Final = 2**64 - 1
_SMALLEST: Final = -(2**63)
_SHOWN: Final = 24

fragment: Final = orjson.Fragment
"""Makes valid JSON text something that `dumps` writes as it is, without looking inside."""


def dumps(value: object) -> bytes:
    """Return *value* as JSON.

    Args:
        value: None, booleans, numbers, strings, lists, tuples and dicts with string keys;
            dataclasses, enums, dates and UUIDs are written as orjson writes them.

    Raises:
        InvalidInput: It holds something that JSON has no form for, NaN included.
    """
    text = dumps_finite(value)
    if b"null" in text:
        # orjson writes NaN as null, so each null needs a second look at where it came from.
        expect_finite(value, "the value")
    return text


def dumps_finite(value: object) -> bytes:
    """Return *value* as JSON; whoever calls knows that no NaN and nothing infinite is in it.

    So the whole value need not be gone through because there is a null in some body.

    Args:
        value: See `dumps`.

    Raises:
        InvalidInput: It holds something that JSON has no form for.
    """
    try:
        return orjson.dumps(value)
    except (TypeError, RecursionError) as error:
        raise _unwritable(error) from error


def pretty(value: object) -> str:
    """Return *value* as JSON for people: indented, with the keys as they come.

    Args:
        value: See `dumps`.

    Raises:
        InvalidInput: See `dumps`.
    """
    return _written(value, orjson.OPT_INDENT_2).decode()


def canonical(value: object) -> bytes:
    """Return *value* as JSON with sorted keys: the same bytes for the same value.

    Args:
        value: See `dumps`.

    Raises:
        InvalidInput: See `dumps`.
    """
    return _written(value, orjson.OPT_SORT_KEYS)


def loads(text: bytes | str, what: str = "the text") -> Any:
    """Return the value that JSON text stands for.

    Args:
        text: The text.
        what: What it is, for the error.

    Raises:
        InvalidInput: It is not JSON (NaN and Infinity are not).
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(what, f"it is not valid JSON: {error}") from error


def expect_finite(value: object, what: str) -> None:
    """Raise InvalidInput if a value holds NaN or an infinite number, which JSON does not have.

    Args:
        value: Numbers, lists, tuples, mappings and dataclasses are looked into; nothing else is.
        what: What it is, for the error.
    """
    found = _odd_number(value, "")
    if found is not None:
        place, number = found
        name = "NaN" if isnan(number) else "infinite"
        reason = f"{place.removeprefix('.') or 'it'} is {name}, which JSON has no form for"
        raise InvalidInput(what, reason)


def check_body(text: bytes, what: str, limit: int = BODY_LIMIT) -> bytes:
    """Return *text* if it may be a body: JSON, not too large, not too deep, with ints that fit.

    Sizes are checked before anything is parsed.

    Args:
        text: What arrived.
        what: What it is, for the error.
        limit: How many bytes it may have.

    Raises:
        TooLarge: It has more than *limit* bytes.
        InvalidInput: It is not JSON, is nested too deeply, or holds an integer that does not
            fit into 64 bits.
    """
    check_shape(text, what, limit)
    loads(text, what)
    if _LONG_NUMBER.search(text):
        check_integers(text, what)
    return text


def check_shape(text: bytes, what: str, limit: int = BODY_LIMIT) -> bytes:
    """Return JSON text that we have written ourselves, if it is not too large or too deep for one.

    Args:
        text: What `dumps` has made of a value that was read from JSON.
        what: What it is, for the error.
        limit: How many bytes it may have.

    Raises:
        TooLarge: It has more than *limit* bytes.
        InvalidInput: It is nested too deeply.
    """
    if len(text) > limit:
        raise TooLarge(what, len(text), limit)
    if text.count(b"[") + text.count(b"{") > DEPTH_LIMIT and _depth(text) > DEPTH_LIMIT:
        raise InvalidInput(what, f"it is nested more than {DEPTH_LIMIT} levels deep")
    return text


def check_integers(text: bytes, what: str) -> None:
    """Raise InvalidInput if valid JSON text holds an integer that does not fit into 64 bits.

    Args:
        text: The text. Parsed, such an integer would be a float, and nobody could tell.
        what: What it is, for the error.
    """
    for match in _LONG_INTEGER.finditer(_STRING.sub(b'""', text)):
        digits = match.group()
        # Longer ones would cost quadratic time to convert, and cannot fit anyway.
        if len(digits) > len(str(_SMALLEST)) or not _SMALLEST <= int(digits) <= _LARGEST:
            shown = digits.decode() if len(digits) <= _SHOWN else f"{digits[:_SHOWN].decode()}…"
            raise InvalidInput(what, f"the integer {shown} does not fit into 64 bits")


def same(left: bytes, right: bytes) -> bool:
    """Return whether two JSON texts stand for the same value.

    The order of keys does not matter, and neither does how a number is written; true is not 1.

    Args:
        left: Valid JSON.
        right: Valid JSON.
    """
    return left == right or _equal(orjson.loads(left), orjson.loads(right))


def _unwritable(error: Exception) -> InvalidInput:
    return InvalidInput("the value", f"it cannot be written as JSON: {error}")


def _written(value: object, option: int) -> bytes:
    try:
        text = orjson.dumps(value, option=option)
    except (TypeError, RecursionError) as error:
        raise _unwritable(error) from error
    if b"null" in text:
        # See `dumps`.
        expect_finite(value, "the value")
    return text


def _odd_number(value: Any, place: str) -> tuple[str, float] | None:
    """Return the first number that is not finite, with the path to it."""
    inside: Iterable[tuple[str, Any]]
    match value:
        case float():
            return None if isfinite(value) else (place, value)
        case Mapping():
            inside = ((f"{place}.{key}", item) for key, item in value.items())
        case list() | tuple():
            inside = ((f"{place}[{index}]", item) for index, item in enumerate(value))
        case _ if is_dataclass(value):
            inside = ((f"{place}.{item.name}", getattr(value, item.name)) for item in fields(value))
        case _:
            return None
    return next(filter(None, (_odd_number(item, path) for path, item in inside)), None)


def _depth(text: bytes) -> int:
    depth = deepest = 0
    for byte in _STRING.sub(b"", text):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)
