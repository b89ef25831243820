"""`flow suspend`, `flow resume`, `flow abort` and `flow delete`."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from flow.cli.failures import Exit, exit_code
from flow.cli.options import Flag, Ids, Where, output_of
from flow.cli.output import Output, status_text
from flow.cli.session import changing
from flow.cli.target import find
from flow.errors import ConfigurationError, RequestError

__all__ = ["abort", "delete", "resume", "suspend"]

Reason = Annotated[str, Parameter(show_default=False)]


def suspend(
    execution: Ids,
    /,
    *more: Ids,
    clock: Literal["run", "stop"] = "run",
    reason: Reason = "",
    where: Where | None = None,
) -> int:
    """Make no new attempts for now.

    What is out lands, and is recorded.

    Args:
        execution: The ids of one or more executions.
        more: More ids.
        clock: Whether deadlines go on meanwhile, or stop.
        reason: Why, for the history.
        where: Which flow, and how to print.
    """
    arguments = {"clock": clock, "reason": reason}
    return asyncio.run(_control("suspend", (execution, *more), arguments, where))


def resume(execution: Ids, /, *more: Ids, reason: Reason = "", where: Where | None = None) -> int:
    """Go on, or try again what has failed.

    Args:
        execution: The ids of one or more executions.
        more: More ids.
        reason: Why, for the history.
        where: Which flow, and how to print.
    """
    return asyncio.run(_control("resume", (execution, *more), {"reason": reason}, where))


def abort(execution: Ids, /, *more: Ids, reason: Reason = "", where: Where | None = None) -> int:
    """End executions.

    What is out is cancelled, and its results are not wanted any more.

    Args:
        execution: The ids of one or more executions.
        more: More ids.
        reason: Why, for the history and whoever waits.
        where: Which flow, and how to print.
    """
    return asyncio.run(_control("abort", (execution, *more), {"reason": reason}, where))


def delete(execution: Ids, /, *more: Ids, yes: Flag = False, where: Where | None = None) -> int:
    """Forget executions that have ended, with their history.

    Args:
        execution: The ids of one or more executions.
        more: More ids.
        yes: Do not ask.
        where: Which flow, and how to print.
    """
    ids = (execution, *more)
    if not yes and not _is_sure(len(ids)):
        output_of(where).note("nothing was deleted")
        return Exit.FAILED
    return asyncio.run(_control("delete", ids, {}, where))


def _is_sure(count: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("delete", "there is nobody to ask; say --yes if you are sure")
    what = "1 execution" if count == 1 else f"{count} executions"
    sys.stderr.write(f"Delete {what} and all history for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _control(
    verb: str,
    ids: Sequence[str],
    arguments: Mapping[str, Any],
    where: Where | None,
) -> int:
    output = output_of(where)
    answers: list[dict[str, Any]] = []
    failures: set[Exit] = set()
    async with changing(find(where)) as session:
        for name in dict.fromkeys(ids):
            try:
                answer = await session.ask(verb, arguments, name)
            except RequestError as error:
                output.error(error)
                failures.add(exit_code(error))
            else:
                answers.append({"execution": name, **answer})
                _tell(output, answers[-1])
    if output.is_json:
        output.data(answers)
    if failures:
        return failures.pop() if len(failures) == 1 else Exit.FAILED
    return Exit.OK


def _tell(output: Output, answer: Mapping[str, Any]) -> None:
    if output.is_json:
        return
    status = status_text(answer["status"]) if "status" in answer else "deleted"
    output.out.print(f"{answer['execution']}  ", status, sep="")
