"""Requirements: a step begins when what it requires is done, with what that has returned."""

from __future__ import annotations

from typing import Any

from flow.step import StepDefinition
from flow.workflow import WorkflowDefinition
from tests.simulation.folding import Change, Committed, Recorded
from tests.simulation.invariants.attempts import new_attempts
from tests.simulation.invariants.base import Invariant
from tests.simulation.invariants.inputs import UNKNOWN, expected_input, locate
from tests.simulation.ledger import Began, Entry

__all__ = ["BegunIsCommitted", "InputsAreRecorded", "RequirementsFirst", "SuccessIsComplete"]


class RequirementsFirst(Invariant):
    """An attempt is committed only when all that its step requires is committed as done."""

    name = "step before its requirement"

    def committed(self, commit: Committed) -> None:
        """Look at the attempts that a commit has made."""
        for change in commit.changes:
            for path in new_attempts(change):
                self._look(change, path)

    def _look(self, change: Change, path: str) -> None:
        execution = change.execution
        found = locate(self.model.definitions, execution, path)
        options = execution.nodes["input"].data.get("options", {})
        if found is None or options.get("reverse"):
            return
        step, workflow, prefix = found
        for name in step.requires:
            if not _is_done(execution, workflow, prefix, name):
                node = execution.nodes.get(f"{prefix}steps/{name}")
                state = "not even there" if node is None else node.state
                self.broken(f"{execution.id} {path} went out, and {name} is {state}")


class SuccessIsComplete(Invariant):
    """An execution succeeds only when every step of its workflow is done, or stood in for."""

    name = "success is complete"

    def committed(self, commit: Committed) -> None:
        """Look at executions that have just succeeded."""
        for change in commit.changes:
            execution = change.execution
            was = None if change.root is None else change.root.state
            workflow = self.model.definitions.get(execution.summary.definition)
            if execution.root.state != "SUCCESS" or was == "SUCCESS" or workflow is None:
                continue
            options = execution.nodes["input"].data.get("options", {})
            stand_ins = {_fallback(execution, step) for step in workflow.steps}
            outside = options.get("skip", ()) or options.get("start_at", ())
            for step in workflow.steps:
                is_free = step.id in stand_ins or bool(outside)
                if not is_free and not _is_done(execution, workflow, "", step.id):
                    self.broken(f"{change.id} is SUCCESS, and {step.id} is not done")


class BegunIsCommitted(Invariant):
    """A handler begins only with an attempt that was committed before."""

    name = "begun before it was committed"

    def heard(self, entry: Entry) -> None:
        """Look for the attempt that a handler has begun."""
        if not isinstance(entry, Began) or not entry.execution:
            return
        execution = self.model.executions.get(entry.execution)
        known = 0 if execution is None else execution.attempts.get(entry.path, 0)
        if entry.attempt > known and entry.execution not in self.model.deleted:
            about = f"{entry.execution} {entry.path} attempt {entry.attempt}"
            self.broken(f"{about} runs in {entry.process}, and {known} are committed")


class InputsAreRecorded(Invariant):
    """A handler gets the input that its step is to have: of what is recorded, and nothing else."""

    name = "inputs are what is recorded"

    def heard(self, entry: Entry) -> None:
        """Compare the input of a handler with what the journal says."""
        if not isinstance(entry, Began):
            return
        execution = self.model.executions.get(entry.execution)
        if execution is None:
            return
        expected = expected_input(self.model.definitions, execution, entry.path)
        if expected is not UNKNOWN and expected != entry.body:
            got = f"{_short(entry.body)} and not {_short(expected)}"
            self.broken(f"{entry.execution} {entry.path} attempt {entry.attempt} got {got}")


def _is_done(execution: Recorded, workflow: WorkflowDefinition, prefix: str, name: str) -> bool:
    node = execution.nodes.get(f"{prefix}steps/{name}")
    if node is None:
        return False
    if node.state in {"SUCCESS", "SKIPPED"}:
        # What is skipped because another one has failed lets nobody go on.
        return not node.data.get("blocked_by")
    if node.state not in {"FAILURE", "COMPENSATED"}:
        return False
    step = next(each for each in workflow.steps if each.id == name)
    stands_in = execution.nodes.get(f"{prefix}steps/{_fallback(execution, step)}")
    helps = stands_in is not None and stands_in.state in {"SUCCESS", "SKIPPED"}
    return helps or _is_optional(execution, step)


def _short(value: Any) -> str:
    return repr(value)[:200]


def _fallback(execution: Recorded, step: StepDefinition) -> str:
    options = execution.nodes["input"].data.get("options", {})
    name: str = options.get("fallback", {}).get(step.id, step.fallback)
    return name


def _is_optional(execution: Recorded, step: StepDefinition) -> bool:
    options = execution.nodes["input"].data.get("options", {})
    return step.optional or step.id in options.get("optional", ())
