"""Failures and errors as JSON objects, so that they are the same on the other side."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from flow import errors
from flow.errors import FlowError
from flow.failure import RUN, Failure
from flow.names import MESSAGE_LIMIT, TRACEBACK_LIMIT

__all__ = ["decode_error", "decode_failure", "encode_error", "encode_failure"]

_BEFORE_THE_RUN: Final = frozenset({"request", "validate", "prepare"})
_ERRORS: Final[dict[str, type[FlowError]]] = {
    name: item
    for name, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, FlowError)
}


def encode_failure(failure: Failure) -> dict[str, Any]:
    """Return a failure as a JSON object, without its empty fields.

    Args:
        failure: The failure. Long texts are cut.
    """
    document: dict[str, Any] = {
        "type": failure.type,
        "message": failure.message[:MESSAGE_LIMIT],
    }
    if failure.traceback:
        document["traceback"] = failure.traceback[-TRACEBACK_LIMIT:]
    if failure.step:
        document["step"] = failure.step
    if failure.fields:
        document["fields"] = dict(failure.fields)
    if failure.phase != RUN:
        document["phase"] = failure.phase
    return document


def decode_failure(document: object) -> Failure:
    """Return the failure that a JSON value describes, however badly it does.

    A worker in another language may send anything: what is missing is made up for, because a
    failure that cannot be read is a failure still.

    Args:
        document: A JSON value.
    """
    if not isinstance(document, Mapping):
        return Failure("Error", str(document)[:MESSAGE_LIMIT])
    details = document.get("fields")
    phase = document.get("phase")
    return Failure(
        type=str(document.get("type") or "Error")[:200],
        message=str(document.get("message") or "")[:MESSAGE_LIMIT],
        traceback=str(document.get("traceback") or "")[-TRACEBACK_LIMIT:],
        step=str(document.get("step") or "")[:400],
        fields=dict(details) if isinstance(details, Mapping) else {},
        # What is not known to be before it counts as the run, which may have had an effect.
        phase=phase if isinstance(phase, str) and phase in _BEFORE_THE_RUN else RUN,
    )


def encode_error(error: FlowError) -> dict[str, Any]:
    """Return one of our errors as a JSON object.

    Args:
        error: The error. Its fields are JSON values.
    """
    values: dict[str, Any] = (
        {item.name: getattr(error, item.name) for item in fields(error)}
        if is_dataclass(error)
        else {}
    )
    return {"type": type(error).__name__, "message": str(error), "fields": values}


def decode_error(document: Mapping[str, Any]) -> FlowError:
    """Return the error that a JSON object describes.

    Args:
        document: What `encode_error` made. An error that this program does not know becomes a
            plain FlowError with the same message.
    """
    message = str(document.get("message") or "")
    kind = _ERRORS.get(str(document.get("type")), FlowError)
    if not is_dataclass(kind):
        return kind(message)
    values = document.get("fields")
    given: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
    known = {item.name for item in fields(kind)}
    try:
        error: FlowError = kind(**{name: given[name] for name in known & given.keys()})
        str(error)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):
        # A field is missing or odd: it comes from another version. Its message says what it is.
        return FlowError(message)
    return error
