"""Reports as pages for people: a line for each run and each undo, sub-workflows as branches."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rich.text import Text

from flow.cli.failures import one_line
from flow.cli.output import aligned, status_text
from flow.cli.times import moment, took
from flow.failure import Failure
from flow.report import Report, StepReport

__all__ = ["report_page"]

_HEADER: Final = ("STEP", "ACTION", "STATUS", "ATTEMPTS", "TOOK")
_GAP: Final = 2
_NAME_SHARE: Final = 3
"""A step's name may take up to a third of the width."""
_SHORTEST: Final = 12
"""What a cell keeps, however narrow the page is."""
_ACTIONS: Final = {"undo": "magenta", "prepare": "dim"}


def report_page(report: Report, width: int | None = None) -> list[Text]:
    """Return a report as a tree, a line for each thing that happened.

    What there is to say about an entry stands behind it; below it, if the line would be too long.

    Args:
        report: The report.
        width: How long a line may be: longer names and texts are cut. None if nothing is to be
            cut.
    """
    lines = [_headline(report), _modes(report)]
    branches = list(_branches(report, ""))
    rows = [_row(guide, entry, width) for guide, _, entry in branches]
    heads = aligned(rows, _HEADER) if rows else [Text("nothing has happened yet", "dim")]
    column = max(head.cell_len for head in heads) + _GAP
    lines.append(heads[0])
    for head, (_, below, entry) in zip(heads[1:], branches, strict=True):
        lines += _told(head, Text("  ").join(_details(entry)), column, below, width)
    facts: list[tuple[Text, Text]] = []
    if report.failure is not None:
        facts.append((Text("failure", "dim"), Text(_first_line(report.failure), "red")))
    if report.incident:
        facts.append((Text("incident", "dim"), Text(one_line(report.incident), "red")))
    return [_cut(line, width) for line in [*lines, *aligned(facts)]]


def _headline(report: Report) -> Text:
    line = Text.assemble(
        (one_line(report.execution), "bold"),
        f"  {one_line(report.workflow)}  ",
        status_text(report.status.value),
    )
    if report.started_ms is not None:
        line.append(f"  started {moment(report.started_ms)}")
    if span := _span(report):
        line.append(f", took {span}")
    return line


def _modes(report: Report) -> Text:
    return Text(f"on error {report.on_error}, on undo error {report.on_undo_error}", "dim")


def _branches(report: Report, guide: str) -> Iterator[tuple[str, str, StepReport]]:
    """Yield every entry with what stands before its name, and with what stands below that."""
    for number, entry in enumerate(report.steps, start=1):
        is_last = number == len(report.steps)
        inner = f"{guide}{'   ' if is_last else '│  '}"
        nested = () if entry.report is None else tuple(_branches(entry.report, inner))
        yield f"{guide}{'└─' if is_last else '├─'} ", f"{inner}{'│  ' if nested else '   '}", entry
        yield from nested


def _row(guide: str, entry: StepReport, width: int | None) -> tuple[Text | str, ...]:
    name = Text.assemble((guide, "dim"), one_line(entry.step))
    return (
        _cut(name, None if width is None else max(width // _NAME_SHARE, len(guide) + _SHORTEST)),
        Text(entry.action, _ACTIONS.get(entry.action, "")),
        status_text(entry.status.value),
        str(entry.attempts) if entry.attempts else "",
        _span(entry),
    )


def _told(head: Text, told: Text, column: int, below: str, width: int | None) -> list[Text]:
    """Return an entry's line with what there is to say, on a second line if it is long."""
    if not told:
        return [head]
    if width is not None and column + told.cell_len > width:
        return [head, Text.assemble((below, "dim"), told)]
    return [head.append(" " * (column - head.cell_len)).append_text(told)]


def _span(timed: Report | StepReport) -> str:
    if timed.started_ms is None or timed.ended_ms is None:
        return ""
    return took(timed.ended_ms - timed.started_ms)


def _details(entry: StepReport) -> Iterator[Text]:
    """Yield what there is to say about an entry beside how it is."""
    if entry.failure is not None:
        failure = entry.failure
        # The step that is to blame is named only if it is another one, further inside.
        own = replace(failure, step="") if failure.step == entry.step else failure
        yield Text(_first_line(own), "red")
    if entry.reason:
        yield Text(one_line(entry.reason), "dim")
    if entry.report is not None and entry.report.incident:
        yield Text(f"incident: {one_line(entry.report.incident)}", "red")
    if entry.metadata:
        yield Text(f"with {', '.join(map(one_line, entry.metadata))}", "dim")


def _first_line(failure: Failure) -> str:
    lines = str(failure).strip().splitlines()
    return one_line(lines[0]) if lines else ""


def _cut(text: Text, width: int | None) -> Text:
    """Cut a text that is too long, so that it ends in an ellipsis."""
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text
