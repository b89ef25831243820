"""`flow doctor`: looks at everything that a flow needs, and says what to do about what is wrong."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from flow.cli.checks import look_at_broker, look_at_flow, look_at_machine, look_at_store
from flow.cli.failures import Exit, one_line
from flow.cli.options import Where, output_of
from flow.cli.output import aligned
from flow.cli.project import Project, find_project
from flow.cli.target import Target, find
from flow.config import MEMORY
from flow.errors import FlowError
from flow.ports import Finding, Level

__all__ = ["Section", "doctor", "page"]

_STYLES: Final = {Level.FINE: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
_WORDS: Final = {Level.FINE: "ok", Level.WARNING: "warning", Level.PROBLEM: "problem"}


@dataclass(frozen=True, slots=True)
class Section:
    """Findings that belong together.

    Args:
        title: What was looked at.
        findings: What came of it.
    """

    title: str
    findings: Sequence[Finding]


def doctor(*, where: Where | None = None) -> int:
    """Check the broker, the store and this machine, and say what to do about what is wrong.

    Nothing is changed.

    Args:
        where: Which flow, and how to print.
    """
    output = output_of(where)
    sections = asyncio.run(_examine(where))
    problems = sum(each.level is Level.PROBLEM for section in sections for each in section.findings)
    if output.is_json:
        output.data({"problems": problems, "findings": _documents(sections)})
    else:
        output.lines(page(sections))
    return Exit.FAILED if problems else Exit.OK


def page(sections: Sequence[Section]) -> list[Text]:
    """Return findings as lines for people.

    Args:
        sections: The findings.
    """
    lines: list[Text] = []
    for section in sections:
        rows: list[tuple[Text | str, ...]] = []
        for finding in section.findings:
            word = Text(_WORDS[finding.level], _STYLES[finding.level])
            rows.append(("", word, finding.subject, one_line(finding.detail)))
            if finding.advice:
                rows.append(("", "", "", Text(f"→ {one_line(finding.advice)}", "bold")))
        lines += [Text(section.title, "bold"), *aligned(rows)]
    return [*lines, Text(_summary(sections))]


async def _examine(where: Where | None) -> list[Section]:
    target: Target | None = None
    project = Project(Path.cwd())
    unclear: list[Finding] = []
    try:
        project = find_project()
        target = find(where)
    except FlowError as error:
        unclear = [Finding(Level.PROBLEM, "which flow", one_line(str(error)))]
    machine = look_at_machine(None if target is None else target.settings, project)
    sections = [Section("this machine", [*machine, *unclear])]
    if target is None:
        return sections
    settings = target.settings
    broker: Sequence[Finding] = ()
    if settings.broker.scheme != MEMORY:
        broker = await look_at_broker(settings, target.name)
        sections.append(Section(f"broker {settings.broker}", broker))
    store = "none" if settings.store is None else str(settings.store)
    sections.append(Section(f"store {store}", await look_at_store(target)))
    sections.append(Section(f"flow {target.name}", await look_at_flow(target, broker)))
    return sections


def _summary(sections: Sequence[Section]) -> str:
    levels = [finding.level for section in sections for finding in section.findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if not problems and not warnings:
        return "all is well"
    return f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _documents(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [
        {
            "section": section.title,
            "level": finding.level.value,
            "subject": finding.subject,
            "detail": finding.detail,
            "advice": finding.advice,
        }
        for section in sections
        for finding in section.findings
    ]
