"""Workflows as users hold them: to draw, to change, and to run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from flow import codec, planner
from flow.catalogue import OpenDefinition
from flow.client import Client
from flow.defining import WorkflowOptions, define, definitions_of, returns_of
from flow.errors import StepIsRequired, UnknownStep, UnresolvedSteps
from flow.executions import Execution
from flow.handler import encode_value
from flow.message import check_headers
from flow.names import check_name
from flow.options import check_options, check_seconds
from flow.plan import StartOptions
from flow.step import Step, StepDefinition
from flow.template import template_steps
from flow.workflow import OnError, OnUndoError, WorkflowDefinition

__all__ = ["Workflow", "Workflows"]

ResultT = TypeVar("ResultT")
Clients = Callable[[], Client]
ANSWER_WITHIN_S = 30.0


class ExecuteOptions(TypedDict, total=False):
    """How one execution departs from its workflow.

    * `id`: its id, which makes the start idempotent; by default a new one.
    * `headers`: metadata, passed on to every step.
    * `labels`: for finding it again.
    * `start`: the step, or steps, to start at; those before do not run.
    * `results`: results of steps, by id, which therefore do not run.
    * `results_from`: an earlier execution to take the results of skipped steps from.
    * `reverse`: run from the leaves to the roots.
    * `barrier`: keep levels apart.
    * `timeout`: seconds that the execution may take.
    * `skip`: steps that are not run.
    * `optional`: steps whose failure does not fail the execution.
    * `max_attempts`: how often steps are tried, by id.
    * `fallback`: steps that stand in for failed ones, by id.
    * `output`: the step whose output is the result.
    * `on_error`: what happens when a step has failed for good: `stop`, `continue`, `compensate`.
    * `on_undo_error`: whether the other undos follow when one has failed: `continue` or `stop`.
    """

    id: str
    headers: Mapping[str, str]
    labels: Mapping[str, str]
    start: "str | Step[Any] | Sequence[str | Step[Any]]"
    results: Mapping[str, Any]
    results_from: str
    reverse: bool
    barrier: bool
    timeout: float
    skip: "Sequence[str | Step[Any]]"
    optional: "Sequence[str | Step[Any]]"
    max_attempts: Mapping[str, int]
    fallback: Mapping[str, str]
    output: "str | Step[Any]"
    on_error: OnError
    on_undo_error: OnUndoError


class Workflow(Generic[ResultT]):
    """A workflow: steps with an order that follows from what they require.

    It is open if it names steps of other programs. Then it can be run, but what it is made of is
    not known here: whatever looks at its steps raises UnresolvedSteps.

    Args:
        definition: What it is.
        clients: Gives the client to run it with.
        returns: The type of its result.
    """

    def __init__(
        self,
        definition: WorkflowDefinition | OpenDefinition,
        clients: Clients,
        returns: object = Any,
    ) -> None:
        """Keep a definition that was validated, or that is still open."""
        self._definition = definition
        self._clients = clients
        self._returns = returns

    @property
    def id(self) -> str:
        """Its name."""
        return self._definition.id

    @property
    def declared(self) -> WorkflowDefinition | OpenDefinition:
        """What the program says of it."""
        return self._definition

    @property
    def definition(self) -> WorkflowDefinition:
        """What it is.

        Raises:
            UnresolvedSteps: It names steps of other programs.
        """
        if isinstance(self._definition, OpenDefinition):
            raise UnresolvedSteps(self.id, self._definition.names)
        return self._definition

    @property
    def hash(self) -> str:
        """The hash of its definition."""
        return codec.definition_hash(codec.encode_definition(self.definition))

    def __repr__(self) -> str:
        """Return what it is."""
        if isinstance(self._definition, OpenDefinition):
            return f"<Workflow {self.id!r}: names {', '.join(self._definition.names)}>"
        return f"<Workflow {self.id!r}: {len(self._definition.steps)} steps>"

    # ------------------------------------------------------------------------ its shape

    def steps(self) -> list[list[StepDefinition]]:
        """Return the steps in parallel levels: each one as late as what it requires demands."""
        return planner.sorted_steps(self.definition)

    def append_steps(self, *steps: Step[Any]) -> "Workflow[ResultT]":
        """Add steps. Executions that run already go on as they are.

        Args:
            steps: What to add.

        Returns:
            The workflow itself.

        Raises:
            DefinitionError: The result would not be a workflow; nothing has changed then.
        """
        added = (*self.definition.steps, *definitions_of(steps))
        self._change(added)
        return self

    def remove_steps(self, *steps: Step[Any] | str) -> "Workflow[ResultT]":
        """Remove steps. Executions that run already go on as they are.

        Args:
            steps: Steps or their ids.

        Returns:
            The workflow itself.

        Raises:
            UnknownStep: The workflow has no such step.
            StepIsRequired: Others still require one; nothing has changed then.
        """
        gone = {step if isinstance(step, str) else step.id for step in steps}
        known = [step.id for step in self.definition.steps]
        for name in sorted(gone.difference(known)):
            raise UnknownStep(name, f"workflow {self.id!r}", known)
        kept = tuple(step for step in self.definition.steps if step.id not in gone)
        dependents = _dependents(self.definition, kept, gone)
        if dependents:
            raise StepIsRequired(self.id, dependents)
        self._change(kept)
        return self

    def to_mermaid(self) -> str:
        """Return a drawing of it in Mermaid's language."""
        return planner.to_mermaid(self.definition)

    def to_dot(self) -> str:
        """Return a drawing of it in Graphviz's language."""
        return planner.to_dot(self.definition)

    def _change(self, steps: tuple[StepDefinition, ...]) -> None:
        changed = _with_steps(self.definition, steps)
        planner.validate(changed)
        self._definition = changed

    # -------------------------------------------------------------------------- running

    async def run(self, input: object = None, **options: Unpack[ExecuteOptions]) -> ResultT:
        """Start an execution, wait until it has ended, and return its result.

        Args:
            input: The input: a JSON value, or anything that pydantic can write as one.
            options: See `ExecuteOptions`.

        Raises:
            ExecutionFailed: It failed; the error's report has everything about it.
            ExecutionCompensated: It failed, and what it did was taken back.
            ExecutionAborted: It was aborted.
            ExecutionConflict: The id belongs to another start.
        """
        execution, answer = await self._start(input, options, wait=True)
        return execution.result_of(answer)

    async def execute(
        self,
        input: object = None,
        **options: Unpack[ExecuteOptions],
    ) -> Execution[ResultT]:
        """Start an execution, and return it as soon as its start is durable.

        Args:
            input: The input: a JSON value, or anything that pydantic can write as one.
            options: See `ExecuteOptions`.

        Raises:
            ExecutionConflict: The id belongs to another start.
            MissingResults: Steps need results of steps that will not run.
        """
        execution, _ = await self._start(input, options, wait=False)
        return execution

    async def _start(
        self,
        input: object,
        options: ExecuteOptions,
        *,
        wait: bool,
    ) -> tuple[Execution[ResultT], Mapping[str, Any]]:
        client = self._clients()
        id_ = check_name("execution", options.get("id") or client.chance.new_id())
        # What was encoded here was checked then, and goes into the request as it is.
        arguments = _arguments(self.id, codec.fragment(encode_value(input)), options)
        within = None if wait else ANSWER_WITHIN_S
        if wait:
            arguments["wait"] = True
        answer = await client.ask("start", arguments, id_, within_s=within)
        returns = Any if options.get("output") else self._returns
        return Execution(id_, self._clients, returns), answer


def start_arguments(workflow: str, body: bytes, options: ExecuteOptions) -> dict[str, Any]:
    """Return the arguments of a start request.

    Args:
        workflow: The workflow's id.
        body: The input (JSON).
        options: See `ExecuteOptions`.

    Raises:
        TooLarge: The input or a header is too large.
        InvalidInput: The input is nested too deeply.
        InvalidName: A header belongs to the system.
    """
    codec.check_body(body, "the input")
    return _arguments(workflow, codec.loads(body), options)


def _arguments(workflow: str, value: object, options: ExecuteOptions) -> dict[str, Any]:
    arguments: dict[str, Any] = {"workflow": workflow, "input": value}
    if options:
        arguments.update(_departures(options))
    return arguments


def _departures(options: ExecuteOptions) -> dict[str, Any]:
    """Return those arguments of a start request that options say."""
    check_options("the execution", options, ExecuteOptions)
    timeout = options.get("timeout")
    if timeout is not None:
        check_seconds("the execution", "timeout", timeout)
    chosen = StartOptions(
        start_at=_ids(options.get("start", ())),
        reverse=options.get("reverse", False),
        barrier=options.get("barrier"),
        timeout_ms=None if timeout is None else round(timeout * 1000),
        skip=_ids(options.get("skip", ())),
        optional=_ids(options.get("optional", ())),
        max_attempts=dict(options.get("max_attempts", {})),
        fallback=dict(options.get("fallback", {})),
        output="".join(_ids([options["output"]])) if "output" in options else "",
        on_error=options.get("on_error", ""),
        on_undo_error=options.get("on_undo_error", ""),
    )
    results = {
        step: codec.loads(encode_value(value, f"the result of step {step!r}"))
        for step, value in options.get("results", {}).items()
    }
    return {
        "headers": check_headers(options.get("headers", {})),
        "labels": dict(options.get("labels", {})),
        "options": codec.encode_options(chosen),
        "results": results,
        "results_from": options.get("results_from", ""),
    }


def _ids(steps: "str | Step[Any] | Sequence[str | Step[Any]]") -> tuple[str, ...]:
    if isinstance(steps, str | Step):
        steps = [steps]
    return tuple(step if isinstance(step, str) else step.id for step in steps)


def _dependents(
    definition: WorkflowDefinition,
    kept: Sequence[StepDefinition],
    gone: set[str],
) -> dict[str, list[str]]:
    dependents: dict[str, list[str]] = {}
    for step in kept:
        needed = {*step.requires, step.fallback, *template_steps(step.input)}
        for name in sorted(needed & gone):
            dependents.setdefault(name, []).append(step.id)
    for name in sorted(set(template_steps(definition.output)) & gone):
        dependents.setdefault(name, []).append("the output")
    return dependents


def _with_steps(
    definition: WorkflowDefinition,
    steps: tuple[StepDefinition, ...],
) -> WorkflowDefinition:
    return replace(definition, steps=steps)


class Workflows:
    """The workflows that the namespace has saved.

    Args:
        clients: Gives the client to ask with.
    """

    def __init__(self, clients: Clients) -> None:
        """Prepare; nothing is asked yet."""
        self._clients = clients

    async def create(
        self,
        id: str,
        *steps: Step[Any] | str,
        output: object = None,
        **options: Unpack[WorkflowOptions],
    ) -> Workflow[Any]:
        """Define a workflow and save it.

        Args:
            id: Its id.
            steps: Its steps. Ids are those of announced steps, and pull in what these require.
            output: What its result is made of; see `Flow.workflow`.
            options: See `Flow.workflow`.

        Raises:
            DefinitionError: It is not a workflow; every offender is named.
            MissingSteps: Steps that it names were not announced.
        """
        given = [step for step in steps if not isinstance(step, str)]
        names = [step for step in steps if isinstance(step, str)]
        definition = define(id, given, output, options, names)
        workflow: Workflow[Any] = Workflow(definition, self._clients, returns_of(output))
        await self.save(workflow)
        return workflow

    async def save(self, workflow: Workflow[Any]) -> str:
        """Keep a workflow, and make it the one that its id stands for from now on.

        Executions that have begun go on with the definition that they began with. If it names
        steps of other programs, it is made of them as they are announced now.

        Args:
            workflow: What to keep.

        Returns:
            The hash of its definition.

        Raises:
            MissingSteps: Steps that it names were not announced.
        """
        declared = workflow.declared
        if isinstance(declared, WorkflowDefinition):
            declared = OpenDefinition(declared, ())
        document = codec.loads(codec.encode_definition(declared.definition))
        arguments = {"definition": document, "names": list(declared.names)}
        answer = await self._clients().ask("workflow.save", arguments)
        return str(answer["hash"])

    async def load(self, id: str) -> Workflow[Any]:
        """Return a saved workflow.

        Args:
            id: Its id.

        Raises:
            UnknownWorkflow: There is none.
        """
        answer = await self._clients().ask("workflow.load", {"workflow": id})
        definition = codec.decode_definition(codec.dumps(answer["definition"]))
        return Workflow(definition, self._clients)

    async def list(self) -> list[dict[str, Any]]:
        """Return the saved workflows, by id: version, hash, number of steps, whether paused."""
        rows: list[dict[str, Any]] = await self._clients().ask("workflow.list", {})
        return rows

    async def remove(self, id: str) -> None:
        """Forget a workflow. Executions that have begun go on.

        Args:
            id: Its id.

        Raises:
            UnknownWorkflow: There is none.
        """
        await self._clients().ask("workflow.remove", {"workflow": id})

    async def pause(self, id: str, reason: str = "") -> None:
        """Make no new attempts for a whole workflow, until `unpause`.

        What is out lands, and is recorded. Executions can be started meanwhile, and begin after
        the pause. It returns when no orchestrator makes an attempt any more. What is being undone
        is not held up by it.

        Args:
            id: The workflow's id.
            reason: Why, for histories.

        Raises:
            UnknownWorkflow: There is no such workflow, and no execution of it.
        """
        await self._ask_all("workflow.pause", id, reason)

    async def unpause(self, id: str, reason: str = "") -> None:
        """End the pause of a workflow. What was suspended by hand stays so.

        Args:
            id: The workflow's id.
            reason: Why, for histories.

        Raises:
            UnknownWorkflow: There is no such workflow, and no execution of it.
        """
        await self._ask_all("workflow.unpause", id, reason)

    async def paused(self) -> tuple[str, ...]:
        """Return the ids of the workflows that are paused, in order."""
        return tuple(sorted(await self._clients().ask("workflow.pauses", {})))

    async def _ask_all(self, verb: str, workflow: str, reason: str) -> None:
        client = self._clients()
        arguments = {"workflow": workflow, "command": client.chance.new_id(), "reason": reason}
        await client.ask(verb, arguments, within_s=None)
