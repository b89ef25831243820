"""Times as people say them."""

import time

import pytest

from flow.cli.times import ago, moment, took


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [
        (-5, "0 ms"),
        (999, "999 ms"),
        (1_240, "1.2 s"),
        (12_900, "12 s"),
        (60_000, "1 min"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
        (100_000_000, "1 d 3 h"),
    ],
)
def test_a_span_has_at_most_two_units(span_ms: int, text: str) -> None:
    """A length of time is told in the units that matter."""
    assert took(span_ms) == text


@pytest.mark.parametrize(
    ("past_ms", "text"),
    [
        (-1, "just now"),
        (1_999, "just now"),
        (59_000, "59 s ago"),
        (119_000, "1 min ago"),
        (3_600_000, "1 h ago"),
        (200_000_000, "2 d ago"),
    ],
)
def test_the_past_has_one_unit(past_ms: int, text: str) -> None:
    """How long ago something was is told in its largest unit."""
    assert ago(1_000_000_000, 1_000_000_000 + past_ms) == text


def test_a_moment_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment is told in the time of the machine, east or west of Greenwich."""
    try:
        for zone, text in (("UTC", "06:42"), ("EST5", "01:42"), ("CET-1", "07:42")):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert moment(1_795_329_721_032) == f"2026-11-22 {text}:01.032"
    finally:
        monkeypatch.undo()
        time.tzset()
