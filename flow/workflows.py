"""Workflows as users hold them: to draw, to change, and to run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from flow import codec, planner
from flow.client import Client
from flow.errors import InvalidOption, StepIsRequired, UnknownStep
from flow.executions import Execution
from flow.handler import encode_value
from flow.message import check_headers
from flow.names import check_name
from flow.options import check_options, check_seconds
from flow.plan import StartOptions
from flow.step import (
    Step,
    StepDefinition,
    Template,
    template_steps,
    to_template,
)
from flow.workflow import WorkflowDefinition

__all__ = ["Workflow", "WorkflowOptions", "Workflows"]

ResultT = TypeVar("ResultT")
Clients = Callable[[], Client]
ANSWER_WITHIN_S = 30.0


class WorkflowOptions(TypedDict, total=False):
    """The options of a workflow; see `Flow.workflow`."""

    version: str
    on_success: Step[Any]
    on_failure: Step[Any]
    on_end: Step[Any]
    barrier: bool
    timeout: float
    labels: Mapping[str, str]


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


class Workflow(Generic[ResultT]):
    """A workflow: steps with an order that follows from what they require.

    Args:
        definition: What it is.
        clients: Gives the client to run it with.
        returns: The type of its result.
    """

    def __init__(
        self,
        definition: WorkflowDefinition,
        clients: Clients,
        returns: object = Any,
    ) -> None:
        """Keep a definition that was validated."""
        self.definition = definition
        self._clients = clients
        self._returns = returns

    @property
    def id(self) -> str:
        """Its name."""
        return self.definition.id

    @property
    def hash(self) -> str:
        """The hash of its definition."""
        return codec.definition_hash(codec.encode_definition(self.definition))

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<Workflow {self.id!r}: {len(self.definition.steps)} steps>"

    # ------------------------------------------------------------------------ its shape

    def steps(self) -> list[list[StepDefinition]]:
        """Return the steps in parallel levels: each one as late as what it requires demands."""
        plan = planner.plan(self.definition, "", StartOptions())
        return [[step.definition for step in level] for level in planner.levels(plan)]

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
        self.definition = changed

    # -------------------------------------------------------------------------- running

    async def run(self, input: object = None, **options: Unpack[ExecuteOptions]) -> ResultT:
        """Start an execution, wait until it has ended, and return its result.

        Args:
            input: The input: a JSON value, or anything that pydantic can write as one.
            options: See `ExecuteOptions`.

        Raises:
            ExecutionFailed: It failed; the error has the report.
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
        arguments = start_arguments(self.id, encode_value(input), options)
        within = None if wait else ANSWER_WITHIN_S
        answer = await client.ask("start", {**arguments, "wait": wait}, id_, within_s=within)
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
    check_options("the execution", options, ExecuteOptions)
    timeout = options.get("timeout")
    if timeout is not None:
        check_seconds("the execution", "timeout", timeout)
    start = options.get("start", ())
    chosen = StartOptions(
        start_at=_ids(start),
        reverse=options.get("reverse", False),
        barrier=options.get("barrier"),
        timeout_ms=None if timeout is None else round(timeout * 1000),
        skip=_ids(options.get("skip", ())),
        optional=_ids(options.get("optional", ())),
        max_attempts=dict(options.get("max_attempts", {})),
        fallback=dict(options.get("fallback", {})),
        output="".join(_ids([options["output"]])) if "output" in options else "",
    )
    results = {
        step: codec.loads(encode_value(value, f"the result of step {step!r}"))
        for step, value in options.get("results", {}).items()
    }
    return {
        "workflow": workflow,
        "input": codec.loads(body),
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


def define(
    id: str,
    steps: Sequence[Step[Any]],
    output: object,
    options: WorkflowOptions,
) -> WorkflowDefinition:
    """Return a validated definition.

    Args:
        id: The workflow's id.
        steps: Its steps.
        output: What its result is made of, or None.
        options: See `Flow.workflow`.

    Raises:
        DefinitionError: It is not a workflow; every offender is named.
    """
    owner = f"workflow {id!r}"
    check_options(owner, options, WorkflowOptions)
    timeout = options.get("timeout")
    if timeout is not None:
        check_seconds(owner, "timeout", timeout)
    definition = WorkflowDefinition(
        id=check_name("workflow", id),
        steps=definitions_of(steps),
        version=options.get("version", ""),
        output=_output(id, output),
        hooks=_hooks(options),
        barrier=options.get("barrier", False),
        timeout_ms=None if timeout is None else round(timeout * 1000),
        labels=dict(options.get("labels", {})),
    )
    planner.validate(definition)
    return definition


def definitions_of(steps: Sequence[Step[Any]]) -> tuple[StepDefinition, ...]:
    """Return the definitions of steps, and of those that stand in for them.

    Args:
        steps: The steps, in order.
    """
    for step in steps:
        if not isinstance(step, Step):
            rule = "a workflow is made of steps: app.workflow(id, first, second)"
            raise InvalidOption("a workflow", "step", repr(step)[:100], rule)
    found: list[StepDefinition] = [step.definition() for step in steps]
    listed = {definition.id for definition in found}
    for step in steps:
        fallback = step.fallback
        if isinstance(fallback, Step) and fallback.id not in listed:
            listed.add(fallback.id)
            found.append(fallback.definition())
    return tuple(found)


def _hooks(options: WorkflowOptions) -> dict[str, StepDefinition]:
    chosen: dict[str, Step[Any] | None] = {
        "on_success": options.get("on_success"),
        "on_failure": options.get("on_failure"),
        "on_end": options.get("on_end"),
    }
    return {name: step.definition() for name, step in chosen.items() if step is not None}


def _output(workflow: str, output: object) -> Template | None:
    if output is None:
        return None
    return to_template(f"the output of workflow {workflow!r}", output)


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
    return WorkflowDefinition(
        id=definition.id,
        steps=steps,
        version=definition.version,
        output=definition.output,
        hooks=definition.hooks,
        barrier=definition.barrier,
        timeout_ms=definition.timeout_ms,
        labels=definition.labels,
    )


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
        *steps: Step[Any],
        output: object = None,
        **options: Unpack[WorkflowOptions],
    ) -> Workflow[Any]:
        """Define a workflow and save it.

        Args:
            id: Its id.
            steps: Its steps.
            output: What its result is made of; see `Flow.workflow`.
            options: See `Flow.workflow`.
        """
        definition = define(id, steps, output, options)
        workflow: Workflow[Any] = Workflow(definition, self._clients, returns_of(output))
        await self.save(workflow)
        return workflow

    async def save(self, workflow: Workflow[Any]) -> str:
        """Keep a workflow, and make it the one that its id stands for from now on.

        Executions that have begun go on with the definition that they began with.

        Args:
            workflow: What to keep.

        Returns:
            The hash of its definition.
        """
        document = codec.loads(codec.encode_definition(workflow.definition))
        answer = await self._clients().ask("workflow.save", {"definition": document})
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
        """Return the saved workflows: id, version, hash and number of steps, by id."""
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


def returns_of(output: object) -> object:
    """Return the type of a workflow's result, as far as its output tells.

    Args:
        output: What was given as `output=`.
    """
    return output.returns if isinstance(output, Step) else Any
