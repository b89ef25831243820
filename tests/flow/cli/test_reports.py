"""Reports as pages."""

import os
import time
from collections.abc import Generator
from dataclasses import replace

import pytest
from rich.text import Text

from flow.cli.output import Output
from flow.cli.reports import report_page
from flow.failure import Failure
from flow.report import Report, StepReport
from flow.status import Status
from tests.flow.cli.console import GOLDEN
from tests.flow.reports import trip

EMPTY = Report(workflow="trip", execution="trip-8", status=Status.PENDING)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let it be the same time here as in Greenwich."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(report: Report, width: int | None) -> str:
    """Return a page as plain text, as a golden file has it."""
    return "".join(f"{line.plain}\n" for line in report_page(report, width))


def expect_page(name: str, text: str) -> None:
    """Compare a page with its golden file to the letter; write it if the environment asks."""
    path = GOLDEN / f"report-{name}.txt"
    if os.environ.get("FLOW_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def styles(line: Text) -> set[str]:
    """Return the colours of a line."""
    return {str(span.style) for span in line.spans}


@pytest.mark.parametrize(("name", "width"), [("whole", None), ("80", 80), ("50", 50)])
def test_pages(name: str, width: int | None) -> None:
    """A report with sub-workflow, failures, undos and an incident is as in the golden file."""
    page = shown(trip(), width)
    expect_page(name, page)
    assert width is None or all(len(line) <= width for line in page.splitlines())


def test_nothing_has_happened() -> None:
    """A report without entries says so."""
    assert shown(EMPTY, 80).splitlines() == [
        "trip-8  trip  PENDING",
        "on error stop, on undo error continue",
        "nothing has happened yet",
    ]


def test_what_has_no_end_has_no_length() -> None:
    """An entry that is not over shows no time, and neither does its execution."""
    begun = replace(trip().steps[0], ended_ms=None, status=Status.RUNNING, metadata={})
    report = replace(trip(), steps=(begun,), ended_ms=None, failure=None, incident="")
    assert shown(report, 80).splitlines() == [
        "trip-7  trip  FAILURE  started 2026-06-17 10:30:00.123",
        "on error compensate, on undo error continue",
        "STEP       ACTION  STATUS   ATTEMPTS  TOOK",
        "└─ flight  run     RUNNING  1",
    ]


def test_long_texts_are_cut() -> None:
    """Names and texts of any length, and control characters, leave a page of 80 columns whole."""
    failure = Failure("x." + "Long" * 50, "why " * 500 + "\nmore", step="s" * 200)
    entry = StepReport(
        step="s" * 200,
        action="run",
        status=Status.FAILURE,
        failure=failure,
        reason="\x1b[2J" + "r" * 300,
        metadata={"k" * 300: 1},
    )
    inner = replace(EMPTY, steps=(entry,), incident="i" * 300)
    outer = StepReport(step="車" * 60, action="run", status=Status.FAILURE, report=inner)
    report = replace(EMPTY, steps=(outer, entry), failure=failure, incident="i" * 300)
    page = report_page(report, 80)
    assert max(line.cell_len for line in page) == 80
    assert "\x1b" not in shown(report, 80)
    assert shown(report, 80).count("…") == 8
    assert "more" not in shown(report, None)
    assert len(shown(report, None)) > 8_000


def test_only_another_step_is_blamed() -> None:
    """A failure names the step that is to blame, unless it is the very step of the line."""
    own = replace(trip().steps[1], failure=Failure("x.Odd", "no", step="hotel"))
    other = replace(own, failure=Failure("x.Odd", "no", step="room"))
    lines = shown(replace(trip(), steps=(own, other)), None).splitlines()
    assert lines[3].endswith("1.0 s  Odd: no")
    assert lines[4].endswith("1.0 s  step 'room': Odd: no")


def test_a_failure_without_words() -> None:
    """A failure that says nothing still has its type, and one that has none shows nothing."""
    entry = replace(trip().steps[1], failure=Failure("x.Odd", "", step="hotel"))
    assert shown(replace(trip(), steps=(entry,)), 80).splitlines()[3].endswith("  Odd")
    nothing = replace(entry, failure=Failure("", ""))
    assert shown(replace(trip(), steps=(nothing,)), 80).splitlines()[3].endswith("  1.0 s")


def test_colours() -> None:
    """Statuses, undos and failures have their colours."""
    page = report_page(trip())
    assert "bold red" in styles(page[0])
    assert {"green", "dim"} <= styles(page[3])
    assert {"red", "bold red"} <= styles(page[7])
    assert {"green", "magenta"} <= styles(page[8])
    assert "red" in styles(page[-1])


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A page is what a command prints line by line."""
    Output().lines(report_page(trip(), 80))
    assert capsys.readouterr().out == shown(trip(), 80)
