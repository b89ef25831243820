"""From an exception to the value that tells of it elsewhere."""

import traceback
from types import TracebackType
from typing import Any, Final

from flow import codec
from flow.errors import FlowError, InvalidInput
from flow.failure import Failure
from flow.names import MESSAGE_LIMIT, TRACEBACK_LIMIT

__all__ = ["failure_of"]

_ERRORS: Final = "flow.errors"
_FIELDS_LIMIT: Final = 8 * 1024

# Who may stand between us and a handler. What comes after its first frame is kept as it is.
_PLUMBING: Final = frozenset(
    {"anyio", "asyncio", "concurrent", "contextvars", "flow", "sniffio", "threading"},
)


def failure_of(error: BaseException) -> Failure:
    """Return an exception as a value that travels and is kept.

    The traceback begins at the handler's frame: how we came to call it helps nobody.

    Args:
        error: What a handler raised, or what was raised on the way to it. It is not changed.
    """
    return Failure(
        type=_plain(_qualified(type(error))),
        message=_plain(_text(error))[:MESSAGE_LIMIT],
        traceback=_plain(_traceback(error))[-TRACEBACK_LIMIT:],
        fields=_fields(error),
    )


def _qualified(kind: type[BaseException]) -> str:
    # Ours are known by where users import them from; which file holds them may change.
    module = _ERRORS if kind.__module__.startswith(f"{_ERRORS}.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is the user's __str__, and may do anything
        return f"(the text of the {type(error).__name__} cannot be shown)"


def _traceback(error: BaseException) -> str:
    frames = _handler_frames(error.__traceback__)
    return "" if frames is None else "".join(traceback.format_exception(type(error), error, frames))


def _handler_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None:
        module = str(frames.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _PLUMBING:
            return frames
        frames = frames.tb_next
    return None


def _plain(text: str) -> str:
    """Return text without lone surrogates, which JSON cannot hold; file names may have some."""
    return text.encode("utf-8", "backslashreplace").decode()


def _fields(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, FlowError):
        return {}
    fields: dict[str, Any] = codec.encode_error(error)["fields"]
    try:
        small = len(codec.dumps(fields)) <= _FIELDS_LIMIT
    except InvalidInput:
        # A user's own error may hold anything. Its text has to do.
        return {}
    return fields if small else {}
