"""Reports: what happened in an execution, read from its tree.

In the list of a workflow the runs come first, in the order in which they began, and then the
undos. Undos are in the order in which they went out. What had nothing to undo stands where its
turn was; what waits still is at the end.
"""

from collections.abc import Iterator
from typing import Any

from flow.codec import loads
from flow.codec.values import decode_value
from flow.failure import Failure
from flow.kernel.execution import INPUT, ExecutionData
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node
from flow.kernel.values import METADATA, values_of
from flow.plan import Plan
from flow.programs.places import UNDO
from flow.report import Action, Report, StepReport
from flow.runtime.orchestrator.live import LiveExecution
from flow.status import Status

__all__ = ["report_of"]


def report_of(live: LiveExecution) -> Report:
    """Return what happened in an execution.

    Args:
        live: The execution.
    """
    root, plan = live.tree.root, live.program.plan
    workflow = live.tree.node("input").read(INPUT).workflow
    return _report(live.id, root, plan, workflow)


def _report(execution: str, owner: Node, plan: Plan, workflow: str) -> Report:
    data: ExecutionData = owner.data
    return Report(
        workflow=workflow,
        execution=execution,
        status=_status(owner),
        started_ms=data.started_ms or None,
        ended_ms=data.ended_ms,
        on_error=plan.on_error,
        on_undo_error=plan.on_undo_error,
        failure=data.failure,
        incident=data.incident,
        steps=(*_runs(execution, owner, plan), *_undos(owner, plan)),
    )


def _runs(execution: str, owner: Node, plan: Plan) -> Iterator[StepReport]:
    nodes = [node for node in owner.children if node.key.startswith(("steps/", "hooks/"))]
    for node in sorted(nodes, key=lambda node: node.created):
        if node.machine is STEP:
            # A hook is called what it is: its step may be one that the workflow has too.
            yield _entry(node, node.key.partition("/")[2], _action(node))
        else:
            yield _sub_workflow(execution, node, plan)


def _sub_workflow(execution: str, node: Node, plan: Plan) -> StepReport:
    step = node.key.partition("/")[2]
    inner = plan.steps[plan.index[step]].plan
    assert inner is not None, "only a sub-workflow has such a node"
    report = _report(execution, node, inner, inner.workflow)
    return StepReport(
        step=step,
        action="run",
        status=report.status,
        started_ms=report.started_ms,
        ended_ms=report.ended_ms,
        attempts=int(report.started_ms is not None),
        failure=report.failure,
        report=report,
    )


def _undos(owner: Node, plan: Plan) -> Iterator[StepReport]:
    """Yield the undos in the order in which they went out; see the module."""
    turns: list[Node] = []
    for step in reversed(plan.steps):
        node = owner.find(f"steps/{step.definition.id}")
        undo = None if node is None or node.machine is not STEP else node.find(UNDO)
        if undo is not None:
            turns.append(undo)
    sent = iter(sorted((undo for undo in turns if not _was_passed(undo)), key=_turn_of))
    for undo in turns:
        each = undo if _was_passed(undo) else next(sent)
        assert each.parent is not None, "an undo stands below its step"
        yield _entry(each, each.parent.key.partition("/")[2], "undo")


def _was_passed(undo: Node) -> bool:
    return undo.state is Status.SKIPPED and not undo.read(STEP).attempt


def _turn_of(undo: Node) -> tuple[int, ...]:
    data = undo.read(STEP)
    if undo.state is Status.PENDING:
        return (1, 0, 0)
    # What was never sent, because too little was known of the run, ended when its turn was.
    return (0, data.first_ms or data.sent_ms or data.ended_ms or 0, undo.updated)


def _action(node: Node) -> Action:
    failure: Failure | None = node.read(STEP).failure
    did_not_run = failure is not None and failure.phase == "prepare"
    return "prepare" if node.state is Status.FAILURE and did_not_run else "run"


def _entry(node: Node, step: str, action: Action) -> StepReport:
    data: StepData = node.read(STEP)
    return StepReport(
        step=step,
        action=action,
        status=_status(node),
        started_ms=data.first_ms or data.sent_ms,
        ended_ms=data.ended_ms,
        attempts=data.attempt,
        failure=data.failure,
        reason=data.reason,
        metadata=_metadata(node),
    )


def _metadata(node: Node) -> dict[str, Any]:
    values = values_of(node, METADATA)
    return {name: decode_value(loads(text), "the metadata") for name, text in values.items()}


def _status(node: Node) -> Status:
    state: Any = node.state
    status: Status = state
    return status
