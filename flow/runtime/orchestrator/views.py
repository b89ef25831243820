"""Executions as JSON documents: what clients, the command line and reports show."""

from collections.abc import Mapping
from typing import Any

from flow import codec
from flow.codec.bodies import assemble_source
from flow.errors import FlowError
from flow.kernel.execution import INPUT, ExecutionData
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node, Tree
from flow.plan import Plan, PlannedStep
from flow.ports import ExecutionSummary, JournalRecord
from flow.programs.bodies import Bodies, Source
from flow.programs.places import UNDO
from flow.status import ENDED, Status
from flow.step import StepKind

__all__ = ["execution_view", "history_view", "result_view", "step_view", "summary_view"]


def summary_view(summary: ExecutionSummary) -> dict[str, Any]:
    """Return the row of an execution as a document.

    Args:
        summary: The row.
    """
    return {
        "id": summary.id,
        "workflow": summary.workflow,
        "definition": summary.definition,
        "status": summary.status.value,
        "created_ms": summary.created_ms,
        "updated_ms": summary.updated_ms,
        "ended_ms": summary.ended_ms,
        "incident": summary.incident,
        "labels": dict(summary.labels),
    }


def execution_view(
    id: str,
    tree: Tree,
    plan: Plan,
    waiting: Mapping[str, str] | None = None,
    progress: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an execution with all its steps as a document.

    Args:
        id: The execution's id.
        tree: The execution.
        plan: Its plan.
        waiting: Endpoints that nobody serves at the moment, by the path of the waiting step.
        progress: What heartbeats said last, by path.
    """
    data: ExecutionData = tree.root.data
    body = tree.node("input").read(INPUT)
    bodies = Bodies(tree, plan)
    succeeded = tree.root.state is Status.SUCCESS
    view = _Steps(waiting or {}, progress or {})
    return {
        "id": id,
        "workflow": body.workflow,
        "definition": body.definition,
        "status": tree.root.state.name,
        "started_ms": data.started_ms,
        "ended_ms": data.ended_ms,
        "deadline_ms": None if data.deadline_ms is None else data.deadline_ms + data.offset_ms,
        "epoch": data.epoch,
        "input": codec.loads(body.body),
        "headers": dict(body.headers),
        "labels": dict(body.labels),
        "options": dict(body.options),
        "output": _value(bodies.result()) if succeeded else None,
        "failure": None if data.failure is None else codec.encode_failure(data.failure),
        "incident": data.incident,
        "steps": view.of(tree.root, plan),
    }


def result_view(tree: Tree, plan: Plan) -> Any:
    """Return the result of an execution that has succeeded, as something that `dumps` can write.

    Args:
        tree: The execution.
        plan: Its plan.
    """
    try:
        # It is only passed on, and so neither read nor written anew.
        return codec.fragment(assemble_source(Bodies(tree, plan).result(), "the view"))
    except FlowError as error:
        return {"error": str(error)}


def step_view(tree: Tree, plan: Plan, step: str) -> dict[str, Any] | None:
    """Return one step of an execution as a document, with its request and response, or None.

    Args:
        tree: The execution.
        plan: Its plan.
        step: The step's id; for a step of a sub-workflow, the ids with a slash between.
    """
    path, _, name = step.rpartition("/")
    owner, bodies = tree.root, Bodies(tree, plan)
    for part in filter(None, path.split("/")):
        number = plan.index.get(part)
        node = owner.find(f"steps/{part}")
        if number is None or node is None or plan.steps[number].plan is None:
            return None
        bodies = Bodies(tree, plan.steps[number].plan or plan, node.path, bodies)
        owner, plan = node, plan.steps[number].plan or plan
    if name not in plan.index:
        return None
    planned = plan.steps[plan.index[name]]
    view = _Steps({}, {}).step(owner, plan, planned)
    view["request"] = _value(bodies.step_input(name)) if view["attempt"] else None
    view["response"] = view.pop("output")
    return view


def history_view(record: JournalRecord) -> dict[str, Any]:
    """Return a journal record as a document.

    Args:
        record: The record.
    """
    document: dict[str, Any] = codec.loads(record.record, "the journal record")
    document["snapshot"] = record.is_snapshot
    return document


class _Steps:
    """Makes the documents of steps."""

    def __init__(self, waiting: Mapping[str, str], progress: Mapping[str, Any]) -> None:
        self._waiting = waiting
        self._progress = progress

    def of(self, owner: Node, plan: Plan) -> list[dict[str, Any]]:
        hooks = [self._hook(owner, name, step) for name, step in plan.hooks.items()]
        return [*(self.step(owner, plan, step) for step in plan.steps), *filter(None, hooks)]

    def step(self, owner: Node, plan: Plan, planned: PlannedStep) -> dict[str, Any]:
        node = owner.find(f"steps/{planned.definition.id}")
        document = self._common(planned)
        document["requires"] = [plan.steps[number].definition.id for number in planned.requires]
        if node is not None:
            document |= self._present(node, planned)
        elif plan.index[planned.definition.id] in plan.outside:
            document["status"] = Status.SKIPPED.value
            document["reason"] = plan.outside[plan.index[planned.definition.id]]
        elif planned.stands_in_for is not None and owner.state in ENDED:
            document["status"] = Status.SKIPPED.value
            document["reason"] = "nobody needed it to stand in"
        return document

    def _hook(self, owner: Node, name: str, planned: PlannedStep) -> dict[str, Any] | None:
        node = owner.find(f"hooks/{name}")
        if node is None:
            return None
        return {**self._common(planned), "hook": name, **self._present(node, planned)}

    def _common(self, planned: PlannedStep) -> dict[str, Any]:
        definition = planned.definition
        return {
            "id": definition.id,
            "kind": definition.kind.value,
            "target": definition.target,
            "level": planned.level,
            "status": Status.PENDING.value,
            "attempt": 0,
            "output": None,
        }

    def _present(self, node: Node, planned: PlannedStep) -> dict[str, Any]:
        document: dict[str, Any] = {"path": node.path, "status": node.state.name}
        if planned.definition.kind is StepKind.WORKFLOW and planned.plan is not None:
            return document | self._sub_workflow(node, planned.plan)
        data: StepData = node.read(STEP)
        document |= {
            "attempt": data.attempt,
            "sent_ms": data.sent_ms,
            "started_ms": data.started_ms,
            "ended_ms": data.ended_ms,
            "output": None if data.output is None else codec.loads(data.output),
            "headers": dict(data.headers),
            "failure": None if data.failure is None else codec.encode_failure(data.failure),
            "reason": data.reason,
        }
        if node.state is Status.RETRYING:
            document["due_ms"] = data.due_ms
        if data.worker:
            document["worker"] = data.worker
        if data.silent_ms is not None:
            document["silent_since_ms"] = data.silent_ms
        if node.state is Status.RUNNING and node.path in self._waiting:
            document["waiting_for"] = self._waiting[node.path]
        if node.path in self._progress:
            document["progress"] = self._progress[node.path]
        if node.machine is STEP and (undo := node.find(UNDO)) is not None:
            document["undo"] = self._undo(undo, planned)
        return document

    def _undo(self, undo: Node, planned: PlannedStep) -> dict[str, Any]:
        if planned.undo is None:
            # There is nothing to undo, and so nobody who could be asked to.
            return {"id": UNDO, **self._present(undo, planned._replace(plan=None))}
        definition = planned.undo.definition
        target = {"id": definition.id, "kind": definition.kind.value, "target": definition.target}
        return {**target, **self._present(undo, planned.undo)}

    def _sub_workflow(self, node: Node, plan: Plan) -> dict[str, Any]:
        data: ExecutionData = node.data
        return {
            "attempt": 1,
            "sent_ms": data.started_ms,
            "started_ms": data.started_ms,
            "ended_ms": data.ended_ms,
            "failure": None if data.failure is None else codec.encode_failure(data.failure),
            "steps": self.of(node, plan),
        }


def _value(source: Source) -> Any:
    """Return a source's value, or why it has none: a view never fails."""
    try:
        return codec.loads(assemble_source(source, "the view"))
    except FlowError as error:
        return {"error": str(error)}
