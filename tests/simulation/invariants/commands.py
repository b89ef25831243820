"""Commands: what was decided is sent, what is sent was decided, and nothing of it is lost."""

from __future__ import annotations

from typing import Final

from flow.ports import Publication, Settlement
from flow.runtime import protocol
from tests.simulation.folding import Committed, Node, Row
from tests.simulation.invariants.attempts import new_attempts
from tests.simulation.invariants.base import Evidence, Invariant

__all__ = [
    "AttemptsHaveCommands",
    "NoCommandLost",
    "NumbersOfRowsGrow",
    "OnlyCommittedIsPublished",
    "OutboxIsEmptied",
]

_MESSAGES: Final = {"RunStep": (protocol.REQUEST, protocol.TOPIC), "CancelStep": (protocol.CANCEL,)}


class AttemptsHaveCommands(Invariant):
    """Each attempt that is committed has its outbox row in the same commit."""

    name = "attempts have commands"

    def committed(self, commit: Committed) -> None:
        """Look for the rows of the attempts that a commit has made."""
        rows = {(row.row.execution, row.path, row.attempt) for row in commit.rows if _runs(row)}
        for change in commit.changes:
            for path in new_attempts(change):
                node = change.execution.nodes[path]
                # One that has ended in the same commit was never wanted.
                if node.state == "RUNNING" and (change.id, path, node.attempt) not in rows:
                    self.broken(f"{change.id} {path}: attempt {node.attempt} has no outbox row")


class NumbersOfRowsGrow(Invariant):
    """Each outbox row of a partition has a higher number than all that were there before it."""

    name = "numbers of rows grow"

    def committed(self, commit: Committed) -> None:
        """Look at the numbers of new rows."""
        last = self.model.last_numbers
        for row in commit.rows:
            partition, number = row.row.partition, row.row.number
            if number <= last.get(partition, 0):
                self.broken(f"{row.about} follows {last[partition]}")
            last[partition] = number


class NoCommandLost(Invariant):
    """An outbox row goes only after the broker has taken its message, or if it is superseded.

    Superseded is a command that the committed tree does not want any more. An answer whose queue
    is gone has nobody who waits for it.
    """

    name = "no command lost"

    def committed(self, commit: Committed) -> None:
        """Look at the rows that a commit has deleted."""
        for row in commit.settled:
            if self._is_wanted(row) and not self._is_out(row):
                self.broken(f"{row.about}: deleted, neither published nor superseded")

    def _is_wanted(self, row: Row) -> bool:
        execution = self.model.executions.get(row.row.execution)
        node = None if execution is None else execution.nodes.get(row.path)
        if node is None or node.created != row.node:
            return False
        return _wants(node, row)

    def _is_out(self, row: Row) -> bool:
        if row.task == "SendAnswer":
            data = self.model.executions[row.row.execution].nodes[row.path].data
            return self._was_sent(row, (protocol.ANSWER, data["correlation"], data["reply_to"]))
        correlation = f"{row.row.execution}/{row.epoch}/{row.node}/{row.attempt}"
        return any(self._was_sent(row, (kind, correlation, "")) for kind in _MESSAGES[row.task])

    def _was_sent(self, row: Row, key: tuple[str, str, str]) -> bool:
        found = self.evidence.published.get(key)
        if found is None or found.at_s < row.at_s:
            return False
        is_gone = row.task == "SendAnswer" and found.settlement is Settlement.UNROUTABLE
        return found.is_confirmed or is_gone


class OutboxIsEmptied(Invariant):
    """When all is done, every committed command was dealt with: the outbox is empty."""

    name = "outbox is emptied"

    def end(self) -> None:
        """Look at the rows that are left."""
        for row in self.model.outbox.values():
            self.broken(f"{row.about} is left")


class OnlyCommittedIsPublished(Invariant):
    """A request, a cancellation or a permit is published only after it was committed."""

    name = "published before it was committed"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with nothing committed."""
        super().__init__(evidence)
        self._committed: set[tuple[str, str]] = set()
        self._permits: set[str] = set()

    def committed(self, commit: Committed) -> None:
        """Take note of what may be published from now on."""
        for row in commit.rows:
            if row.task == "SendAnswer":
                continue
            correlation = f"{row.row.execution}/{row.epoch}/{row.node}/{row.attempt}"
            self._committed.update((kind, correlation) for kind in _MESSAGES[row.task])
        for change in commit.changes:
            for _, node in change.steps():
                if permit := node.data.get("permit"):
                    self._permits.add(permit)

    def published(self, publication: Publication, settlement: Settlement) -> None:
        """Look at a message that the broker was given."""
        envelope = publication.envelope
        kind, correlation = envelope.type, envelope.correlation_id
        if kind in {protocol.REQUEST, protocol.TOPIC, protocol.CANCEL}:
            if correlation.count("/") >= 3 and (kind, correlation) not in self._committed:
                self.broken(f"{kind} {correlation}: published, and not committed")
        elif kind == protocol.PERMIT:
            permit = envelope.headers.get(protocol.PERMIT_HEADER, "")
            if permit not in self._permits:
                self.broken(f"the permit {permit} of {correlation}: published, not committed")


def _runs(row: Row) -> bool:
    return row.task == "RunStep"


def _wants(node: Node, row: Row) -> bool:
    """Return whether a node, which is the one that a command is for, wants it still."""
    data = node.data
    match row.task:
        case "RunStep":
            present = node.attempt == row.attempt and data.get("epoch", 0) == row.epoch
            return node.state == "RUNNING" and present and not data.get("permit")
        case "CancelStep":
            # What somebody waited for, and was heard of, need not be cancelled any more.
            is_settled = data.get("settle_ms") is not None and not data.get("unsettled")
            return not is_settled and (node.state != "RUNNING" or node.attempt != row.attempt)
        case _:
            return node.state == "SUCCESS"
