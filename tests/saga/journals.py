"""A journal of the predecessor's as a tree of ours, and back.

Its words are translated here and nowhere else. Its journal is a snapshot of the whole; ours is a
tree of machines that was brought to the same point by the events that lead there. What it says of
a step and ours has no place for (that there is a snapshot, or a report) goes into the step's
metadata.
"""

from typing import Any, Final

from flow.codec import dumps, loads
from flow.codec.moments import decode_moment, encode_moment
from flow.kept import Kept
from flow.kernel.events import StepKept
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.kernel.values import METADATA, SHARED, STATE, values_of
from flow.plan import Plan
from flow.status import Status
from flow.step import StepDefinition
from tests.flow.programs.driver import Run, inner, planned, step
from tests.saga.loader import ON_ERROR, ON_UNDO_ERROR

__all__ = ["journal_of", "run_of"]

Document = dict[str, Any]

_ENDED: Final = {Status.SUCCESS, Status.FAILURE, Status.COMPENSATED}


# ---------------------------------------------------------------------- from theirs to ours


def run_of(theirs: Document) -> Run:
    """Return an execution that stands where a journal says.

    Args:
        theirs: The journal.
    """
    plan = planned(
        *_definitions(theirs["steps"]),
        on_error=ON_ERROR[theirs["execution_mode"]],
        on_undo_error=ON_UNDO_ERROR[theirs["rollback_mode"]],
    )
    reports = [each["report"] for each in theirs["steps"] if "report" in each]
    begun_ms = decode_moment(reports[0]["startTime"], "startTime") if reports else 1_000
    run = Run(plan, begun_ms).start()
    _bring(run, "", theirs)
    return run


def _definitions(steps: list[Document]) -> list[StepDefinition]:
    made: list[StepDefinition] = []
    for each in steps:
        before = tuple(one.id for one in made[-1:])
        if "steps" in each:
            made.append(inner(each["id"], *_definitions(each["steps"]), requires=before))
        else:
            made.append(step(each["id"], *before, undo=step(f"undo-{each['id']}")))
    return made


def _bring(run: Run, owner: str, theirs: Document) -> None:
    told = [each["snapshot"]["global"] for each in theirs["steps"] if "snapshot" in each]
    for number, each in enumerate(theirs["steps"]):
        path = f"{owner}steps/{each['id']}"
        if "steps" in each:
            _bring(run, f"{path}/", each)
        elif each["state"] != "pending":
            # What the workflow shares by now and no snapshot tells, its last step has shared.
            is_last = number == theirs["cursor"]["index"]
            shared: Document = theirs["shared"]["global"] if is_last else {}
            missing = {k: v for k, v in shared.items() if not any(k in each for each in told)}
            _make(run, path, each, missing)
    for each in reversed(theirs["steps"] if theirs["cursor"]["phase"] == "compensating" else []):
        if each["state"] in ("compensated", "failed"):
            run.succeed(f"{owner}steps/{each['id']}/undo")


def _make(run: Run, path: str, theirs: Document, shared: Document) -> None:
    snapshot = theirs.get("snapshot", {"local": {}, "global": {}})
    facts: dict[str, bytes] = {n: b"true" for n in ("snapshot", "report") if n in theirs}
    written = {**shared, **snapshot["global"]}
    kept = Kept(_texts(snapshot["local"]), _texts(written), facts)
    run.decide(StepKept(run.attempt(path), kept))
    if "report" in theirs:
        run.now_ms = decode_moment(theirs["report"]["endTime"], "endTime")
    if theirs["state"] in ("completed", "compensated"):
        run.succeed(path)
    elif theirs["state"] == "failed":
        run.fail(path)


def _texts(values: Document) -> dict[str, bytes]:
    return {name: dumps(value) for name, value in values.items()}


# ---------------------------------------------------------------------- from ours to theirs


def journal_of(run: Run, theirs: Document) -> Document:
    """Return the journal that says where an execution stands.

    Args:
        run: The execution.
        theirs: Its name and its modes, which are the plan's.
    """
    plan = run.plan
    modes = {mode: word for word, mode in ON_ERROR.items()}
    return {
        "version": 1,
        "workflow_id": theirs["workflow_id"],
        "execution_mode": modes[plan.on_error],
        "rollback_mode": plan.on_undo_error,
        **_workflow(run, run.tree.root, plan),
    }


def _workflow(run: Run, owner: Node, plan: Plan) -> Document:
    steps: list[Document] = []
    shared: Document = {}
    for planned_step in plan.steps:
        name = planned_step.definition.id
        node = owner.find(f"steps/{name}")
        if node is None:
            steps.append({"id": name, "state": "pending"})
        elif planned_step.plan is not None:
            inside = _workflow(run, node, planned_step.plan)
            steps.append({"id": name, "state": "started", **inside})
        else:
            steps.append(_step(run, node))
            shared.update(_values(values_of(node, SHARED)))
    return {
        "cursor": _cursor(owner, steps),
        "shared": {"local": {}, "global": shared},
        "steps": steps,
    }


def _cursor(owner: Node, steps: list[Document]) -> Document:
    states = [each["state"] for each in steps]
    if owner.state in _ENDED:
        return {"phase": "done", "index": len(steps) - 1}
    if owner.state is Status.COMPENSATING:
        left = [number for number, state in enumerate(states) if state == "completed"]
        return {"phase": "compensating", "index": max(left)}
    begun = [number for number, state in enumerate(states) if state != "pending"]
    return {"phase": "forward", "index": max(begun, default=0)}


def _step(run: Run, node: Node) -> Document:
    facts = values_of(node, METADATA)
    found: Document = {"id": node.key.partition("/")[2], "state": _state(node)}
    if "snapshot" in facts:
        seen = {**run.program.sharing.seen_by(node), **values_of(node, SHARED)}
        local = _values(values_of(node, STATE))
        found["snapshot"] = {"local": local, "global": _values(seen)}
    if "report" in facts:
        found["report"] = _report(node, found["id"])
    return found


def _state(node: Node) -> str:
    undo = node.find("undo")
    if node.state is Status.FAILURE:
        return "failed"
    if undo is not None and undo.state is Status.SUCCESS:
        return "compensated"
    return "completed" if node.state is Status.SUCCESS else "started"


def _report(node: Node, name: str) -> Document:
    data = node.read(STEP)
    assert data.sent_ms is not None
    assert data.ended_ms is not None
    return {
        "id": name,
        "isWorkflow": False,
        "action": "execute",
        "status": "success",
        "startTime": encode_moment(data.sent_ms, "startTime"),
        "endTime": encode_moment(data.ended_ms, "endTime"),
    }


def _values(texts: dict[str, bytes]) -> Document:
    return {name: loads(text) for name, text in texts.items()}
