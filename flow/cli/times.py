"""Times as people say them."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["ago", "moment", "took"]

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_NOW: Final = 2 * _SECOND
_TENTHS: Final = 10 * _SECOND


def took(span_ms: int) -> str:
    """Return a length of time in at most two units, such as `1.2 s` or `3 min 20 s`.

    Args:
        span_ms: Milliseconds; less than nothing counts as nothing.
    """
    span_ms = max(span_ms, 0)
    if span_ms < _SECOND:
        return f"{span_ms} ms"
    if span_ms < _TENTHS:
        return f"{span_ms / _SECOND:.1f} s"
    if span_ms < _MINUTE:
        return f"{span_ms // _SECOND} s"
    if span_ms < _HOUR:
        return _two(span_ms, _MINUTE, "min", _SECOND, "s")
    if span_ms < _DAY:
        return _two(span_ms, _HOUR, "h", _MINUTE, "min")
    return _two(span_ms, _DAY, "d", _HOUR, "h")


def ago(then_ms: int, now_ms: int) -> str:
    """Return how long ago something was, in its largest unit.

    Args:
        then_ms: When, in milliseconds since 1970.
        now_ms: The present.
    """
    past = now_ms - then_ms
    if past < _NOW:
        return "just now"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if past >= unit:
            return f"{past // unit} {name} ago"
    return f"{past // _SECOND} s ago"


def moment(at_ms: int) -> str:
    """Return a moment in the time of this machine, to the millisecond.

    Args:
        at_ms: Milliseconds since 1970.
    """
    local = datetime.fromtimestamp(at_ms // _SECOND, tz=UTC).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{at_ms % _SECOND:03}"


def _two(span_ms: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = span_ms % large // small
    more = f" {rest} {small_name}" if rest else ""
    return f"{span_ms // large} {large_name}{more}"
