"""Results: each is recorded once, stays what it is, and is what a handler returned."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from tests.simulation.folding import Change, Committed, Node, Recorded
from tests.simulation.invariants.base import Evidence, Invariant

__all__ = ["ResultsAreReturned", "ResultsNeverChange", "ResultsOnce"]

FINAL: Final = frozenset({"SUCCESS", "SKIPPED"})
"""The states that a step never leaves."""


def _output(node: Node) -> tuple[Any, Any]:
    return node.data.get("output"), node.data.get("headers")


class ResultsNeverChange(Invariant):
    """A step that has succeeded, or was skipped, stays so, with the output that it had."""

    name = "results never change"

    def committed(self, commit: Committed) -> None:
        """Look at steps that had succeeded before."""
        for change in commit.changes:
            for before, after in change.steps():
                if before is None or before.state not in FINAL or before.created != after.created:
                    continue
                if after.state != before.state:
                    self.broken(f"{change.id} {after.path} was {before.state}, is {after.state}")
                elif _output(after) != _output(before):
                    self.broken(f"{change.id} {after.path}: {_output(before)} is now another")


class ResultsOnce(Invariant):
    """The history says of each step at most once that it has succeeded."""

    name = "results recorded twice"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no result."""
        super().__init__(evidence)
        self._told: Counter[tuple[str, str]] = Counter()

    def committed(self, commit: Committed) -> None:
        """Count what the causes of records say."""
        for change in commit.changes:
            for cause in change.causes:
                if cause.type in {"StepSucceeded", "StepSkipped"}:
                    self._count(change, cause.reason.partition(" ")[0])

    def _count(self, change: Change, path: str) -> None:
        self._told[change.id, path] += 1
        # A hook or a fallback that was deleted may have run anew.
        if self._told[change.id, path] > 1 and path not in change.execution.recreated:
            self.broken(f"{change.id} {path} has succeeded {self._told[change.id, path]} times")


class ResultsAreReturned(Invariant):
    """Every result that a worker reported is what a call of the step's handler has returned."""

    name = "results are returned"

    def committed(self, commit: Committed) -> None:
        """Look at steps that have just succeeded."""
        for change in commit.changes:
            for cause in change.causes:
                # Of a publish step nobody but the broker reports anything, in no message.
                if cause.type == "StepSucceeded" and cause.id:
                    self._look(change.execution, cause.reason.partition(" ")[0])

    def _look(self, execution: Recorded, path: str) -> None:
        node = execution.nodes.get(path)
        if node is None:
            return
        calls = self.ledger.calls.get((execution.id, path), [])
        ends = [self.ledger.ends[call.number] for call in calls if call.number in self.ledger.ends]
        output = node.data.get("output")
        if not any(end.outcome == "success" and end.output == output for end in ends):
            self.broken(f"{execution.id} {path}: no call of its handler returned {output!r}")
