"""Innocence: nothing fails, and nothing is given up, but for what a handler did or a plan says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from tests.simulation.folding import Change, Committed, Node, Recorded, walk_steps
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.invariants.inputs import locate
from tests.simulation.ledger import Began
from tests.simulation.undos import UNDO

__all__ = [
    "AttemptsAreSpentByReports",
    "FailuresArePlanned",
    "FailuresAreReported",
    "FailuresHaveReasons",
    "IncidentsAreReal",
]

SLACK_S: Final = 0.001
BEFORE_THE_HANDLER: Final = ("MappingFailed", "TooLarge", "InvalidInput")
"""Errors that keep a handler from being called at all."""
NOTICED_S: Final = 30.0
"""Seconds after which the broker surely knows of a worker that it is dead."""


class FailuresAreReported(Invariant):
    """Each failure that is recorded is one that a call of the handler had.

    It raised in that very attempt, or it ran for longer than its timeout. Waiting in a queue, a
    takeover or a wipe is no failure.
    """

    name = "innocent failure"

    def committed(self, commit: Committed) -> None:
        """Look at the failures that a commit has recorded."""
        for change in commit.changes:
            for cause in change.causes:
                if cause.type == "StepFailed":
                    self._look(commit, change, cause.reason)

    def _look(self, commit: Committed, change: Change, reason: str) -> None:
        path, _, rest = reason.partition(" attempt ")
        number, _, why = rest.partition(":")
        calls = self.ledger.calls.get((change.id, path), [])
        these = [call for call in calls if call.attempt == int(number)]
        if not these and any(error in why for error in BEFORE_THE_HANDLER):
            return
        if not any(self._has_failed(commit, change, call) for call in these):
            what = f"{len(these)} calls of the handler and none has failed" if these else "no call"
            self.broken(f"{change.id} {reason[:200]}: recorded, with {what}")

    def _has_failed(self, commit: Committed, change: Change, call: Began) -> bool:
        end = self.ledger.ends.get(call.number)
        if end is not None and end.outcome == "failure":
            return True
        found = locate(self.model.definitions, change.execution, call.path)
        if found is None:
            return True
        return commit.at_s - call.at_s >= found[0].timeout_ms / 1000 - SLACK_S


class AttemptsAreSpentByReports(Invariant):
    """An attempt counts as spent only by a failure that was recorded."""

    name = "attempts are spent by reports"

    def committed(self, commit: Committed) -> None:
        """Compare what was spent with what was reported, in each record."""
        for change in commit.changes:
            reports: Counter[str] = Counter(
                cause.reason.partition(" attempt ")[0]
                for cause in change.causes
                if cause.type == "StepFailed"
            )
            for before, after in change.steps():
                same = before is not None and before.created == after.created
                spent_before = before.data.get("spent", 0) if before is not None and same else 0
                spent = after.data.get("spent", 0) - spent_before
                if spent > reports[after.path]:
                    told = f"{spent} attempts were spent, {reports[after.path]} failures recorded"
                    self.broken(f"{change.id} {after.path}: {told}")


class FailuresHaveReasons(Invariant):
    """An execution fails only when a step or an undo has failed, or when its own time is up.

    One that had succeeded and is undone in part counts as failed for that.
    """

    name = "failures have reasons"

    def committed(self, commit: Committed) -> None:
        """Look at executions that have just failed."""
        for change in commit.changes:
            root = change.execution.root
            was = None if change.root is None else change.root.state
            if root.state != "FAILURE" or was == "FAILURE":
                continue
            steps = walk_steps(change.execution.nodes)
            kind = root.data.get("failure", {}).get("type", "")
            by_mapping = any(kind.endswith(error) for error in BEFORE_THE_HANDLER)
            by_name = kind.endswith(("DeadlineExceeded", "StepsUndone"))
            if not (any(node.state == "FAILURE" for node in steps) or by_mapping or by_name):
                self.broken(f"{change.id} is FAILURE ({kind}), and no step of it has failed")


class FailuresArePlanned(Invariant):
    """An execution ends in FAILURE only if the plan of its own handlers says that it may.

    Or if a person has undone it in part, or it is not known what became of a step.
    """

    name = "no innocent execution fails"

    def end(self) -> None:
        """Look at how all executions have ended."""
        scenario = self.evidence.world.scenario
        for execution in self.model.executions.values():
            if execution.root.state != "FAILURE":
                continue
            seed = scenario.seed_of(execution.id)
            program, why = scenario.program_of(execution.id), execution.root.data.get("failure", {})
            is_planned = program.may_fail(seed) or why.get("type", "").endswith("StepsUndone")
            if not is_planned and not self._has_failed_undo(program, seed, execution):
                self.broken(f"{execution.id} is FAILURE, which its handlers never planned: {why}")

    def _has_failed_undo(self, program: Any, seed: str, execution: Recorded) -> bool:
        """Return whether an undo has failed as its handler planned it, or was never sent."""
        for node in walk_steps(execution.nodes):
            if not node.path.endswith(UNDO) or node.state != "FAILURE":
                continue
            is_unknown = node.data.get("failure", {}).get("type", "").endswith("OutcomeUnknown")
            if is_unknown or program.undo_may_fail(seed, node.path):
                return True
        return False


class IncidentsAreReal(Invariant):
    """A step that runs at most once counts as silent only if something had gone wrong.

    What got its permit after everything was well again is heard of, unless its worker was dead by
    then, or on its way out: its question may have waited in a queue for longer than it lived, or
    left its handler too little time. And the broker needs a while until it knows who is dead.
    """

    name = "incidents are real"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no permit."""
        super().__init__(evidence)
        self._granted: dict[tuple[str, str], float] = {}
        self._orphaned: dict[tuple[str, str], None] = {}

    def committed(self, commit: Committed) -> None:
        """Note permits, and look at steps that count as silent now."""
        for change in commit.changes:
            for before, after in change.steps():
                old: Mapping[str, Any] = {} if before is None else before.data
                if after.data.get("permit") and not old.get("permit"):
                    self._grant(change.id, after, commit.at_s)
                if after.data.get("silent_ms") is not None and old.get("silent_ms") is None:
                    self._look(change.id, after.path)

    def _grant(self, execution: str, step: Node, at_s: float) -> None:
        self._granted[execution, step.path] = at_s
        worker = step.data.get("worker")
        if worker and (self.ledger.leaving or not self._is_there(worker)):
            self._orphaned[execution, step.path] = None

    def _is_there(self, worker: str) -> bool:
        """Return whether a worker lives: the queue for its permits goes with its connection."""
        queues = self.evidence.world.cluster.servers.hub.stats().queues
        return any(queue.name.endswith(f".cancel.{worker}") for queue in queues)

    def _look(self, execution: str, path: str) -> None:
        healed_s, granted_s = self.ledger.healed_s, self._granted.get((execution, path))
        is_orphaned = (execution, path) in self._orphaned
        if granted_s is None:
            self.broken(f"{execution} {path} counts as silent, and nobody has a permit")
        elif healed_s is not None and granted_s > healed_s + NOTICED_S and not is_orphaned:
            self.broken(f"{execution} {path} counts as silent, and nothing has gone wrong")
