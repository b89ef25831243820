"""`flow pause`, `flow unpause` and `flow prune`: whole workflows, and what ended long ago."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from flow.cli.failures import Exit
from flow.cli.options import Text, Where, output_of
from flow.cli.session import changing
from flow.cli.target import find
from flow.cli.times import span_s
from flow.errors import ConfigurationError

__all__ = ["pause", "prune", "unpause"]

Workflow = Annotated[str, Parameter(name="WORKFLOW")]


def pause(workflow: Workflow, /, *, reason: Text = "", where: Where | None = None) -> int:
    """Make no new attempts for a whole workflow, until it is unpaused.

    What is out lands, and is recorded. What is started meanwhile begins after the pause.

    Args:
        workflow: The workflow's id.
        reason: Why, for histories.
        where: Which flow, and how to print.
    """
    return asyncio.run(_pause("pause", workflow, reason, where))


def unpause(workflow: Workflow, /, *, reason: Text = "", where: Where | None = None) -> int:
    """Let a paused workflow go on. What was suspended by hand stays so.

    Args:
        workflow: The workflow's id.
        reason: Why, for histories.
        where: Which flow, and how to print.
    """
    return asyncio.run(_pause("unpause", workflow, reason, where))


def prune(
    *,
    older_than: str,
    dedupe_for: str = "30d",
    where: Where | None = None,
) -> int:
    """Delete executions that have ended, with their history.

    Their ids are remembered for a while, so that a start that comes again is not another one.

    Args:
        older_than: Those that ended longer ago than this, such as 30d, 12h or 90m.
        dedupe_for: How long the ids of deleted executions are remembered.
        where: Which flow, and how to print.
    """
    older_s = span_s("--older-than", older_than)
    dedupe_s = span_s("--dedupe-for", dedupe_for)
    if not older_s:
        raise ConfigurationError("--older-than", "it is at least 1s")
    return asyncio.run(_prune(older_s, dedupe_s, where))


async def _pause(verb: str, workflow: str, reason: str, where: Where | None) -> int:
    output = output_of(where)
    is_paused = verb == "pause"
    async with changing(find(where), output_of(where).note) as session:
        workflows = session.acting.workflows
        await (workflows.pause if is_paused else workflows.unpause)(workflow, reason)
    if output.is_json:
        output.data({"workflow": workflow, "paused": is_paused})
    else:
        output.lines([f"{workflow}  {'paused' if is_paused else 'goes on'}"])
    return Exit.OK


async def _prune(older_s: int, dedupe_s: int, where: Where | None) -> int:
    output = output_of(where)
    async with changing(find(where), output_of(where).note) as session:
        pruned = await session.acting.executions.prune(older_than=older_s, dedupe_for=dedupe_s)
    if output.is_json:
        output.data({"executions": pruned.executions, "tombstones": pruned.tombstones})
    else:
        deleted = f"{pruned.executions:,} execution{'' if pruned.executions == 1 else 's'} deleted"
        output.lines([f"{deleted}, {pruned.tombstones:,} ids forgotten"])
    return Exit.OK
