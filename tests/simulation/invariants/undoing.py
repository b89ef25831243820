"""Undoing: what is taken back, in which order, and once, by what is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from flow.step import StepDefinition
from flow.workflow import WorkflowDefinition
from tests.simulation.folding import ENDED, Change, Committed, Node, Recorded, walk_steps
from tests.simulation.invariants.attempts import new_attempts
from tests.simulation.invariants.base import Invariant
from tests.simulation.invariants.inputs import locate
from tests.simulation.undos import UNDO, run_of

__all__ = [
    "CompensatedIsUndone",
    "FailedUndosAreIncidents",
    "NothingGoesForward",
    "NothingGoesOnAfterAFailedUndo",
    "SettledBeforeUndone",
    "UndosAreOnce",
    "UndosInOrder",
]

DONE: Final = frozenset({"SUCCESS", "SKIPPED"})
"""The states of an undo that has ended well."""
FAILED: Final = frozenset({"FAILURE", "ABORTED"})
"""The states of an undo that has to be done still, by somebody."""
NAMED_MAX: Final = 5
"""So many undos that failed an incident names; of more it says how many there are."""


def undos_of(execution: Recorded, inside: str = "") -> Iterator[Node]:
    """Go through the undos of an execution.

    Args:
        execution: The execution.
        inside: What their paths begin with.
    """
    for node in walk_steps(execution.nodes):
        if node.path.endswith(UNDO) and node.path.startswith(inside):
            yield node


def has_begun(node: Node) -> bool:
    """Return whether the handler of a step may have started, as the journal has it.

    Args:
        node: The step.
    """
    data = node.data
    may_have = data.get("began") or data.get("unsettled") or node.state in DONE
    return bool(node.attempt and may_have)


class CompensatedIsUndone(Invariant):
    """Every run of a compensated execution that has begun has one undo, which has ended well.

    Begun is what a handler of the simulation has begun with, whatever the journal knows of it.
    And what is compensated without any undo that failed does not end as if nothing were undone.
    """

    name = "what is compensated is undone"

    def committed(self, commit: Committed) -> None:
        """Look at executions that have just ended."""
        for change in commit.changes:
            execution = change.execution
            was = "" if change.root is None else change.root.state
            if execution.root.state in ENDED and execution.root.state != was:
                self._look(execution)

    def end(self) -> None:
        """Look at all executions again: a run may have come late."""
        for execution in self.model.executions.values():
            if execution.root.state in ENDED:
                self._look(execution)

    def _look(self, execution: Recorded) -> None:
        has_failed = any(node.state in FAILED for node in undos_of(execution))
        waiting = [node.path for node in undos_of(execution) if node.state == "PENDING"]
        if waiting and not has_failed:
            self.broken(f"{execution.id} is {execution.root.state}, and {waiting[0]} waits")
        for node in execution.nodes.values():
            if node.kind == "sub-workflow" and node.state in {"RUNNING", "COMPENSATING"}:
                self.broken(f"{execution.id} has ended, and {node.path} is {node.state}")
        if execution.root.state == "COMPENSATED":
            for node in walk_steps(execution.nodes):
                if node.path.rpartition("/")[0].endswith("steps"):
                    self._look_at(execution, node)

    def _look_at(self, execution: Recorded, node: Node) -> None:
        called = len(self.ledger.calls.get((execution.id, node.path), ()))
        if not called and not has_begun(node):
            return
        undo = execution.nodes.get(f"{node.path}{UNDO}")
        if undo is None or undo.state not in DONE:
            state = "not there" if undo is None else undo.state
            begun = f"{node.path} has begun ({called} calls of its handler)"
            self.broken(f"{execution.id} is COMPENSATED, {begun}, and its undo is {state}")
        elif called and not undo.attempt and "never began" in undo.data.get("reason", ""):
            self.broken(f"{execution.id} {undo.path}: left out, and its run had {called} calls")


class FailedUndosAreIncidents(Invariant):
    """An undo that has failed is an incident, which names it, and no compensation was clean."""

    name = "failed undos are incidents"

    def committed(self, commit: Committed) -> None:
        """Look at executions that have ended."""
        for change in commit.changes:
            root = change.execution.root
            if root.state not in ENDED:
                continue
            failed = [run_of(node.path) for node in undos_of(change.execution) if _failed(node)]
            was = "" if change.root is None else change.root.state
            if was == "COMPENSATING" and failed and root.state != "FAILURE":
                self.broken(f"{change.id} is {root.state}, and the undo of {failed[0]} failed")
            if root.state == "COMPENSATED" and failed:
                self.broken(f"{change.id} is COMPENSATED, and the undo of {failed[0]} failed")
            self._look(change.id, root.data.get("incident", ""), failed)

    def _look(self, execution: str, incident: str, failed: list[str]) -> None:
        if len(failed) > NAMED_MAX:
            missing = [] if str(len(failed)) in incident else [str(len(failed))]
        else:
            missing = [path for path in failed if path not in incident]
        if missing:
            self.broken(f"{execution}: the incident {incident!r} does not name {missing[0]}")
        elif "undo" in incident and not failed:
            self.broken(f"{execution}: the incident {incident!r}, and no undo has failed")


class UndosAreOnce(Invariant):
    """An undo that has ended well is not made again, nor deleted, whatever happens."""

    name = "undone once"

    def committed(self, commit: Committed) -> None:
        """Look at the undos that a commit names."""
        for change in commit.changes:
            for path in change.gone:
                if path.endswith(UNDO):
                    self.broken(f"{change.id} {path}: deleted")
            for before, after in change.steps():
                if before is None or before.state not in DONE or not after.path.endswith(UNDO):
                    continue
                if (after.state, after.attempt, after.created) != (
                    *(before.state, before.attempt, before.created),
                ):
                    now = f"{after.state} with attempt {after.attempt}"
                    self.broken(f"{change.id} {after.path}: was {before.state}, and is {now}")


class NothingGoesForward(Invariant):
    """No step goes out in a workflow that is taken back, from the moment in which that begins."""

    name = "forward while it is undone"

    def committed(self, commit: Committed) -> None:
        """Look at the attempts that a commit has made."""
        for change in commit.changes:
            for path in new_attempts(change):
                if not path.endswith(UNDO) and "hooks/" not in path:
                    self._look(change, path)

    def _look(self, change: Change, path: str) -> None:
        for owner in owners_of(path):
            before = _before(change, owner)
            if before is not None and before.state in {"COMPENSATING", "COMPENSATED"}:
                where = f"{owner or 'the whole'} was {before.state}"
                self.broken(f"{change.id} {path}: an attempt, and {where}")
        root, node = change.execution.root, change.execution.nodes[path]
        is_new = node.data.get("epoch", 0) >= root.data.get("epoch", 1)
        if root.state == "COMPENSATING" and is_new:
            self.broken(f"{change.id} {path}: an attempt, and it is compensated from now on")


class SettledBeforeUndone(Invariant):
    """An undo goes out only when nothing of its step is out, and it is known what that did."""

    name = "undone before it was settled"

    def committed(self, commit: Committed) -> None:
        """Look at the undos that have gone out."""
        for change in commit.changes:
            for path in new_attempts(change):
                if not path.endswith(UNDO):
                    continue
                run = change.execution.nodes[run_of(path)]
                if run.data.get("unsettled") or run.state in {"PENDING", "RUNNING", "RETRYING"}:
                    known = "nothing is known of it" if run.data.get("unsettled") else "is it"
                    self.broken(f"{change.id} {path} went out: its step is {run.state}, {known}")


class UndosInOrder(Invariant):
    """A step is undone when all that depends on it is undone, across what never ran.

    Or when an undo of that has failed, and the others go on all the same. A sub-workflow is undone
    as one step.
    """

    name = "undone before its dependents"

    def committed(self, commit: Committed) -> None:
        """Look at the undos that have gone out."""
        for change in commit.changes:
            for path in new_attempts(change):
                if path.endswith(UNDO):
                    self._look(change, run_of(path), run_of(path))

    def _look(self, change: Change, undone: str, path: str) -> None:
        execution = change.execution
        found = locate(self.model.definitions, execution, path)
        if found is None:
            return
        step, workflow, prefix = found
        goes_on = mode_of(self.model.definitions, execution, prefix) == "continue"
        for name in followers(workflow, step.id):
            node = execution.nodes.get(f"{prefix}steps/{name}")
            if node is not None and (left := _left_of(execution, node, goes_on=goes_on)):
                self.broken(f"{change.id} {undone} is being undone, and {left}")
        owner = prefix.removesuffix("/")
        if not owner:
            return
        around = execution.nodes[owner.rpartition("/steps/")[0] if "/steps/" in owner else ""]
        if around.state == "COMPENSATING":
            # It is undone as a part of the workflow around it, when its turn has come there.
            self._look(change, undone, owner)


class NothingGoesOnAfterAFailedUndo(Invariant):
    """Where undos stop when one has failed, no other one goes out after that.

    Those that are out are tried again. A person lets the others go on, who has the failed one tried
    again or deals with it.
    """

    name = "halted undos wait"

    def committed(self, commit: Committed) -> None:
        """Look at the undos that have gone out for the first time."""
        for change in commit.changes:
            for path in new_attempts(change):
                before = _before(change, path)
                if path.endswith(UNDO) and (before is None or before.state == "PENDING"):
                    self._look(change, path)

    def _look(self, change: Change, path: str) -> None:
        for owner in owners_of(path):
            node = change.execution.nodes[owner]
            was = _before(change, owner)
            if node.state != "COMPENSATING" and (was is None or was.state != "COMPENSATING"):
                return
            prefix = f"{owner}/" if owner else ""
            if mode_of(self.model.definitions, change.execution, prefix) != "stop":
                continue
            for failed in self._failed(change, prefix):
                self.broken(f"{change.id} {path} went out, and {failed} had failed")

    def _failed(self, change: Change, prefix: str) -> Iterator[str]:
        """Go through the steps of a workflow whose undos had failed before, and still have."""
        for undo in undos_of(change.execution, f"{prefix}steps/"):
            before = _before(change, undo.path)
            if undo.state not in FAILED or before is None or before.state not in FAILED:
                continue
            inside = run_of(undo.path).removeprefix(prefix).split("/")[1:]
            step = f"{prefix}steps/{inside[0]}"
            present, was = change.execution.nodes[step], _before(change, step)
            is_over = was is not None and {present.state, was.state}.isdisjoint({"COMPENSATING"})
            if len(inside) == 1 or is_over:
                yield step


# ------------------------------------------------------------------------- the order


def owners_of(path: str) -> Iterator[str]:
    """Go through the workflows that a step is in, the innermost first.

    Args:
        path: The path of a step, or of its undo.
    """
    owner = run_of(path)
    while owner:
        owner = owner.rpartition("/steps/")[0] if "/steps/" in owner else ""
        yield owner


def followers(workflow: WorkflowDefinition, name: str) -> Iterator[str]:
    """Go through the steps that are undone before another one.

    They are those that depend on it, at first or second hand; its fallback, which ran after it;
    and for a fallback those that depend on what it stands in for.

    Args:
        workflow: The workflow.
        name: The id of the step.
    """
    found: dict[str, None] = {}
    left = [name]
    while left:
        each = left.pop()
        if each not in found:
            found[each] = None
            left += _next(workflow, each)
    del found[name]
    yield from found


def _next(workflow: WorkflowDefinition, name: str) -> Iterator[str]:
    for step in workflow.steps:
        if name in step.requires:
            yield step.id
        if step.id == name and step.fallback:
            yield step.fallback
        if step.fallback == name:
            yield from (each.id for each in workflow.steps if step.id in each.requires)


def mode_of(definitions: Mapping[str, WorkflowDefinition], execution: Recorded, prefix: str) -> str:
    """Return whether undos go on in a workflow when one of them has failed.

    Args:
        definitions: All definitions by their hashes.
        execution: The execution.
        prefix: What the paths of the workflow's steps begin with.
    """
    workflow = definitions[execution.summary.definition]
    options = execution.nodes["input"].data.get("options", {})
    mode: str = options.get("on_undo_error") or workflow.on_undo_error or "continue"
    for name in prefix.split("/")[1::2]:
        step: StepDefinition = next(each for each in workflow.steps if each.id == name)
        workflow = cast("WorkflowDefinition", step.workflow)
        mode = workflow.on_undo_error or mode
    return mode


def _left_of(execution: Recorded, node: Node, *, goes_on: bool) -> str:
    """Return what of a step, or of a sub-workflow, is not undone yet, or an empty string."""
    if node.kind != "step":
        undos = list(undos_of(execution, f"{node.path}/"))
        if node.state == "COMPENSATING":
            return f"{node.path} is COMPENSATING"
    else:
        undo = execution.nodes.get(f"{node.path}{UNDO}")
        if undo is None:
            return f"{node.path} has no undo" if has_begun(node) else ""
        undos = [undo]
    if any(undo.state in FAILED for undo in undos):
        return "" if goes_on else f"{node.path} could not be undone"
    left = next((undo for undo in undos if undo.state not in DONE), None)
    return "" if left is None else f"{left.path} is {left.state}"


def _failed(node: Node) -> bool:
    return node.state == "FAILURE"


def _before(change: Change, path: str) -> Node | None:
    """Return a node as it was before a commit."""
    if path in change.before:
        return change.before[path]
    return change.execution.nodes.get(path)
