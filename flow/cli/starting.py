"""`flow start`: begin an execution, and wait for its end if wanted."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from cyclopts import Parameter

from flow import codec
from flow.cli.failures import Exit
from flow.cli.options import (
    Flag,
    Many,
    Text,
    Where,
    counts,
    input_body,
    output_of,
    pairs,
    values,
)
from flow.cli.output import Output
from flow.cli.pages import execution_page
from flow.cli.session import Mode, Session, changing
from flow.cli.target import find
from flow.clock import SystemChance, SystemClock, sleep
from flow.errors import ExecutionAborted, ExecutionCompensated, ExecutionFailed, FlowError
from flow.names import check_name
from flow.runtime.tasks import TaskGroup
from flow.status import Status
from flow.workflow import OnError, OnUndoError
from flow.workflows import ExecuteOptions, start_arguments

__all__ = ["StartOptions", "start"]

_NOT_RUNNING: Final = "note: no process runs this flow; flow dev FILE:APP does, and then it goes on"
_FIRST_LOOK_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 8.0


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How an execution departs from its workflow.

    Args:
        input: The input: JSON, @ and a file, or - for standard input; by default null.
        id: The execution's id. The same start with the same id is one start.
        wait: Wait until it has ended, and print its result.
        start_at: Start at this step; those before do not run.
        reverse: Run from the leaves to the roots.
        barrier: Keep levels apart, or do not; by default as the workflow says.
        timeout: Seconds that it may take.
        skip: A step that is not run.
        optional: A step whose failure does not fail the execution.
        retry: How often a step is tried: STEP=NUMBER.
        fallback: A step that stands in for a failed one: STEP=STEP.
        output: The step whose output is the result.
        on_error: What happens when a step has failed for good; by default as the workflow says.
        on_undo_error: Whether the other undos follow when one has failed.
        result: The result of a step that therefore does not run: STEP=JSON.
        results_from: An earlier execution to take the results of skipped steps from.
        header: Metadata for every step: NAME=VALUE.
        label: A label to find it by: NAME=VALUE.
    """

    input: Annotated[str, Parameter(show_default=False, allow_leading_hyphen=True)] = ""
    id: Text = ""
    wait: Flag = False
    start_at: Many = ()
    reverse: Flag = False
    barrier: bool | None = None
    timeout: float | None = None
    skip: Many = ()
    optional: Many = ()
    retry: Many = ()
    fallback: Many = ()
    output: Text = ""
    on_error: Annotated[OnError | None, Parameter(show_default=False)] = None
    on_undo_error: Annotated[OnUndoError | None, Parameter(show_default=False)] = None
    result: Many = ()
    results_from: Text = ""
    header: Many = ()
    label: Many = ()

    def options(self) -> ExecuteOptions:
        """Return the options as a program would write them.

        Raises:
            ConfigurationError: One is written wrongly.
            InvalidInput: A result is not JSON.
        """
        options = ExecuteOptions(
            headers=pairs("--header", self.header),
            labels=pairs("--label", self.label),
            start=self.start_at,
            results=values("--result", self.result),
            results_from=self.results_from,
            reverse=self.reverse,
            skip=self.skip,
            optional=self.optional,
            max_attempts=counts("--retry", self.retry),
            fallback=pairs("--fallback", self.fallback),
        )
        if self.barrier is not None:
            options["barrier"] = self.barrier
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.output:
            options["output"] = self.output
        if self.on_error is not None:
            options["on_error"] = self.on_error
        if self.on_undo_error is not None:
            options["on_undo_error"] = self.on_undo_error
        return options


def start(
    workflow: Annotated[str, Parameter(name="WORKFLOW")],
    /,
    *,
    options: StartOptions | None = None,
    where: Where | None = None,
) -> int:
    """Start an execution of a workflow, and print its id.

    Args:
        workflow: The workflow's id.
        options: How it departs from the workflow.
        where: Which flow, and how to print.
    """
    options = options or StartOptions()
    name = check_name("execution", options.id or SystemChance().new_id())
    arguments = start_arguments(workflow, input_body(options.input), options.options())
    return asyncio.run(_start(name, arguments, where, wait=options.wait))


async def _start(
    name: str, arguments: Mapping[str, Any], where: Where | None, *, wait: bool
) -> int:
    output = output_of(where)
    async with changing(find(where), output_of(where).note) as session:
        answer = await session.ask("start", arguments, name)
        if not wait:
            _tell_started(name, output)
            if session.mode is Mode.OWNER and not Status.parse(answer["status"]).ended:
                output.note(_NOT_RUNNING)
            return Exit.OK
        try:
            answer = await _ended(session, name, output)
        except asyncio.CancelledError:
            output.note(f"execution {name} goes on: flow show {name}")
            raise
        return _tell_ended(name, answer, output)


def _tell_started(name: str, output: Output) -> None:
    if output.is_json:
        output.data({"execution": name})
    else:
        output.lines([name])


async def _ended(session: Session, name: str, output: Output) -> Mapping[str, Any]:
    """Wait until an execution has ended, and say meanwhile what it cannot go on without."""
    async with TaskGroup() as tasks:
        tasks.start(_tell_waiting(session, name, output), "waiting")
        answer: Mapping[str, Any] = await session.ask("result", {}, name, within_s=None)
    return answer


async def _tell_waiting(session: Session, name: str, output: Output) -> None:
    told: set[str] = set()
    pause = _FIRST_LOOK_S
    while True:
        await sleep(SystemClock(), pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)
        view = await session.ask("show", {}, name)
        missing = sorted(set(_unserved(view["steps"])) - told)
        if missing:
            told.update(missing)
            hint = "run `flow worker FILE:APP` to serve it, Ctrl-C to wait no longer"
            output.note(f"{name} waits: nobody serves {', '.join(missing)}; {hint}")


def _unserved(steps: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for step in steps:
        if "waiting_for" in step:
            found.append(step["waiting_for"])
        found += _unserved(step.get("steps", []))
    return found


def _tell_ended(name: str, answer: Mapping[str, Any], output: Output) -> int:
    status = Status.parse(answer["status"])
    if output.is_json:
        output.data({"execution": name, **answer})
    if status is Status.SUCCESS:
        if not output.is_json:
            output.result(answer["output"])
        return Exit.OK
    report = answer["report"]
    outcome = _outcome(name, status, report)
    if not output.is_json:
        # The last line says why; nothing above it has to.
        output.aside(execution_page(report, SystemClock().now_ms(), told=str(outcome)))
    output.error(outcome)
    return Exit.FAILED


def _outcome(name: str, status: Status, report: Mapping[str, Any]) -> FlowError:
    failure = report["failure"]
    if status is Status.ABORTED:
        return ExecutionAborted(name, failure["message"] if failure else "")
    reason = str(codec.decode_failure(failure)) if failure else status.value
    kind = ExecutionCompensated if status is Status.COMPENSATED else ExecutionFailed
    return kind(name, reason)
