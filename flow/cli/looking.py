"""`flow list`, `flow show`, `flow report` and `flow history`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cyclopts import Parameter
from rich.live import Live
from rich.text import Text as RichText

from flow.cli.failures import Exit
from flow.cli.options import Flag, Ids, Many, Text, Where, output_of, pairs, statuses
from flow.cli.output import Output
from flow.cli.pages import changes, execution_list, execution_page, history_page
from flow.cli.reports import report_page
from flow.cli.session import Mode, Session, reading
from flow.cli.target import find
from flow.clock import SystemClock, sleep
from flow.errors import ConfigurationError, InvalidOption
from flow.report import Report
from flow.runtime.tasks import TaskGroup
from flow.status import Status

__all__ = ["ListOptions", "history", "list_executions", "report", "show"]

LIMIT: Final = 10_000
"""How many executions are listed at most."""
_LOOK_AGAIN_S: Final = 1.0
_NOT_RUNNING: Final = "note: no process runs this flow at the moment, so nothing will change"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which executions to list.

    Args:
        status: Only of these statuses, such as running or failure.
        workflow: Only of this workflow.
        label: Only with this label: NAME=VALUE. May be given more than once.
        incidents: Only those that a person has to look at.
        limit: How many at most.
    """

    status: Many = ()
    workflow: Text = ""
    label: Many = ()
    incidents: Flag = False
    limit: int = 20


def list_executions(*, options: ListOptions | None = None, where: Where | None = None) -> int:
    """List executions, the newest first.

    Args:
        options: Which of them.
        where: Which flow, and how to print.
    """
    output = output_of(where)
    options = options or ListOptions()
    if not 1 <= options.limit <= LIMIT:
        rule = f"it is a number from 1 to {LIMIT:,}"
        raise InvalidOption("flow list", "--limit", str(options.limit), rule)
    arguments = {
        "statuses": statuses("--status", options.status),
        "workflow": options.workflow,
        "labels": pairs("--label", options.label),
        "incidents": options.incidents,
        "limit": options.limit,
    }
    rows = asyncio.run(_ask(where, "list", arguments))
    if output.is_json:
        output.data(rows)
    elif rows:
        output.lines(execution_list(rows, SystemClock().now_ms()))
    else:
        is_filtered = options != ListOptions(limit=options.limit)
        output.note("no executions match" if is_filtered else "no executions yet")
    return Exit.OK


def show(execution: Ids, /, *, watch: Flag = False, where: Where | None = None) -> int:
    """Show an execution with all its steps.

    Args:
        execution: The execution's id.
        watch: Go on showing it until it has ended.
        where: Which flow, and how to print.
    """
    return asyncio.run(_show(execution, where, watch=watch))


def report(execution: Ids, /, *, yaml: Flag = False, where: Where | None = None) -> int:
    """Tell what happened in an execution: each run and each undo, in their order.

    Args:
        execution: The execution's id.
        yaml: Print YAML, for programs.
        where: Which flow, and how to print.
    """
    output = output_of(where)
    if yaml and output.is_json:
        raise ConfigurationError("--json and --yaml", "choose one of the two")
    document = asyncio.run(_ask(where, "report", {}, execution))
    if output.is_json:
        output.data(document)
    elif yaml:
        output.lines(Report.from_dict(document).to_yaml().splitlines())
    else:
        width = output.out.width if output.out.is_terminal else None
        output.lines(report_page(Report.from_dict(document), width))
    return Exit.OK


def history(execution: Ids, /, *, where: Where | None = None) -> int:
    """Show what happened to an execution, oldest first.

    Args:
        execution: The execution's id.
        where: Which flow, and how to print.
    """
    output = output_of(where)
    records = asyncio.run(_history(execution, where))
    if output.is_json:
        output.data(records)
    else:
        output.lines(history_page(records))
    return Exit.OK


async def _ask(
    where: Where | None, verb: str, arguments: dict[str, Any], execution: str = ""
) -> Any:
    async with reading(find(where), output_of(where).note) as session:
        return await session.ask(verb, arguments, execution)


async def _history(execution: str, where: Where | None) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    async with reading(find(where), output_of(where).note) as session:
        while True:
            after = records[-1]["seq"] if records else 0
            page: Sequence[dict[str, Any]] = await session.ask(
                "history", {"after": after}, execution
            )
            if not page:
                return records
            records += page


async def _show(execution: str, where: Where | None, *, watch: bool) -> int:
    output = output_of(where)
    async with reading(find(where), output_of(where).note) as session:
        view = await session.ask("show", {}, execution)
        has_ended = Status.parse(view["status"]).ended
        if watch and not has_ended and session.mode is not Mode.READING:
            await _watch(session, view, output)
            return Exit.OK
        if output.is_json:
            output.data(view)
        else:
            output.lines(execution_page(view, SystemClock().now_ms()))
        if not has_ended and session.mode is Mode.READING:
            output.note(_NOT_RUNNING)
    return Exit.OK


async def _watch(session: Session, view: dict[str, Any], output: Output) -> None:
    watcher = _Watcher(session, view)
    async with TaskGroup() as tasks:
        tasks.start(watcher.run(), "watch")
        if output.is_json or not output.out.is_terminal:
            await _print_changes(watcher, output)
        else:
            await _print_live(watcher, output)


class _Watcher:
    """Keeps the newest view of an execution, and looks again when something has happened."""

    def __init__(self, session: Session, view: dict[str, Any]) -> None:
        self.view = view
        self._session = session
        self._wake = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        return Status.parse(self.view["status"]).ended

    async def run(self) -> None:
        """Wait for what happens, until it has ended."""
        seq = self.view["seq"]
        while True:
            arguments = {"after": seq}
            answer = await self._session.ask("watch", arguments, self.view["id"], None)
            seq = answer["seq"]
            self._wake.set()
            if Status.parse(answer["status"]).ended:
                return

    async def look(self) -> None:
        """Look again once something has happened, or after a second.

        That nobody serves an endpoint is no event of the execution, so time has to pass too.
        """
        async with TaskGroup() as waits:
            woken = waits.start(self._woken(), "woken")
            late = waits.start(sleep(SystemClock(), _LOOK_AGAIN_S), "late")
            await asyncio.wait([woken, late], return_when=asyncio.FIRST_COMPLETED)
        self.view = await self._session.ask("show", {}, self.view["id"])

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()


async def _print_changes(watcher: _Watcher, output: Output) -> None:
    before: dict[str, Any] | None = None
    clock = SystemClock()
    while True:
        if not output.is_json:
            output.lines(changes(before, watcher.view, clock.now_ms()))
        elif before is None or before["seq"] != watcher.view["seq"]:
            output.data(watcher.view)
        if watcher.has_ended:
            return
        before = watcher.view
        await watcher.look()


async def _print_live(watcher: _Watcher, output: Output) -> None:
    clock = SystemClock()
    with Live(console=output.out, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            page = execution_page(watcher.view, clock.now_ms())
            live.update(RichText("\n").join(page), refresh=True)
            if watcher.has_ended:
                return
            await watcher.look()
