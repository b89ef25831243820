"""Writes rows as Markdown, into the marked parts of a document; the rest of it is left alone."""

import re
from collections.abc import Mapping, Sequence

from benchmarks.suite import Figure, Goal, Row

__all__ = ["number", "replace_part", "table", "verdicts"]


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table: a column for each figure, for each base, and for the cores.

    Args:
        rows: The rows.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row.figures))
    bases = list(dict.fromkeys(_base_of(ratio) for row in rows for ratio in row.ratios))
    has_cores = any(row.cores for row in rows)
    head = ["what", *columns, *bases, *(["cores used"] if has_cores else [])]
    rule = ["---", *["--:"] * len(columns), *["---"] * (len(bases) + has_cores)]
    lines = [_line(head), _line(rule)]
    for row in rows:
        cells = [row.name]
        cells += [_figure(row.figures.get(column)) for column in columns]
        cells += [_ratios(row, base) for base in bases]
        cells += [_cores(row.cores)] if has_cores else []
        lines.append(_line(cells))
    return "\n".join(lines)


def verdicts(rows: Sequence[Row], goals: Sequence[Goal]) -> str:
    """Return a Markdown list of goals, each with what was measured, and whether it is met.

    Args:
        rows: What was measured.
        goals: The goals; those of rows or columns that were not measured are left out.
    """
    found = {row.name: {**row.figures, **row.ratios} for row in rows}
    lines: list[str] = []
    for goal in goals:
        figure = found.get(goal.row, {}).get(goal.column)
        if figure is None:
            continue
        bounds = [f"at least {goal.least:g}"] if goal.least is not None else []
        bounds += [f"at most {goal.most:g}"] if goal.most is not None else []
        met = "met" if goal.is_met_by(figure.median) else "**not met**"
        wanted = f"{goal.column} of {goal.row}, {' and '.join(bounds)}"
        lines.append(f"- {wanted}: {number(figure.median)}, {met}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a number with three significant digits, and thousands apart.

    Args:
        value: The number.
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def replace_part(document: str, name: str, text: str) -> str:
    """Return a document in which the part with a name is another one; at the end if it is new.

    Args:
        document: The document.
        name: The name between its markers.
        text: What the part is to hold.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    part = f"{begin}\n{text.strip()}\n{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(document):
        return found.sub(lambda _: part, document)
    return f"{document.rstrip()}\n\n{part}\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.least == figure.most:
        return number(figure.median)
    return f"{number(figure.median)} [{number(figure.least)}–{number(figure.most)}]"


def _ratios(row: Row, base: str) -> str:
    """Return all ratios of a row to one base, each with what it is a ratio of."""
    found = {what: figure for what, figure in row.ratios.items() if _base_of(what) == base}
    return ", ".join(
        f"**{_figure(figure)}** {what.removesuffix(base).strip()}" for what, figure in found.items()
    )


def _base_of(ratio: str) -> str:
    """Return `÷ floor` of `ms ÷ floor`."""
    return ratio[ratio.index("÷") :]


def _cores(cores: Mapping[str, float]) -> str:
    return ", ".join(f"{group} {used:.2f}" for group, used in cores.items() if used >= 0.005)
