"""Executions as users hold them: to wait for, to look at, and to control."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar, Unpack

from flow import codec
from flow.bulk import BulkFilter, BulkResult, PruneResult, names_of
from flow.client import Client
from flow.clock import HybridClock
from flow.errors import ExecutionAborted, ExecutionCompensated, ExecutionFailed
from flow.handler import value_of
from flow.names import check_name
from flow.options import check_options, check_seconds
from flow.report import Report
from flow.status import Status
from flow.step import Step

__all__ = [
    "BulkFilter",
    "BulkResult",
    "Execution",
    "ExecutionEvent",
    "Executions",
    "PruneResult",
]

ResultT = TypeVar("ResultT")
Clients = Callable[[], Client]

DEDUPE_FOR_S: Final = 30 * 86_400
"""So long the ids of executions that were pruned stay taken."""


@dataclass(frozen=True, slots=True)
class ExecutionEvent:
    """Something that happened to an execution.

    Args:
        seq: The number of the journal record that it is in.
        at_ms: When it was recorded, in milliseconds since 1970.
        type: What, such as `StepSucceeded`.
        reason: Which step, which attempt, why.
        actor: Who was behind it, or an empty string.
        id: The id of the message or command behind it, or an empty string.
    """

    seq: int
    at_ms: int
    type: str
    reason: str
    actor: str
    id: str


class Execution(Generic[ResultT]):
    """One run of a workflow.

    Args:
        id: Its id.
        clients: Gives the client to ask with.
        returns: The type of its result.
    """

    def __init__(self, id: str, clients: Clients, returns: object = Any) -> None:
        """Refer to an execution; nothing is asked yet."""
        self.id = check_name("execution", id)
        self._clients = clients
        self._returns = returns

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<Execution {self.id!r}>"

    async def result(self) -> ResultT:
        """Wait until it has ended, and return its result.

        Raises:
            ExecutionFailed: It failed; the error's report has everything about it.
            ExecutionCompensated: It failed, or was aborted, and what it did was taken back.
            ExecutionAborted: It was aborted.
            ExecutionPruned: It ended so long ago that its result is gone.
            UnknownExecution: There is no such execution.
        """
        return self.result_of(await self._ask("result", {}, waiting=True))

    def result_of(self, answer: Mapping[str, Any]) -> ResultT:
        """Return the result that an answer tells, or raise how it ended.

        Args:
            answer: What an orchestrator answered once the execution had ended.
        """
        status = Status.parse(answer["status"])
        if status is Status.SUCCESS:
            result: ResultT = value_of(
                self._returns, answer["output"], f"the result of execution {self.id!r}"
            )
            return result
        report = answer["report"]
        failure = report["failure"]
        reason = str(codec.decode_failure(failure)) if failure else status.value
        if status is Status.ABORTED:
            raise ExecutionAborted(self.id, failure["message"] if failure else "", report)
        if status is Status.COMPENSATED:
            raise ExecutionCompensated(self.id, reason if failure else "on request", report)
        raise ExecutionFailed(self.id, reason, report)

    async def report(self) -> Report:
        """Return what happened in it: an entry for each run and each undo, as a value.

        Raises:
            UnknownExecution: There is no such execution.
        """
        return Report.from_dict(await self._ask("report", {}))

    async def describe(self) -> dict[str, Any]:
        """Return everything about it: status, times, input, output, and every step's story.

        Raises:
            UnknownExecution: There is no such execution.
        """
        view: dict[str, Any] = await self._ask("show", {})
        return view

    async def status(self) -> Status:
        """Return where it stands.

        Raises:
            UnknownExecution: There is no such execution.
        """
        return Status.parse((await self.describe())["status"])

    async def steps(self) -> dict[str, Status]:
        """Return the status of every step by its id.

        Raises:
            UnknownExecution: There is no such execution.
        """
        return {
            step["id"]: Status.parse(step["status"])
            for step in (await self.describe())["steps"]
            if "hook" not in step
        }

    async def step(self, step: str) -> dict[str, Any]:
        """Return one step: its request, response, status, attempts, times and failure.

        Args:
            step: Its id; for a step of a sub-workflow the ids with a slash between.

        Raises:
            UnknownStep: There is no such step.
            UnknownExecution: There is no such execution.
        """
        view: dict[str, Any] = await self._ask("step", {"step": step})
        return view

    async def history(self, after: int = 0) -> list[ExecutionEvent]:
        """Return what has happened to it, oldest first.

        Args:
            after: Only what stands in records behind this number.

        Raises:
            UnknownExecution: There is no such execution.
        """
        events: list[ExecutionEvent] = []
        while True:
            page: Sequence[Mapping[str, Any]] = await self._ask("history", {"after": after})
            if not page:
                return events
            for record in page:
                events += _events_of(record)
            after = page[-1]["seq"]

    async def __aiter__(self) -> AsyncIterator[ExecutionEvent]:
        """Go through what happens to it, from the beginning, until it has ended."""
        seen = 0
        while True:
            answer = await self._ask("watch", {"after": seen}, waiting=True)
            for event in await self.history(seen):
                seen = event.seq
                yield event
            if Status.parse(answer["status"]).ended and seen >= answer["seq"]:
                return

    async def suspend(self, clock: Literal["run", "stop"] = "run", reason: str = "") -> Status:
        """Make no new attempts for now. What is out lands, and is recorded.

        Args:
            clock: Whether deadlines go on meanwhile, or stop.
            reason: Why, for the history.

        Returns:
            SUSPENDING, or SUSPENDED if nothing was out.

        Raises:
            NotPossible: It has ended.
        """
        return await self._control("suspend", {"clock": clock, "reason": reason})

    async def resume(self, reason: str = "") -> Status:
        """Go on; or try again what has failed, if it ended in FAILURE.

        Args:
            reason: Why, for the history.

        Raises:
            NotPossible: It has ended otherwise.
        """
        return await self._control("resume", {"reason": reason})

    async def abort(self, reason: str = "", *, compensate: bool = False) -> Status:
        """End it. What is out is cancelled, and its results are not wanted any more.

        Args:
            reason: Why, for the history and whoever waits.
            compensate: Whether what ran is undone.

        Returns:
            ABORTED; or COMPENSATING, as long as something is being undone.

        Raises:
            NotPossible: It has ended otherwise.
        """
        arguments: dict[str, Any] = {"reason": reason}
        if compensate:
            arguments["compensate"] = True
        return await self._control("abort", arguments)

    async def undo(self, *steps: "Step[Any] | str", reason: str = "") -> Status:
        """Undo what ran in an execution that has ended; undos that failed are tried again.

        Args:
            steps: Only these, and what depends on them; or their ids. By default all.
            reason: Why, for the history.

        Returns:
            COMPENSATING, as long as something is being undone.

        Raises:
            NotPossible: It has not ended.
            UnknownStep: There is no such step.
        """
        names = [step if isinstance(step, str) else step.id for step in steps]
        return await self._control("undo", {"steps": names, "reason": reason})

    async def resolve(self, step: "Step[Any] | str", reason: str) -> Status:
        """Say that a person has dealt with an undo that failed; it counts as done from now on.

        Args:
            step: The step, or its id; for a step of a sub-workflow the ids with a slash between.
            reason: What was done, for the history and the report.

        Returns:
            COMPENSATED, if everything else is undone.

        Raises:
            NotPossible: No undo of that step has failed.
            UnknownStep: There is no such step.
        """
        name = step if isinstance(step, str) else step.id
        return await self._control("resolve", {"step": name, "reason": reason})

    async def delete(self) -> None:
        """Forget an execution that has ended, with its history.

        Raises:
            NotPossible: It has not ended.
        """
        await self._ask("delete", {})

    async def _control(self, verb: str, arguments: Mapping[str, Any]) -> Status:
        command = self._clients().chance.new_id()
        answer = await self._ask(verb, {**arguments, "command": command})
        return Status.parse(answer["status"])

    async def _ask(self, verb: str, arguments: Mapping[str, Any], *, waiting: bool = False) -> Any:
        client = self._clients()
        if waiting:
            return await client.ask(verb, arguments, self.id, within_s=None)
        return await client.ask(verb, arguments, self.id)


def _events_of(record: Mapping[str, Any]) -> list[ExecutionEvent]:
    at_ms, _ = HybridClock.parse(record["hlc"])
    return [
        ExecutionEvent(record["seq"], at_ms, kind, reason, actor, id_)
        for kind, id_, actor, reason in record["causes"]
    ]


class Executions:
    """All executions of the namespace.

    Args:
        clients: Gives the client to ask with.
    """

    def __init__(self, clients: Clients) -> None:
        """Prepare; nothing is asked yet."""
        self._clients = clients

    def get(self, id: str) -> Execution[Any]:
        """Return an execution to hold. Whether it exists shows when it is asked something.

        Args:
            id: Its id.
        """
        return Execution(id, self._clients)

    async def list(
        self,
        *,
        status: Sequence[Status | str] = (),
        workflow: str = "",
        labels: Mapping[str, str] | None = None,
        incidents: bool = False,
        before: str = "",
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Return executions as rows, newest first.

        Args:
            status: Only these.
            workflow: Only of this workflow.
            labels: Only with all of these labels.
            incidents: Only those that a person has to look at.
            before: Only those created before this one: the last of the page before.
            limit: How many at most.
        """
        arguments = {
            "statuses": names_of(status),
            "workflow": workflow,
            "labels": dict(labels or {}),
            "incidents": incidents,
            "before": before,
            "limit": limit,
        }
        rows: list[dict[str, Any]] = await self._clients().ask("list", arguments)
        return rows

    async def suspend(self, id: str, clock: Literal["run", "stop"] = "run") -> Status:
        """Suspend an execution; see `Execution.suspend`."""
        return await self.get(id).suspend(clock)

    async def resume(self, id: str) -> Status:
        """Resume an execution; see `Execution.resume`."""
        return await self.get(id).resume()

    async def abort(self, id: str, reason: str = "", *, compensate: bool = False) -> Status:
        """Abort an execution; see `Execution.abort`."""
        return await self.get(id).abort(reason, compensate=compensate)

    async def undo(self, id: str, *steps: "Step[Any] | str", reason: str = "") -> Status:
        """Undo what ran in an execution; see `Execution.undo`."""
        return await self.get(id).undo(*steps, reason=reason)

    async def resolve(self, id: str, step: "Step[Any] | str", reason: str) -> Status:
        """Say that an undo that failed is dealt with; see `Execution.resolve`."""
        return await self.get(id).resolve(step, reason)

    async def delete(self, id: str) -> None:
        """Delete an execution; see `Execution.delete`."""
        await self.get(id).delete()

    # ----------------------------------------------------------------------------- many

    async def suspend_all(
        self,
        *,
        clock: Literal["run", "stop"] = "run",
        reason: str = "",
        **chosen: Unpack[BulkFilter],
    ) -> BulkResult:
        """Suspend all executions that match; by default those that run.

        Args:
            clock: Whether deadlines go on meanwhile, or stop.
            reason: Why, for histories.
            chosen: See `BulkFilter`.
        """
        return await self._control_all("suspend", {"clock": clock, "reason": reason}, chosen)

    async def resume_all(self, *, reason: str = "", **chosen: Unpack[BulkFilter]) -> BulkResult:
        """Resume all executions that match; by default those that are suspended.

        Those that have failed are tried again if `status="FAILURE"` says so.

        Args:
            reason: Why, for histories.
            chosen: See `BulkFilter`.
        """
        return await self._control_all("resume", {"reason": reason}, chosen)

    async def abort_all(
        self,
        *,
        reason: str = "",
        compensate: bool = False,
        **chosen: Unpack[BulkFilter],
    ) -> BulkResult:
        """Abort all executions that match; by default those that have not ended.

        Args:
            reason: Why, for histories.
            compensate: Whether what ran is undone.
            chosen: See `BulkFilter`.
        """
        options: dict[str, Any] = {"reason": reason}
        if compensate:
            options["compensate"] = True
        return await self._control_all("abort", options, chosen)

    async def undo_all(self, *, reason: str = "", **chosen: Unpack[BulkFilter]) -> BulkResult:
        """Undo what ran in all executions that match; by default those that failed or were aborted.

        Those that have succeeded are undone if `status="SUCCESS"` says so.

        Args:
            reason: Why, for histories.
            chosen: See `BulkFilter`.
        """
        return await self._control_all("undo", {"reason": reason}, chosen)

    async def prune(self, older_than: float, dedupe_for: float = DEDUPE_FOR_S) -> PruneResult:
        """Delete executions that ended long ago, with their results, reports and histories.

        Args:
            older_than: Seconds since they ended.
            dedupe_for: Seconds for which their ids stay taken: a start that comes again is told
                how it ended, and another start of the same id is refused.
        """
        check_seconds("a prune", "older_than", older_than)
        check_seconds("a prune", "dedupe_for", dedupe_for)
        arguments = {
            "older_than_s": round(older_than),
            "dedupe_for_s": round(dedupe_for),
            "command": self._command(),
        }
        answer = await self._clients().ask("prune", arguments, within_s=None)
        return PruneResult(answer["executions"], answer["tombstones"])

    async def _control_all(
        self,
        verb: str,
        options: Mapping[str, Any],
        chosen: BulkFilter,
    ) -> BulkResult:
        check_options(f"{verb}_all", chosen, BulkFilter)
        wanted = {
            "workflow": chosen.get("workflow", ""),
            "statuses": names_of(chosen.get("status", ())),
            "labels": dict(chosen.get("labels", {})),
            "incidents": chosen.get("incidents", False),
        }
        arguments = {"verb": verb, "filter": wanted, **options, "command": self._command()}
        answer = await self._clients().ask("bulk", arguments, within_s=None)
        return BulkResult(
            matched=answer["matched"],
            done=answer["done"],
            refused=answer["refused"],
            reasons=answer["reasons"],
            failed=answer["failed"],
            failed_ids=tuple(answer["failed_ids"]),
        )

    def _command(self) -> str:
        return self._clients().chance.new_id()
