"""Run one order on the embedded engine, and watch it.

Nothing has to be installed or started besides flowmq itself: the broker is in this process, and
the history is in a SQLite file. Run it twice: it is another order, and the first one is kept.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from examples.orders.shop import Order, Parcel, app, order
from flow import Execution

COLORS = {"SUCCESS": "green", "RUNNING": "cyan", "RETRYING": "yellow", "FAILURE": "red"}


def show_levels(console: Console) -> None:
    """Print which steps run side by side."""
    console.print("[bold]The workflow 'order'[/]: each level waits for the one above")
    for number, level in enumerate(order.steps()):
        steps = ", ".join(f"{step.id} ({step.target})" for step in level)
        console.print(f"  level {number}: {steps}")


def progress_table(report: Mapping[str, Any]) -> Table:
    """Return a table of the steps as they are now."""
    table = Table(title=f"{report['id']}: {report['status']}", title_justify="left")
    for column in ("step", "status", "attempts", "result, or the last error"):
        table.add_column(column)
    for step in report["steps"]:
        color = COLORS.get(step["status"], "dim")
        failure: Mapping[str, str] = step.get("failure") or {}
        output = "" if step["output"] is None else json.dumps(step["output"])
        last = output or failure.get("message", "")
        status = f"[{color}]{step['status']}[/]"
        table.add_row(step["id"], status, str(step["attempt"]), last)
    return table


async def watch_live(execution: Execution[Parcel], console: Console) -> None:
    """Redraw the table whenever something happens."""
    with Live(progress_table(await execution.describe()), console=console) as live:
        async for _ in execution:
            live.update(progress_table(await execution.describe()))


async def watch_lines(execution: Execution[Parcel], console: Console) -> None:
    """Print one line for everything that happens."""
    async for event in execution:
        console.print(f"  {event.type}: {event.reason or execution.id}")


async def main() -> int:
    """Run the order; return the exit code."""
    console = Console(highlight=False)
    show_levels(console)
    async with app:
        execution = await order.execute(
            Order(customer="ada", items={"book": 2, "pen": 1}, total=42.5),
            labels={"shop": "demo"},
        )
        console.print(f"\n[bold]Started[/] {execution.id}")
        watch = watch_live if console.is_terminal else watch_lines
        await watch(execution, console)
        parcel = await execution.result()
        report = await execution.describe()
    console.print()
    if not console.is_terminal:
        console.print(progress_table(report))
    seconds = (report["ended_ms"] - report["started_ms"]) / 1000
    console.print(f"[bold]Result[/] after {seconds:.1f} s: {parcel!r}", soft_wrap=True)
    console.print(f"[bold]History[/] is kept in {app.settings.store}")
    console.print(f"  look at it:  .venv/bin/flow show {execution.id}")
    return 0 if isinstance(parcel, Parcel) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Nothing is lost: the next demo finishes what this one started.")
