"""Defining: from what a program says of a workflow to its definition."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from flow import planner
from flow.catalogue import OpenDefinition
from flow.errors import InvalidOption
from flow.names import check_name
from flow.options import check_options, check_seconds
from flow.step import Step, StepDefinition
from flow.template import FromStep, Template, to_template
from flow.workflow import OnError, OnUndoError, WorkflowDefinition

__all__ = ["WorkflowOptions", "define", "definitions_of", "returns_of"]


class WorkflowOptions(TypedDict, total=False):
    """The options of a workflow; see `Flow.workflow`."""

    version: str
    on_success: Step[Any]
    on_failure: Step[Any]
    on_end: Step[Any]
    barrier: bool
    timeout: float
    labels: Mapping[str, str]
    on_error: OnError
    on_undo_error: OnUndoError
    settle_within: float


def define(
    id: str,
    steps: Sequence[Step[Any]],
    output: object,
    options: WorkflowOptions,
    names: Sequence[str] = (),
) -> WorkflowDefinition | OpenDefinition:
    """Return a validated definition; or an open one, which can be validated only once closed.

    Args:
        id: The workflow's id.
        steps: Its steps.
        output: What its result is made of, or None.
        options: See `Flow.workflow`.
        names: The ids of steps that are still to be found.

    Raises:
        DefinitionError: It is not a workflow; every offender is named.
    """
    owner = f"workflow {id!r}"
    check_options(owner, options, WorkflowOptions)
    timeout, settle_within = options.get("timeout"), options.get("settle_within")
    for name, seconds in (("timeout", timeout), ("settle_within", settle_within)):
        if seconds is not None:
            check_seconds(owner, name, seconds)
    definition = WorkflowDefinition(
        id=check_name("workflow", id),
        steps=definitions_of(steps),
        version=options.get("version", ""),
        output=_output(id, output),
        hooks=_hooks(options),
        barrier=options.get("barrier", False),
        timeout_ms=None if timeout is None else round(timeout * 1000),
        labels=dict(options.get("labels", {})),
        on_error=options.get("on_error", ""),
        on_undo_error=options.get("on_undo_error", ""),
        settle_within_ms=None if settle_within is None else round(settle_within * 1000),
    )
    if names:
        wanted = (check_name("step", name) for name in names)
        return OpenDefinition(definition, tuple(dict.fromkeys(wanted)))
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
    if isinstance(output, str):
        return FromStep(check_name("step", output))
    return to_template(f"the output of workflow {workflow!r}", output)


def returns_of(output: object) -> object:
    """Return the type of a workflow's result, as far as its output tells.

    Args:
        output: What was given as `output=`.
    """
    return output.returns if isinstance(output, Step) else Any
