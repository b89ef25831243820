"""The journal: numbers without gaps, stamps that grow, and only what the machines may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.simulation.folding import ENDED, Change, Committed, Node
from tests.simulation.invariants.base import Invariant
from tests.simulation.undos import UNDO

__all__ = [
    "EndsAreFinal",
    "NumbersWithoutGaps",
    "OnlyDeclaredStates",
    "RowsTellTheTree",
    "StampsGrow",
    "TransitionsGrow",
]

EXECUTIONS: Final = frozenset(
    {
        *("PENDING", "RUNNING", "SUSPENDING", "SUSPENDED", "ABORTING", "COMPENSATING"),
        *("SUCCESS", "FAILURE", "ABORTED", "COMPENSATED"),
    }
)
STATES: Final[Mapping[str, frozenset[str]]] = {
    "execution": EXECUTIONS,
    "sub-workflow": frozenset(
        {
            *("PENDING", "RUNNING", "COMPENSATING"),
            *("SUCCESS", "FAILURE", "ABORTED", "COMPENSATED"),
        }
    ),
    "step": frozenset(
        {"PENDING", "RUNNING", "RETRYING", "SUCCESS", "FAILURE", "SKIPPED", "ABORTED"}
    ),
    "input": frozenset({"SUCCESS"}),
    "command": frozenset({"SUCCESS"}),
    "waiter": frozenset({"PENDING", "SUCCESS"}),
}
"""The states that are declared, by machine type, written down once more."""
WRITTEN_ONCE: Final = frozenset({"input", "command"})
OF_SETTLING: Final = frozenset({"unsettled", "began", "output", "failure", "ended_at"})
"""What changes in a step when it is heard what became of an attempt that was ended by force."""


class NumbersWithoutGaps(Invariant):
    """Each record of an execution has the number that follows the one before, from 1 on."""

    name = "journal numbers without gaps"

    def committed(self, commit: Committed) -> None:
        """Look at the numbers of the records."""
        for change in commit.changes:
            numbers = (change.write.seq, change.number)
            if numbers != (change.seq_before + 1,) * 2:
                self.broken(f"{change.id}: record {numbers} follows {change.seq_before}")
            if change.owner != change.id:
                self.broken(f"{change.id}: its record says that it is about {change.owner}")


class StampsGrow(Invariant):
    """Each record of an execution has a later stamp than the one before, whoever wrote it."""

    name = "stamps grow"

    def committed(self, commit: Committed) -> None:
        """Look at the stamps of the records."""
        for change in commit.changes:
            if change.execution.stamp <= change.stamp_before:
                records = f"record {change.write.seq} by {commit.process}"
                stamps = f"{change.execution.stamp} after {change.stamp_before}"
                self.broken(f"{change.id}: {records} is stamped {stamps}")


class OnlyDeclaredStates(Invariant):
    """A node is in one of the states that its machine declares, and what is written once stays."""

    name = "only declared states"

    def committed(self, commit: Committed) -> None:
        """Look at the nodes that records name."""
        for change in commit.changes:
            for path, before in change.before.items():
                # What was made and deleted again in one record is not there.
                if path in change.execution.nodes:
                    self._look(change, before, change.execution.nodes[path])

    def _look(self, change: Change, before: Node | None, node: Node) -> None:
        if node.state not in STATES.get(node.kind, ()):
            self.broken(f"{change.id}: {node.path!r}, a {node.kind}, is {node.state}")
        if before is None or before.created != node.created:
            return
        if before.kind != node.kind:
            self.broken(f"{change.id}: {node.path!r} was a {before.kind} and is a {node.kind}")
        if node.kind in WRITTEN_ONCE and before.data != node.data:
            self.broken(f"{change.id}: {node.path!r}, written once, has changed")


class TransitionsGrow(Invariant):
    """A node that changes has a higher transition number than before, and is as old as it was."""

    name = "transitions grow"

    def committed(self, commit: Committed) -> None:
        """Look at the transition numbers of the nodes that records name."""
        for change in commit.changes:
            for path, before in change.before.items():
                node = change.execution.nodes.get(path)
                if node is None:
                    continue
                if before is not None:
                    self._look(change, before, node)
                if not node.created <= node.updated <= change.execution.number:
                    self.broken(f"{change.id}: {path!r} changed before it was made, or later")

    def _look(self, change: Change, before: Node, node: Node) -> None:
        what = f"{change.id}: record {change.write.seq}: {node.path!r}"
        if node.updated < before.updated:
            self.broken(f"{what} went back from {before.updated} to {node.updated}")
        if node.updated == before.updated and node != before:
            self.broken(f"{what} changed without a transition")
        if node.created != before.created and node.created <= before.updated:
            self.broken(f"{what} was made anew at {node.created}, before {before.updated}")


class EndsAreFinal(Invariant):
    """What has ended changes no more; only commands let an execution go on, or be taken back.

    What was ended by force may be settled later.
    """

    name = "ends are final"

    def committed(self, commit: Committed) -> None:
        """Look at executions that had ended before."""
        for change in commit.changes:
            root = change.root
            if root is not None and root.state in ENDED:
                self._look(change, root)

    def _look(self, change: Change, root: Node) -> None:
        if root.state == "FAILURE" and change.has_cause("ResumeRequested"):
            return
        if root.state != "COMPENSATED" and change.has_cause("UndoRequested", "ResolveRequested"):
            return
        is_heard = change.has_cause("StepSucceeded", "StepFailed", "StepSkipped", "StepCancelled")
        changed = [
            path
            for path, before in change.before.items()
            if path in change.execution.nodes
            and change.execution.nodes[path] != before
            and change.execution.nodes[path].kind in {"execution", "sub-workflow", "step", "input"}
            and not (is_heard and _is_settled(before, change.execution.nodes[path]))
        ]
        if changed or change.gone:
            causes = ", ".join(cause.type for cause in change.causes)
            names = [*map(repr, changed), *change.gone]
            self.broken(f"{change.id} was {root.state}: {names} changed, because of {causes}")


def _is_settled(before: Node | None, after: Node) -> bool:
    """Return whether nothing has happened to a step but that it was heard what it had done."""
    if before is None or before.kind != "step":
        return False
    if before.path.endswith(UNDO) and (before.state, after.state) == ("PENDING", "SKIPPED"):
        # It was held back, and need not be done, for its run never began.
        return True
    names = {*before.data, *after.data}
    changed = {name for name in names if before.data.get(name) != after.data.get(name)}
    is_heard = before.data.get("unsettled", False) and not after.data.get("unsettled", False)
    return is_heard and before.state == after.state and changed <= OF_SETTLING


class RowsTellTheTree(Invariant):
    """The row of an execution says what its tree says: the status, when it ended, the incident."""

    name = "rows tell the tree"

    def committed(self, commit: Committed) -> None:
        """Look at the rows that were written."""
        for change in commit.changes:
            summary, root = change.write.summary, change.execution.root
            told = (summary.status.name, summary.ended_ms, summary.incident)
            data = root.data
            true = (root.state, data.get("ended_ms"), data.get("incident", ""))
            if told != true:
                self.broken(f"{change.id}: its row says {told}, its tree {true}")
            if (root.state in ENDED) != (summary.ended_ms is not None):
                self.broken(f"{change.id} is {root.state}, and ended at {summary.ended_ms}")
