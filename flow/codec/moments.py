"""Moments as RFC 3339 text: what people read in a report, and programs in any language parse."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from flow.errors import InvalidInput

__all__ = ["decode_moment", "encode_moment", "moment_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECOND: Final = 1_000
_FORM: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_RULE: Final = "write it as RFC 3339 says, such as 2026-06-17T10:30:00.123Z"
_SHOWN: Final = 40


def moment_of(at_ms: int, what: str) -> datetime:
    """Return a moment as a datetime in UTC.

    Args:
        at_ms: Milliseconds since 1970.
        what: What it is, for the error.

    Raises:
        InvalidInput: It lies outside of the years 1 to 9999.
    """
    try:
        return _EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError as error:
        reason = f"{at_ms} ms since 1970 is outside of the years 1 to 9999"
        raise InvalidInput(what, reason) from error


def encode_moment(at_ms: int, what: str) -> str:
    """Return a moment in UTC, such as `2026-06-17T10:30:00.5Z`: no digit more than it needs.

    Args:
        at_ms: Milliseconds since 1970.
        what: What it is, for the error.

    Raises:
        InvalidInput: It lies outside of the years 1 to 9999.
    """
    whole = moment_of(at_ms, what).replace(microsecond=0, tzinfo=None).isoformat()
    fraction = f".{at_ms % _SECOND:03}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"


def decode_moment(text: object, what: str) -> int:
    """Return the milliseconds since 1970 that RFC 3339 text stands for.

    Args:
        text: The text, in any time zone. What is finer than a millisecond is cut off.
        what: What it is, for the error.

    Raises:
        InvalidInput: It is something else.
    """
    if not isinstance(text, str):
        raise InvalidInput(what, f"it is no text; {_RULE}")
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidInput(what, f"{text[:_SHOWN]!r} is no moment; {_RULE}")
    day, second, fraction, zone = found.groups()
    milliseconds = int((fraction or "")[:3].ljust(3, "0"))
    try:
        whole = datetime.fromisoformat(f"{day}T{second}{zone.upper()}")
        return (whole - _EPOCH) // _MILLISECOND + milliseconds
    except (ValueError, OverflowError) as error:
        raise InvalidInput(what, f"{text[:_SHOWN]!r} is no moment: {error}; {_RULE}") from error
