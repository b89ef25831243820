"""The command line: which benchmarks run, how often, and what is written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.suite import Benchmark, Goal, Measurement, Session

GOAL = Goal("row", "ms", most=1)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Replace all benchmarks by two that only note that they ran, in the list that is given."""
    ran: list[str] = []

    def measure(name: str, session: Session) -> Iterator[Measurement]:
        ran.append(f"{name} {session.round}")
        yield Measurement("row", {"ms": float(session.round)})

    found = {
        "a": Benchmark("a", "Many", lambda session: measure("a", session), goals=(GOAL,)),
        "b": Benchmark("b", "Once", lambda session: measure("b", session), rounds=1),
    }
    monkeypatch.setattr(command, "BENCHMARKS", found)
    monkeypatch.setattr(command, "_load", lambda: None)
    monkeypatch.setattr(command, "DOCUMENT", tmp_path / "benchmarks.md")
    return ran


def test_rounds_are_interleaved(measured: list[str]) -> None:
    """Every round runs all benchmarks in turn, but for those that have fewer rounds."""
    assert command.main(["--rounds", "3"]) == 0
    assert measured == ["a 1", "b 1", "a 2", "a 3"]
    document = command.DOCUMENT.read_text()
    assert "## Many\n\n| what | ms |\n| --- | --: |\n| row | 2.00 [1.00–3.00] |" in document
    assert "Goals:\n\n- ms of row, at most 1: 2.00, **not met**\n\nMedian" in document
    assert "Median [least–most] of 1 round," in document


def test_only_the_chosen_part_is_written(measured: list[str]) -> None:
    """A benchmark that was not chosen keeps its part of the document."""
    command.DOCUMENT.write_text("# Own words\n\n<!-- begin a -->\nold\n<!-- end a -->\n")
    assert command.main(["b", "--rounds", "2"]) == 0
    document = command.DOCUMENT.read_text()
    assert document.startswith("# Own words\n\n<!-- begin a -->\nold\n<!-- end a -->\n")
    assert "<!-- begin b -->\n## Once" in document
    assert measured == ["b 1"]


def test_a_dry_run_writes_nothing(measured: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run prints the table and leaves the document alone."""
    assert command.main(["a", "--rounds", "1", "--dry-run"]) == 0
    assert not command.DOCUMENT.exists()
    assert "| row | 1.00 |" in capsys.readouterr().out


def test_an_unknown_name_is_refused(
    measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A benchmark that does not exist is named, and nothing runs."""
    assert command.main(["c"]) == 2
    assert "'c'; there are a, b" in capsys.readouterr().out
    assert measured == []
