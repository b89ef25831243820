"""Typed values as JSON and back, with pydantic, and its complaints in plain words."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import ErrorDetails, PydanticSerializationError, SchemaError

from flow import codec
from flow.errors import InvalidInput
from flow.message import Message
from flow.names import BODY_LIMIT

__all__ = [
    "UnsuitableType",
    "adapter_of",
    "decode_result",
    "encode_value",
    "plain_body",
    "plain_results",
    "plain_values",
    "problems",
    "to_json",
    "type_name",
    "value_of",
]

PROBLEMS_LIMIT: Final = 5
"""How many problems of one body are told; the rest is counted."""
_SHOWN_LIMIT: Final = 40
_CACHED_TYPES: Final = 1024
_MODULES: Final = re.compile(r"(?:\b[A-Za-z_]\w*\.|<locals>\.)+(?=[A-Za-z_])")

_ANYTHING: Final[TypeAdapter[Any]] = TypeAdapter(Any)
_PLAIN: Final = frozenset({type(None), bool, int, float, str})


class UnsuitableType(Exception):
    """Pydantic cannot work with a type. The text says why."""


def adapter_of(annotation: Any, names: Mapping[str, Any] | None = None) -> TypeAdapter[Any]:
    """Return what reads and writes the values of a type.

    Args:
        annotation: The type, as it stands in an annotation.
        names: What names in it may refer to that are known only where it is used.

    Raises:
        UnsuitableType: Pydantic does not know how.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if not adapter.pydantic_complete:
            # A class inside refers to names that its own module does not have.
            adapter.rebuild(force=True, _types_namespace=dict(names or {}))
        return adapter
    except (
        PydanticUserError,
        SchemaError,
        AttributeError,
        NameError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = f" ({_one_line(error).partition('. ')[0]})"
        if isinstance(error, PydanticSchemaGenerationError):
            # Its text speaks of schemas, of which a user need not know. The type says it all.
            reason = ""
        raise UnsuitableType(f"{type_name(annotation)}{reason}") from error


def plain_values(annotation: object) -> frozenset[type]:
    """Return the types of JSON values that need no validation: these *are* values of a type.

    Args:
        annotation: The type.
    """
    if annotation is Any:
        # An integer of more than 64 bits is a float to the codec, and an integer to pydantic.
        return _PLAIN - {float}
    return plain_results(annotation)


def plain_results(annotation: object) -> frozenset[type]:
    """Return the types of results that `plain_body` can write, if that is how a type is written.

    Args:
        annotation: The type.
    """
    if annotation is Any:
        return _PLAIN
    # By identity: whatever else equals a type, or hashes as it does, may be validated otherwise.
    return frozenset(kind for kind in _PLAIN if annotation is kind)


def plain_body(value: object) -> bytes | None:
    """Return a plain value as a body; None if it may not be one, which the long way tells better.

    Args:
        value: None, a boolean, a number or a string; no subclass of these.
    """
    try:
        text = codec.dumps(value)
    except InvalidInput:
        return None
    return text if len(text) <= BODY_LIMIT else None


def decode_result(returns: object, body: bytes, what: str = "the result") -> Any:
    """Return the value of a type that a body stands for.

    Args:
        returns: The type; `Any` for what JSON says, and `Message` for the body as it is.
        body: The JSON text.
        what: What it is, for the error.

    Raises:
        InvalidInput: It is not JSON, or not of that type; or there is no reading that type.
    """
    if returns is Message:
        return Message(body=body)
    value = codec.loads(body, what)
    if returns is Any or (type(value) is returns and type(value) in _PLAIN):
        return value
    try:
        return _known_adapter(returns).validator.validate_json(body)
    except ValidationError as error:
        declared = f"it is expected to be {type_name(returns)}, but "
        raise InvalidInput(what, declared + problems(error)) from error
    except UnsuitableType as error:
        raise InvalidInput(what, f"it cannot be read as {error}") from error


def value_of(returns: object, value: Any, what: str) -> Any:
    """Return the value of a type that a JSON value stands for.

    Args:
        returns: The type; `Any` for the value as it is, and `Message` for it as a body.
        value: What was read from JSON.
        what: What it is, for the error.

    Raises:
        InvalidInput: It is not of that type, or there is no reading that type.
    """
    if returns is Any or (type(value) is returns and type(value) in _PLAIN):
        return value
    return decode_result(returns, codec.dumps(value), what)


def encode_value(value: object, what: str = "the input") -> bytes:
    """Return a value as JSON: a body.

    Args:
        value: A model, a dataclass, a collection of these, a builtin value: whatever pydantic
            can write. Of a Message it is the body.
        what: What it is, for the error.

    Raises:
        InvalidInput: JSON has no form for it.
        TooLarge: It has more than BODY_LIMIT bytes.
    """
    if type(value) in _PLAIN and (body := plain_body(value)) is not None:
        return body
    if isinstance(value, Message):
        return codec.check_body(value.body, what)
    return to_json(_ANYTHING, value, what)


def to_json(adapter: TypeAdapter[Any], value: object, what: str) -> bytes:
    """Return a value as a body.

    Args:
        adapter: Writes the values of its type. Fields are called by their aliases, because that
            is how they are read again.
        value: The value.
        what: What it is, for the error.

    Raises:
        InvalidInput: JSON has no form for it, NaN and infinite numbers included.
        TooLarge: It has more than BODY_LIMIT bytes.
    """
    try:
        text = adapter.serializer.to_json(value, by_alias=True, warnings="error")
    except (PydanticSerializationError, RecursionError) as error:
        raise InvalidInput(what, f"it cannot be written as JSON: {_cause(error)}") from error
    codec.check_body(text, what)
    if b"null" in text:
        # Pydantic writes NaN as null, so each null needs a second look at where it came from.
        plain = adapter.dump_python(value, by_alias=True, warnings=False)
        codec.expect_finite(plain, what)
    return text


def problems(error: ValidationError, root: str = "") -> str:
    """Return what pydantic found wrong, as a sentence that names the fields.

    Args:
        error: What pydantic raised.
        root: What the value as a whole is called, or an empty string.
    """
    found = error.errors(include_url=False)
    told = "; ".join(_problem(item, root) for item in found[:PROBLEMS_LIMIT])
    more = len(found) - PROBLEMS_LIMIT
    return f"{told}; and {more:,} more" if more > 0 else told


def type_name(annotation: object) -> str:
    """Return a type as a user would write it.

    Args:
        annotation: The type.
    """
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return "None" if annotation is type(None) else annotation.__name__
    return _MODULES.sub("", str(annotation))


@lru_cache(maxsize=_CACHED_TYPES)
def _hashable_adapter(annotation: object) -> TypeAdapter[Any]:
    return adapter_of(annotation)


def _known_adapter(annotation: object) -> TypeAdapter[Any]:
    try:
        hash(annotation)
    except TypeError:
        # Metadata in an annotation may be anything, a list for example.
        return adapter_of(annotation)
    return _hashable_adapter(annotation)


def _problem(item: ErrorDetails, root: str) -> str:
    place = _place(item["loc"], root)
    message = item["msg"]
    if item["type"] == "missing":
        return f"{place} is missing"
    if item["type"] in {"value_error", "assertion_error"}:
        # The text of a user's own validator, without pydantic's "Value error, " before it.
        message = str(item.get("ctx", {}).get("error", message))
    shown = f"(it is {_shown(item['input'])})"
    if message.startswith("Input should "):
        return f"{place} {message.removeprefix('Input ')} {shown}"
    return f"{place}: {message} {shown}"


def _place(location: Sequence[int | str], root: str) -> str:
    text = root
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "it"


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float() | str():
            text = repr(value)
            return text if len(text) <= _SHOWN_LIMIT else f"{text[:_SHOWN_LIMIT]}…"
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return f"of type {type(value).__name__}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _cause(error: Exception) -> str:
    # Pydantic wraps an error that it meets deeper inside.
    text = _one_line(error).removeprefix("Error serializing to JSON: ")
    return text.removeprefix("PydanticSerializationError: ")
