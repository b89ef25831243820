"""`flow suspend`, `resume`, `abort`, `undo`, `resolve` and `delete`: by ids, or by a filter."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from flow.cli.asking import is_sure
from flow.cli.failures import Exit, exit_code
from flow.cli.looking import LIMIT
from flow.cli.options import Flag, Ids, Many, Text, Where, output_of, pairs, statuses
from flow.cli.output import Output, status_text
from flow.cli.session import Mode, Session, changing
from flow.cli.target import find
from flow.errors import ConfigurationError, RequestError, listed
from flow.executions import BulkFilter, BulkResult
from flow.status import Status

__all__ = ["Filters", "abort", "delete", "resolve", "resume", "suspend", "undo"]

UNASKED: Final = 10
"""How many executions a filter may match before a person is asked."""
_NOT_RUNNING: Final = "note: no process runs this flow; flow dev FILE:APP does, and then undoes it"
SHOWN: Final = 5
"""How many executions that could not be reached are named."""
_MATCHED: Final[Mapping[str, Sequence[Status]]] = {
    "suspend": (Status.PENDING, Status.RUNNING),
    "resume": (Status.SUSPENDING, Status.SUSPENDED),
    "abort": (Status.PENDING, Status.RUNNING, Status.SUSPENDING, Status.SUSPENDED),
    # What has succeeded is undone only if that is said.
    "undo": (Status.FAILURE, Status.ABORTED),
}
"""What a filter without a status means: those that the verb makes a difference to."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which executions, instead of ids.

    Args:
        workflow: All of this workflow.
        status: All of these statuses; by default those that it makes a difference to.
        label: All with this label: NAME=VALUE. May be given more than once.
        incidents: All that a person has to look at.
        yes: Do not ask, however many there are.
    """

    workflow: Text = ""
    status: Many = ()
    label: Many = ()
    incidents: Flag = False
    yes: Flag = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered by."""
        return not (self.workflow or self.status or self.label or self.incidents)

    def query(self, verb: str) -> dict[str, Any]:
        """Return the filter as the arguments of `list`.

        Args:
            verb: What is to be done.

        Raises:
            ConfigurationError: A status or a label is written wrongly.
        """
        return {
            "statuses": statuses("--status", self.status)
            or [status.value for status in _MATCHED[verb]],
            "workflow": self.workflow,
            "labels": pairs("--label", self.label),
            "incidents": self.incidents,
        }


def suspend(
    *execution: Ids,
    clock: Literal["run", "stop"] = "run",
    reason: Text = "",
    filters: Filters | None = None,
    where: Where | None = None,
) -> int:
    """Make no new attempts for now: of executions by their ids, or of all that match.

    What is out lands, and is recorded.

    Args:
        execution: The ids of executions.
        clock: Whether deadlines go on meanwhile, or stop.
        reason: Why, for the history.
        filters: Which executions, instead of ids.
        where: Which flow, and how to print.
    """
    arguments = {"clock": clock, "reason": reason}
    return _Control("suspend", arguments, filters, where).run(execution)


def resume(
    *execution: Ids,
    reason: Text = "",
    filters: Filters | None = None,
    where: Where | None = None,
) -> int:
    """Go on, or try again what has failed: of executions by their ids, or of all that match.

    Args:
        execution: The ids of executions.
        reason: Why, for the history.
        filters: Which executions, instead of ids; with --status FAILURE, those that have failed.
        where: Which flow, and how to print.
    """
    return _Control("resume", {"reason": reason}, filters, where).run(execution)


def abort(
    *execution: Ids,
    compensate: Flag = False,
    reason: Text = "",
    filters: Filters | None = None,
    where: Where | None = None,
) -> int:
    """End executions: by their ids, or all that match.

    What is out is cancelled, and its results are not wanted any more.

    Args:
        execution: The ids of executions.
        compensate: Undo what has run.
        reason: Why, for the history and whoever waits.
        filters: Which executions, instead of ids.
        where: Which flow, and how to print.
    """
    arguments: dict[str, Any] = {"reason": reason}
    if compensate:
        arguments["compensate"] = True
    return _Control("abort", arguments, filters, where).run(execution)


def undo(
    *execution: Ids,
    step: Many = (),
    reason: Text = "",
    filters: Filters | None = None,
    where: Where | None = None,
) -> int:
    """Undo what ran: in executions that have ended, by their ids, or in all that match.

    Undos that have failed are tried again. It prints COMPENSATING while something is being undone.

    Args:
        execution: The ids of executions.
        step: Only this step, and what depends on it. May be given more than once.
        reason: Why, for the history.
        filters: Which executions, instead of ids; by default those that failed or were aborted.
        where: Which flow, and how to print.
    """
    if step and not execution:
        raise ConfigurationError(f"undo --step {step[0]}", "it goes with the ids of executions")
    arguments: dict[str, Any] = {"reason": reason}
    if step:
        arguments["steps"] = list(step)
    return _Control("undo", arguments, filters, where).run(execution)


def resolve(
    execution: Ids,
    step: Annotated[str, Parameter(name="STEP")],
    /,
    *,
    reason: Annotated[str, Parameter(show_default=False)],
    where: Where | None = None,
) -> int:
    """Say that you have dealt with an undo that failed, so that it counts as done.

    Args:
        execution: The execution's id.
        step: The step; for a step of a sub-workflow the ids with a slash between.
        reason: What you have done, for the history and the report.
        where: Which flow, and how to print.
    """
    return asyncio.run(_each("resolve", [execution], {"step": step, "reason": reason}, where))


def delete(execution: Ids, /, *more: Ids, yes: Flag = False, where: Where | None = None) -> int:
    """Forget executions that have ended, with their history.

    Args:
        execution: The ids of one or more executions.
        more: More ids.
        yes: Do not ask.
        where: Which flow, and how to print.
    """
    ids = (execution, *more)
    question = f"Delete {_count(len(ids))} and all history for good"
    if not yes and not is_sure("delete", question):
        output_of(where).note("nothing was deleted")
        return Exit.FAILED
    return asyncio.run(_each("delete", ids, {}, where))


class _Control:
    """One of the verbs, as it was typed."""

    def __init__(
        self,
        verb: str,
        arguments: Mapping[str, Any],
        filters: Filters | None,
        where: Where | None,
    ) -> None:
        self._verb = verb
        self._arguments = arguments
        self._filters = filters or Filters()
        self._where = where

    def run(self, ids: Sequence[str]) -> int:
        """Do it to the executions with these ids, or else to all that the filter matches."""
        if not ids and self._filters.is_empty:
            hint = "name them by their ids, or choose them with --workflow, --status, --label or "
            raise ConfigurationError(f"{self._verb}: no executions are named", f"{hint}--incidents")
        if ids and not self._filters.is_empty:
            raise ConfigurationError(f"{self._verb} {ids[0]}", "give ids or a filter, not both")
        if ids:
            return asyncio.run(_each(self._verb, ids, self._arguments, self._where))
        return asyncio.run(self._bulk(self._filters.query(self._verb)))

    async def _bulk(self, query: Mapping[str, Any]) -> int:
        output = output_of(self._where)
        async with changing(find(self._where), output_of(self._where).note) as session:
            rows = await session.ask("list", {**query, "limit": LIMIT})
            if not rows:
                return _tell_none(output)
            if len(rows) > UNASKED and not self._filters.yes:
                many = "at least " if len(rows) == LIMIT else ""
                question = f"{self._verb.capitalize()} {many}{_count(len(rows))}"
                if not is_sure(self._verb, question):
                    output.note("nothing was changed")
                    return Exit.FAILED
            result = await self._call(session, query)
        return _tell_bulk(self._verb, result, output)

    async def _call(self, session: Session, query: Mapping[str, Any]) -> BulkResult:
        executions = session.acting.executions
        chosen = BulkFilter(
            workflow=query["workflow"],
            status=query["statuses"],
            labels=query["labels"],
            incidents=query["incidents"],
        )
        reason = self._arguments["reason"]
        if self._verb == "suspend":
            clock = self._arguments["clock"]
            return await executions.suspend_all(clock=clock, reason=reason, **chosen)
        if self._verb == "resume":
            return await executions.resume_all(reason=reason, **chosen)
        if self._verb == "undo":
            return await executions.undo_all(reason=reason, **chosen)
        compensate = "compensate" in self._arguments
        return await executions.abort_all(reason=reason, compensate=compensate, **chosen)


_NOBODY: Final = BulkResult(0, 0, 0, {}, 0, ())
_DONE: Final = {
    "suspend": "suspended",
    "resume": "resumed",
    "abort": "aborted",
    "undo": "undone, or being so",
}


def _tell_none(output: Output) -> int:
    if output.is_json:
        output.data(asdict(_NOBODY))
    else:
        output.note("no executions match")
    return Exit.OK


def _tell_bulk(verb: str, result: BulkResult, output: Output) -> int:
    if output.is_json:
        output.data(asdict(result))
        return Exit.FAILED if result.failed else Exit.OK
    output.lines([f"{result.done:,} of {_count(result.matched)} {_DONE[verb]}"])
    for reason, number in sorted(result.reasons.items()):
        output.note(f"{_count(number)} refused: {reason}")
    if result.failed:
        shown = listed(result.failed_ids, SHOWN)
        output.note(f"{_count(result.failed)} not reached in time, such as {shown}; do it again")
    return Exit.FAILED if result.failed else Exit.OK


def _count(number: int) -> str:
    return "1 execution" if number == 1 else f"{number:,} executions"


async def _each(
    verb: str,
    ids: Sequence[str],
    arguments: Mapping[str, Any],
    where: Where | None,
) -> int:
    output = output_of(where)
    answers: list[dict[str, Any]] = []
    failures: set[Exit] = set()
    async with changing(find(where), output_of(where).note) as session:
        for name in dict.fromkeys(ids):
            try:
                answer = await session.ask(verb, arguments, name)
            except RequestError as error:
                output.error(error)
                failures.add(exit_code(error))
            else:
                answers.append({"execution": name, **answer})
                _tell(output, answers[-1])
        undoing = any(each.get("status") == Status.COMPENSATING.value for each in answers)
        if undoing and session.mode is Mode.OWNER:
            output.note(_NOT_RUNNING)
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
