"""Times as people say them."""

import re
from datetime import UTC, datetime
from typing import Final

from flow.errors import ConfigurationError

__all__ = ["ago", "moment", "span_s", "took"]

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_NOW: Final = 2 * _SECOND
_TENTHS: Final = 10 * _SECOND
_SPAN: Final = re.compile(r"([0-9]{1,9})(s|m|min|h|d|w)", re.IGNORECASE)
_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


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


def span_s(option: str, text: str) -> int:
    """Return how many seconds a length of time has that somebody has typed.

    Args:
        option: The option's name.
        text: A number and a unit, such as `30d`, `12h`, `90m` or `45s`.

    Raises:
        ConfigurationError: It is something else.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        rule = "it is a number and a unit (s, m, h, d or w), such as 30d"
        raise ConfigurationError(f"{option} {text}", rule)
    return int(found[1]) * _UNITS[found[2].lower()]


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
