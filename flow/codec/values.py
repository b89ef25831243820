"""Values that handlers attach: JSON or bytes, as JSON values that keep them apart."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from base64 import b64decode, b64encode
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from flow.errors import InvalidInput
from flow.names import DEPTH_LIMIT

__all__ = ["decode_value", "encode_value", "plain"]

_BYTES: Final = "$bytes"
_LARGEST: Final = 2**64 - 1
_SMALLEST: Final = -(2**63)
_SHOWN_BITS: Final = 128
"""An integer with more bits is not written out in an error: that may take long."""


def encode_value(value: object, what: str) -> Any:
    """Return a value as a JSON value; bytes become `{"$bytes": "<base64>"}`.

    Args:
        value: A JSON value, or bytes.
        what: What it is, for the error.

    Raises:
        InvalidInput: JSON has no form for it, an integer in it does not fit into 64 bits, it is
            nested too deeply, or it is an object that would be taken for bytes.
    """
    if isinstance(value, bytes):
        return {_BYTES: b64encode(value).decode()}
    if _is_marked(value):
        raise InvalidInput(what, f"an object whose only key is {_BYTES!r} stands for bytes")
    return plain(value, what)


def decode_value(document: object, what: str) -> Any:
    """Return the value that `encode_value` has made a JSON value of.

    Args:
        document: A JSON value.
        what: What it is, for the error.

    Raises:
        InvalidInput: See `encode_value`; or it stands for bytes, and they are not base64.
    """
    if isinstance(document, Mapping) and _is_marked(document):
        text = document[_BYTES]
        try:
            return b64decode(text.encode("ascii"), validate=True)
        except (ValueError, AttributeError) as error:
            raise InvalidInput(what, f"{_BYTES!r} must be followed by base64 text") from error
    return plain(document, what)


def plain(value: object, what: str, depth: int = 0) -> Any:
    """Return a copy of a JSON value that is made of plain dicts, lists and scalars.

    Args:
        value: A JSON value; mappings, tuples and members of enumerations that are text or numbers
            are taken too.
        what: What it is, for the error. Places inside are named after it.
        depth: How deep inside it is.

    Raises:
        InvalidInput: JSON has no form for it, an integer in it does not fit into 64 bits, or it
            is nested too deeply.
    """
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, what)
        case int():
            return _integer(value, what)
        case float():
            return _number(value, what)
        case Mapping():
            inside = _deeper(depth, what)
            items = ((_key(key, what), item) for key, item in value.items())
            return {key: plain(item, f"{what}[{key!r}]", inside) for key, item in items}
        case list() | tuple():
            inside = _deeper(depth, what)
            return [plain(item, f"{what}[{n}]", inside) for n, item in enumerate(value)]
        case _:
            raise InvalidInput(what, f"JSON has no form for {type(value).__name__}")


def _is_marked(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() == {_BYTES}


def _key(key: object, what: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(what, f"the key {key!r} is no text; keys of JSON objects are")
    return _text(key, what)


def _text(value: str, what: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(what, f"it has no form in UTF-8: {error.reason}") from error
    # The slice makes a plain string of a member of an enumeration, and costs nothing.
    return value[:]


def _integer(value: int, what: str) -> int:
    if not _SMALLEST <= value <= _LARGEST:
        shown = f" {value}" if value.bit_length() <= _SHOWN_BITS else ""
        raise InvalidInput(
            what, f"the integer{shown} does not fit into 64 bits; write it as a string"
        )
    return int(value)


def _number(value: float, what: str) -> float:
    if not isfinite(value):
        raise InvalidInput(what, f"it is {value}, which JSON has no form for")
    return float(value)


def _deeper(depth: int, what: str) -> int:
    if depth >= DEPTH_LIMIT:
        # The path to here is long by now, and its end says nothing.
        raise InvalidInput(what[:200], f"it is nested more than {DEPTH_LIMIT} levels deep")
    return depth + 1
