"""Tests of `flow.testing.simulation.trace`: what happened, and its hash."""

from __future__ import annotations

from flow.testing.simulation import Trace, TraceLine

LINES = [(0.5, "", "fault", "x"), (1.25, "a", "publish", "y"), (1.25, "b", "ack", "")]


def trace(lines: list[tuple[float, str, str, str]], kept: int = 10) -> Trace:
    """Return a trace of some lines."""
    made = Trace(kept)
    for line in lines:
        made.note(*line)
    return made


def test_lines_are_kept_in_order() -> None:
    """Every line is there as it was noted, and is printed for people."""
    made = trace(LINES)
    assert made.lines == [TraceLine(*line) for line in LINES]
    assert str(made.lines[0]) == "    0.500000  -                fault                x"
    assert str(made.lines[1]) == "    1.250000  a                publish              y"


def test_only_the_last_lines_are_kept() -> None:
    """Old lines go, but they still count, and the hash is of all of them."""
    short, long = trace(LINES, kept=1), trace(LINES)
    assert [line.what for line in short.lines] == ["ack"]
    assert short.count == long.count == 3
    assert short.hash == long.hash


def test_the_hash_sees_everything() -> None:
    """Another order, time, place, kind or detail is another hash."""
    others = [
        LINES[::-1],
        LINES[:2],
        [(0.5000001, *LINES[0][1:]), *LINES[1:]],
        [(0.5, "c", "fault", "x"), *LINES[1:]],
        [(0.5, "", "faults", "x"), *LINES[1:]],
        [(0.5, "", "fault", "z"), *LINES[1:]],
    ]
    hashes = [trace(lines).hash for lines in [LINES, *others]]
    assert len(set(hashes)) == len(hashes)
    assert trace(LINES).hash == hashes[0]
