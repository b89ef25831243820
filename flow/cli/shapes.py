"""`flow workflows`, `flow steps` and `flow levels`: what there is to run."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from flow import codec, planner
from flow.app import Flow
from flow.cli.failures import Exit
from flow.cli.options import Flag, Where, output_of
from flow.cli.output import aligned
from flow.cli.pages import policy, steps_page
from flow.cli.session import reading
from flow.cli.target import find, program_of
from flow.errors import ConfigurationError, UnknownWorkflow
from flow.plan import StartOptions
from flow.step import StepDefinition
from flow.workflow import WorkflowDefinition

__all__ = ["level_ids", "levels", "steps", "workflows"]


def workflows(*, where: Where | None = None) -> int:
    """List the workflows."""
    output = output_of(where)
    found = _definitions(where)
    documents = [_workflow_document(definition) for definition in found]
    if output.is_json:
        output.data(documents)
    elif not documents:
        output.note("no workflows yet")
    else:
        rows = [
            (item["id"], item["version"], str(item["steps"]), item["hash"]) for item in documents
        ]
        output.lines(aligned(rows, ("WORKFLOW", "VERSION", "STEPS", "HASH")))
    return Exit.OK


def steps(*, where: Where | None = None) -> int:
    """List the steps of all workflows."""
    output = output_of(where)
    found = _definitions(where)
    if output.is_json:
        output.data([_step_document(item, step) for item in found for step in item.steps])
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
    plan = planner.plan(definition, "", StartOptions())
    return [[step.definition.id for step in level] for level in planner.levels(plan)]


def _definitions(where: Where | None) -> Sequence[WorkflowDefinition]:
    """Return the workflows of the program that is named, or else those that are saved."""
    app = program_of(where)
    if app is not None:
        return [app.defined[name].definition for name in sorted(app.defined)]
    return asyncio.run(_saved(where))


def _definition(workflow: str, where: Where | None) -> WorkflowDefinition:
    app = program_of(where)
    if app is None:
        return asyncio.run(_load(workflow, where))
    return _defined(app, workflow)


def _defined(app: Flow, workflow: str) -> WorkflowDefinition:
    if workflow not in app.defined:
        raise UnknownWorkflow(workflow, sorted(app.defined))
    return app.defined[workflow].definition


async def _load(workflow: str, where: Where | None) -> WorkflowDefinition:
    async with reading(find(where)) as session:
        return _decoded(await session.ask("workflow.load", {"workflow": workflow}))


async def _saved(where: Where | None) -> Sequence[WorkflowDefinition]:
    async with reading(find(where)) as session:
        rows = await session.ask("workflow.list")
        names = [row["id"] for row in rows]
        return [_decoded(await session.ask("workflow.load", {"workflow": name})) for name in names]


def _decoded(answer: Any) -> WorkflowDefinition:
    return codec.decode_definition(codec.dumps(answer["definition"]))


def _workflow_document(definition: WorkflowDefinition) -> dict[str, Any]:
    return {
        "id": definition.id,
        "version": definition.version,
        "steps": len(definition.steps),
        "hash": codec.definition_hash(codec.encode_definition(definition)),
    }


def _step_document(definition: WorkflowDefinition, step: StepDefinition) -> dict[str, Any]:
    return {
        "id": step.id,
        "workflow": definition.id,
        "kind": step.kind.value,
        "target": step.target,
        "requires": list(step.requires),
        "policy": policy(step),
    }
