"""Starts: how an execution begins, and what is said when it has begun before."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from flow import codec
from flow.codec import Cause
from flow.codec.bodies import assemble_source
from flow.codec.json import check_shape, dumps_finite
from flow.errors import (
    ExecutionConflict,
    ExecutionPruned,
    InvalidInput,
    MissingResults,
    NotPossible,
    UnknownExecution,
    UnknownStep,
)
from flow.kernel.events import ExecutionStarted
from flow.kernel.tree import Node
from flow.message import check_headers
from flow.names import check_name
from flow.plan import Plan
from flow.ports import Tombstone
from flow.programs.bodies import Bodies
from flow.programs.places import UNDO
from flow.programs.steps import StepsProgram
from flow.runtime.addresses import partition_of
from flow.runtime.orchestrator.definitions import KnownDefinition
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.residents import restore
from flow.runtime.protocol import Request
from flow.status import Status

__all__ = ["Start", "check_same_as_pruned", "earlier_results", "start"]


_NONE: Final[Mapping[str, Any]] = {}


class Start(NamedTuple):
    """What a start request asks for.

    Args:
        execution: The id that the execution shall have.
        workflow: The workflow's id.
        body: The input (JSON).
        headers: Metadata, passed on to every step.
        options: The start options as a JSON object.
        results: Results (JSON) of steps that therefore do not run.
        labels: For finding it again.
    """

    execution: str
    workflow: str
    body: bytes
    headers: Mapping[str, str] = _NONE
    options: Mapping[str, Any] = _NONE
    results: Mapping[str, bytes] = _NONE
    labels: Mapping[str, str] = _NONE

    def with_results(self, results: Mapping[str, bytes]) -> "Start":
        """Return the same start with other results.

        Args:
            results: The results (JSON) by step id.
        """
        return self._replace(results=results)

    @classmethod
    def read(cls, request: Request) -> "Start":
        """Return the start that a request asks for, checked.

        Args:
            request: What arrived.

        Raises:
            RequestError: A part of it is not what it should be.
            InvalidName: The execution's id or a header breaks the rules.
        """
        arguments = request.arguments
        headers = _mapping(arguments, "headers")
        results, labels = _mapping(arguments, "results"), _mapping(arguments, "labels")
        return cls(
            check_name("execution", request.execution),
            check_name("workflow", arguments.get("workflow")),
            _body(arguments.get("input"), "the input"),
            check_headers(headers) if headers else _NONE,
            _mapping(arguments, "options"),
            {step: _body(value, f"the result of step {step!r}") for step, value in results.items()}
            if results
            else _NONE,
            {name: str(value) for name, value in labels.items()} if labels else _NONE,
        )


def _body(value: Any, what: str) -> bytes:
    # The value was just read from JSON, so that its text is JSON again, with numbers that fit.
    return check_shape(dumps_finite(value), what)


def _mapping(arguments: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value: Any = arguments.get(name)
    if not value:
        return _NONE
    if not isinstance(value, dict):
        raise InvalidInput(name, "it is not an object")
    return cast("dict[str, Any]", value)


def start(engine: Engine, wanted: Start, cause: Cause) -> LiveExecution:
    """Begin an execution, or find that the same start began it before.

    Args:
        engine: The orchestrator's state. The execution is in memory, if it exists.
        wanted: What is asked for.
        cause: Who asks, and why.

    Returns:
        The execution.

    Raises:
        ExecutionConflict: The id belongs to another start.
        CorruptRecord: The execution that has the id cannot be loaded.
        NotPossible: An execution of this id is just being deleted.
        UnknownWorkflow: There is no such workflow.
        UnknownStep: An option or a result names a step that the workflow does not have.
        MissingResults: Steps need results of steps that will not run.
    """
    if wanted.execution in engine.deleting:
        raise NotPossible("start", wanted.execution, "being deleted", "try again")
    before = engine.residents.get(wanted.execution)
    if before is not None:
        _check_same(before, wanted)
        return before
    engine.residents.check(wanted.execution)
    known = engine.definitions.current(wanted.workflow)
    plan = engine.definitions.plan(known, wanted.options)
    if wanted.results or plan.needed:
        _check_results(plan, wanted)
    partition = partition_of(wanted.execution, engine.partitions)
    program = StepsProgram(plan, codec.assemble)
    live = LiveExecution.new(wanted.execution, partition, program)
    engine.apply(live, _event(engine, known, wanted), cause)
    engine.residents.add(live)
    return live


def _first_epoch(engine: Engine) -> int:
    """Return a run epoch that no execution of the same id had before it was deleted."""
    return engine.clock.now_ms() * 1_000 + int(engine.chance.random() * 1_000)


def _event(engine: Engine, known: KnownDefinition, wanted: Start) -> ExecutionStarted:
    labels = known.definition.labels
    return ExecutionStarted(
        workflow=wanted.workflow,
        definition=known.hash,
        body=wanted.body,
        headers=wanted.headers,
        options=wanted.options,
        results=wanted.results,
        labels={**known.definition.labels, **wanted.labels} if wanted.labels else labels,
        epoch=_first_epoch(engine),
        paused_by=engine.pauses.command(wanted.workflow),
    )


def _check_same(live: LiveExecution, wanted: Start) -> None:
    body = live.input
    if body.workflow != wanted.workflow:
        raise ExecutionConflict(live.id, f"another workflow ({body.workflow!r})")
    if not codec.same(body.body, wanted.body):
        raise ExecutionConflict(live.id, "another input")
    if dict(body.options) != dict(wanted.options):
        raise ExecutionConflict(live.id, "other start options")


def check_same_as_pruned(tombstone: Tombstone, wanted: Start) -> None:
    """Make sure that a start is the one that began an execution which was pruned since.

    Args:
        tombstone: What is kept of the execution.
        wanted: What is asked for.

    Raises:
        ExecutionConflict: The id belongs to another start.
    """
    if tombstone.workflow != wanted.workflow:
        raise ExecutionConflict(tombstone.id, f"another workflow ({tombstone.workflow!r})")
    present = codec.fingerprint(wanted.workflow, wanted.body, wanted.options)
    if present != tombstone.fingerprint:
        raise ExecutionConflict(tombstone.id, "another input or other start options")


def _check_results(plan: Plan, wanted: Start) -> None:
    for step in wanted.results:
        if step not in plan.index:
            raise UnknownStep(step, f"workflow {plan.workflow!r}", list(plan.index)[:1000])
    needed = {
        plan.steps[number].definition.id: users
        for number, users in plan.needed.items()
        if plan.steps[number].definition.id not in wanted.results
    }
    if needed:
        raise MissingResults(plan.workflow, needed)


def _has_kept_result(node: Node) -> bool:
    """Return whether a step has a result that was not taken back."""
    undo = node.find(UNDO)
    is_there = undo is None or undo.state is Status.SKIPPED
    return is_there and node.state in (Status.SUCCESS, Status.SKIPPED)


async def earlier_results(
    engine: Engine,
    execution: str,
    workflow: str,
    options: Mapping[str, Any],
) -> dict[str, bytes]:
    """Return the results that an earlier execution has for the steps that will not run.

    Args:
        engine: The orchestrator's state.
        execution: The earlier execution's id.
        workflow: The workflow that is to be started.
        options: Its start options.

    Raises:
        UnknownExecution: There is no such execution.
        ExecutionPruned: There was one.
        UnknownWorkflow: There is no such workflow.
    """
    stored = (await engine.store.load([execution])).get(execution)
    if stored is None:
        raise UnknownExecution(execution)
    if isinstance(stored, Tombstone):
        raise ExecutionPruned(execution, stored.status.value, stored.ended_ms)
    earlier = await restore(stored, engine.definitions)
    plan = engine.definitions.plan(engine.definitions.current(workflow), options)
    bodies = Bodies(earlier.tree, earlier.program.plan)
    results: dict[str, bytes] = {}
    for number in plan.outside:
        step = plan.steps[number].definition.id
        node = earlier.tree.find(f"steps/{step}")
        if node is not None and _has_kept_result(node):
            results[step] = assemble_source(bodies.output(step), f"the result of step {step!r}")
    return results
