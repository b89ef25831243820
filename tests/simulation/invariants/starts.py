"""Starts: none that was accepted is lost, and none makes two executions."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from tests.simulation.folding import ENDED, Committed, Recorded
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.ledger import Accepted, Answered, Entry

__all__ = [
    "AcceptedStartsEnd",
    "AcceptedStartsExist",
    "EndsAreTold",
    "NothingInvented",
    "StartsOnce",
]


class AcceptedStartsExist(Invariant):
    """When a start is answered, its execution has been committed."""

    name = "accepted starts exist"

    def heard(self, entry: Entry) -> None:
        """Look for an execution whose start was answered."""
        if not isinstance(entry, Accepted):
            return
        name = entry.execution
        if name not in self.model.executions and name not in self.model.deleted:
            self.broken(f"{name}: its start was answered, and nothing is committed")


class AcceptedStartsEnd(Invariant):
    """Every execution ends, those whose start was accepted above all."""

    name = "accepted starts lost"

    def end(self) -> None:
        """Look at all executions, when nothing is left to be done."""
        for name in self.ledger.taken:
            if name not in self.model.executions and name not in self.model.deleted:
                self.broken(f"{name} was accepted, and is not there")
        for execution in self.model.executions.values():
            if execution.root.state not in ENDED:
                self.broken(f"{execution.id} is {execution.root.state}, and has not ended")


class StartsOnce(Invariant):
    """An execution begins once, with its first record, whatever comes twice or late."""

    name = "starts once"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no start."""
        super().__init__(evidence)
        self._begun: Counter[str] = Counter()

    def committed(self, commit: Committed) -> None:
        """Look for the event that begins an execution."""
        for change in commit.changes:
            begun = sum(cause.type == "ExecutionStarted" for cause in change.causes)
            self._begun[change.id] += begun
            is_first = change.seq_before == 0
            if begun != is_first or self._begun[change.id] != 1:
                times = self._begun[change.id]
                self.broken(f"{change.id} has begun {times} times, in record {change.write.seq}")


class NothingInvented(Invariant):
    """There is no execution that nobody has asked for."""

    name = "nothing is invented"

    def committed(self, commit: Committed) -> None:
        """Look at new executions."""
        for change in commit.changes:
            if change.seq_before == 0 and change.id not in self.ledger.started:
                self.broken(f"{change.id} was begun, and nobody has asked for it")


class EndsAreTold(Invariant):
    """What is told of an end is what was committed before it was told.

    A record may hold an end and what went on from there, because a person wanted it to: of such an
    end only the causes of the record tell.
    """

    name = "ends are told as they are"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no end that a record hides."""
        super().__init__(evidence)
        self._went_on: set[str] = set()

    def committed(self, commit: Committed) -> None:
        """Take note of executions that ended, and went on, in one record."""
        for change in commit.changes:
            has_ended = change.root is not None and change.root.state in ENDED
            if change.has_cause("UndoRequested", "ResumeRequested") and not has_ended:
                self._went_on.add(change.id)

    def heard(self, entry: Entry) -> None:
        """Compare what somebody was told with the journal."""
        if not isinstance(entry, Answered) or entry.execution in self.model.deleted:
            return
        execution = self.model.executions.get(entry.execution)
        if execution is None:
            self.broken(f"{entry.execution} ended in {entry.status}, somebody was told; it is not")
        elif entry.status not in ENDED or not self._has_been(execution, entry.status):
            was = ", ".join(execution.statuses)
            self.broken(f"{execution.id} ended in {entry.status}, somebody was told; it was {was}")
        elif isinstance(entry.output, dict):
            self._compare(execution, cast("dict[str, Any]", entry.output))

    def _compare(self, execution: Recorded, output: dict[str, Any]) -> None:
        """Compare an output by step, as it is by default; outputs never change."""
        for name, told in output.items():
            node = execution.nodes.get(f"steps/{name}")
            is_known = node is not None and node.kind == "step" and node.state == "SUCCESS"
            if node is not None and is_known and node.data.get("output") != told:
                recorded = node.data.get("output")
                self.broken(f"{execution.id} {name}: told {told!r}, and recorded {recorded!r}")

    def _has_been(self, execution: Recorded, status: str) -> bool:
        return status in execution.statuses or execution.id in self._went_on
