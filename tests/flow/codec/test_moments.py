"""Moments as text: RFC 3339 in UTC, to the millisecond."""

import pytest
from hypothesis import given, strategies as st

from flow.codec.moments import decode_moment, encode_moment, moment_of
from flow.errors import InvalidInput

FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999


@given(st.integers(FIRST_MS, LAST_MS))
def test_every_moment_comes_back(at_ms: int) -> None:
    """Every millisecond of the years 1 to 9999 survives the way to text and back."""
    text = encode_moment(at_ms, "it")
    assert decode_moment(text, "it") == at_ms
    assert text[:4] == f"{moment_of(at_ms, 'it').year:04}"


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (500, "1970-01-01T00:00:00.5Z"),
        (120, "1970-01-01T00:00:00.12Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (FIRST_MS, "0001-01-01T00:00:00Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_no_digit_is_written_in_vain(at_ms: int, text: str) -> None:
    """A fraction is as long as it needs to be, and left out if it is nothing."""
    assert encode_moment(at_ms, "it") == text
    assert decode_moment(text, "it") == at_ms


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T19:30:00.25-04:30", 250),
        ("1970-01-01t00:00:01z", 1_000),
        ("1970-01-01 00:00:01Z", 1_000),
        ("1970-01-01T00:00:00.000999999Z", 0),
        ("1969-12-31T23:59:59.9995Z", -1),
    ],
)
def test_other_forms_are_read(text: str, at_ms: int) -> None:
    """Other time zones, small letters and finer fractions are read; what is finer is cut off."""
    assert decode_moment(text, "it") == at_ms


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (0, "it is no text"),
        (None, "it is no text"),
        ("", "is no moment"),
        ("2026-06-17", "is no moment"),
        ("2026-06-17T10:30:00", "is no moment"),
        ("2026-06-17T10:30Z", "is no moment"),
        ("2026-W25-3T10:30:00Z", "is no moment"),
        ("2026-02-30T10:30:00Z", "day is out of range"),
        ("2026-06-17T10:30:61Z", "second must be in"),
        ("2026-06-17T10:30:00.Z", "is no moment"),
        ("2026-06-17T10:30:00Z\n", "is no moment"),
        ("٢026-06-17T10:30:00Z", "is no moment"),
        ("2026-06-17T10:30:00+25:00", "offset must be"),
    ],
)
def test_anything_else_is_refused(text: object, wrong: str) -> None:
    """What is no moment is refused, with an example of what would be right."""
    with pytest.raises(InvalidInput) as found:
        decode_moment(text, "report.started")
    assert found.value.what == "report.started"
    assert wrong in found.value.reason
    assert found.value.reason.endswith("such as 2026-06-17T10:30:00.123Z")


@pytest.mark.parametrize("at_ms", [FIRST_MS - 1, LAST_MS + 1, 10**30])
def test_a_moment_outside_of_the_calendar_is_refused(at_ms: int) -> None:
    """A moment before the year 1 or after the year 9999 has no text."""
    with pytest.raises(InvalidInput, match="outside of the years 1 to 9999"):
        encode_moment(at_ms, "it")
