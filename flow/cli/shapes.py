"""`flow workflows`, `flow steps` and `flow levels`: what there is to run."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text as RichText

from flow import codec, planner
from flow.app import Flow
from flow.catalogue import OpenDefinition
from flow.cli.announced import announced_page, catalogue_page
from flow.cli.failures import Exit
from flow.cli.options import Flag, Text, Where, output_of
from flow.cli.output import Output, aligned
from flow.cli.pages import policy, steps_page
from flow.cli.session import reading
from flow.cli.target import find, program_of
from flow.clock import SystemClock
from flow.errors import ConfigurationError, UnknownWorkflow
from flow.step import StepDefinition
from flow.workflow import WorkflowDefinition

__all__ = ["level_ids", "levels", "steps", "workflows"]


def workflows(*, where: Where | None = None) -> int:
    """List the workflows."""
    output = output_of(where)
    documents = _program_documents(where)
    if documents is None:
        documents = asyncio.run(_saved_documents(where))
    if output.is_json:
        output.data(documents)
    elif not documents:
        output.note("no workflows yet")
    else:
        rows = [
            (item["id"], item["version"], str(item["steps"]), item["hash"], _remark(item))
            for item in documents
        ]
        output.lines(aligned(rows, ("WORKFLOW", "VERSION", "STEPS", "HASH", "")))
    return Exit.OK


def steps(
    step: Annotated[str, Parameter(name="STEP")] = "",
    /,
    *,
    workflow: Text = "",
    where: Where | None = None,
) -> int:
    """List the steps that services have announced, or show one of them.

    With --workflow or --app they are the steps of a workflow, or of the workflows of a program.

    Args:
        step: The id of an announced step, to see all of it.
        workflow: List the steps of this workflow.
        where: Which flow, and how to print.
    """
    output = output_of(where)
    if step:
        if workflow:
            raise ConfigurationError(f"steps {step}", "give a step or --workflow, not both")
        return _tell_announced(asyncio.run(_announced(where, step)), output)
    if not workflow and not (where is not None and where.app):
        return _tell_catalogue(asyncio.run(_announced(where)), output)
    found = [_definition(workflow, where)] if workflow else _program_definitions(where)
    if output.is_json:
        output.data([_step_document(item, each) for item in found for each in item.steps])
    elif not found:
        output.note("no workflows yet")
    else:
        output.lines(steps_page(found))
    return Exit.OK


def levels(
    workflow: Annotated[str, Parameter(name="WORKFLOW")],
    /,
    *,
    mermaid: Flag = False,
    dot: Flag = False,
    where: Where | None = None,
) -> int:
    """Show which steps of a workflow run side by side.

    Args:
        workflow: The workflow's id.
        mermaid: Draw it in Mermaid's language instead.
        dot: Draw it in Graphviz's language instead.
        where: Which flow, and how to print.
    """
    if mermaid and dot:
        raise ConfigurationError("--mermaid and --dot", "choose one of the two")
    output = output_of(where)
    definition = _definition(workflow, where)
    drawing = ""
    if mermaid or dot:
        drawing = planner.to_mermaid(definition) if mermaid else planner.to_dot(definition)
    found = level_ids(definition)
    if output.is_json:
        document = {"workflow": workflow, "levels": found}
        output.data({**document, "drawing": drawing} if drawing else document)
    elif drawing:
        output.lines(drawing.splitlines())
    else:
        rows = [(str(number), ", ".join(ids)) for number, ids in enumerate(found, start=1)]
        output.lines(aligned(rows))
    return Exit.OK


def level_ids(definition: WorkflowDefinition) -> list[list[str]]:
    """Return the ids of a workflow's steps, level by level.

    Args:
        definition: The workflow.
    """
    return [[step.id for step in level] for level in planner.sorted_steps(definition)]


def _program_definitions(where: Where | None) -> Sequence[WorkflowDefinition]:
    app = _program(where)
    names = [] if app is None else sorted(app.defined)
    return [] if app is None else [_inner(app.defined[name].declared) for name in names]


def _program_documents(where: Where | None) -> list[dict[str, Any]] | None:
    """Return the workflows of the program that is named; None if none is."""
    app = _program(where)
    if app is None:
        return None
    return [_workflow_document(app.defined[name].declared) for name in sorted(app.defined)]


def _program(where: Where | None) -> Flow | None:
    """Return the program that was asked for. One that only flow.toml names was not.

    Without one it is about what is saved, which may be of several programs.
    """
    return program_of(where) if where is not None and where.app else None


def _inner(declared: WorkflowDefinition | OpenDefinition) -> WorkflowDefinition:
    return declared.definition if isinstance(declared, OpenDefinition) else declared


def _definition(workflow: str, where: Where | None) -> WorkflowDefinition:
    app = _program(where)
    if app is None:
        return asyncio.run(_load(workflow, where))
    return _defined(app, workflow)


def _defined(app: Flow, workflow: str) -> WorkflowDefinition:
    if workflow not in app.defined:
        raise UnknownWorkflow(workflow, sorted(app.defined))
    return app.defined[workflow].definition


async def _load(workflow: str, where: Where | None) -> WorkflowDefinition:
    async with reading(find(where), output_of(where).note) as session:
        return _decoded(await session.ask("workflow.load", {"workflow": workflow}))


async def _saved_documents(where: Where | None) -> list[dict[str, Any]]:
    async with reading(find(where), output_of(where).note) as session:
        rows: list[dict[str, Any]] = await session.ask("workflow.list")
        return rows


async def _announced(where: Where | None, step: str = "") -> list[dict[str, Any]]:
    async with reading(find(where), output_of(where).note) as session:
        if step:
            return [await session.ask("step.get", {"step": step})]
        rows: list[dict[str, Any]] = []
        while page := await session.ask("steps", {"after": rows[-1]["id"] if rows else ""}):
            rows += page
        return rows


def _decoded(answer: Any) -> WorkflowDefinition:
    return codec.decode_definition(codec.dumps(answer["definition"]))


def _workflow_document(declared: WorkflowDefinition | OpenDefinition) -> dict[str, Any]:
    definition = _inner(declared)
    document: dict[str, Any] = {
        "id": definition.id,
        "version": definition.version,
        "steps": len(definition.steps),
    }
    if isinstance(declared, OpenDefinition):
        # What it will be is known once the services have announced these.
        return {**document, "hash": "", "names": list(declared.names)}
    hash_ = codec.definition_hash(codec.encode_definition(definition))
    return {**document, "hash": hash_}


def _remark(document: Mapping[str, Any]) -> RichText:
    if document.get("paused"):
        return RichText("paused", "yellow")
    names = document.get("names")
    return RichText(f"and the announced steps {', '.join(names)}" if names else "")


def _tell_catalogue(rows: Sequence[Mapping[str, Any]], output: Output) -> int:
    if output.is_json:
        output.data(list(rows))
    elif not rows:
        output.note("no service has announced a step yet")
    else:
        output.lines(catalogue_page(rows, SystemClock().now_ms()))
    return Exit.OK


def _tell_announced(rows: Sequence[Mapping[str, Any]], output: Output) -> int:
    if output.is_json:
        output.data(rows[0])
    else:
        output.lines(announced_page(rows[0], SystemClock().now_ms()))
    return Exit.OK


def _step_document(definition: WorkflowDefinition, step: StepDefinition) -> dict[str, Any]:
    return {
        "id": step.id,
        "workflow": definition.id,
        "kind": step.kind.value,
        "target": step.target,
        "requires": list(step.requires),
        "policy": policy(step),
    }
