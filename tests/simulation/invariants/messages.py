"""Messages: what is acknowledged stands in the store."""

from __future__ import annotations

from collections import Counter
from typing import Final

from flow.ports import Publication, Settlement
from flow.runtime import protocol
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.invariants.inputs import locate

__all__ = ["AcknowledgedIsCommitted"]

START: Final = f"{protocol.REQUEST_PREFIX}start"


class AcknowledgedIsCommitted(Invariant):
    """A reply or a start is acknowledged only after what came of it was committed.

    That is said of the last copy: one that is passed on to another owner is acknowledged when
    the broker has the other copy.
    """

    name = "acknowledged before it was committed"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no message."""
        super().__init__(evidence)
        self._copies: Counter[tuple[str, str]] = Counter()
        self._executions: dict[str, str] = {}

    def published(self, publication: Publication, settlement: Settlement) -> None:
        """Count a copy that the broker has taken."""
        envelope = publication.envelope
        kind, correlation = envelope.type, envelope.correlation_id
        if kind in {protocol.REPLY, START} and settlement is Settlement.CONFIRMED:
            self._copies[kind, correlation] += 1
            if kind == START:
                self._executions[correlation] = envelope.headers.get("flow-execution", "")

    def acked(self, process: str, kind: str, correlation: str) -> None:
        """Look at what came of a message whose last copy is acknowledged."""
        if kind not in {protocol.REPLY, START}:
            return
        self._copies[kind, correlation] -= 1
        if self._copies[kind, correlation] > 0:
            return
        if kind == START:
            execution = self._executions.get(correlation, "")
            if execution not in self.model.executions and execution not in self.model.deleted:
                self.broken(f"{process}: the start of {execution}, and nothing is committed")
        elif self._is_out(correlation):
            self.broken(f"{process}: the reply to {correlation}, which is not recorded")

    def _is_out(self, correlation: str) -> bool:
        """Return whether the journal still waits for a reply to this attempt."""
        name, epoch, created, attempt = correlation.rsplit("/", 3)
        execution = self.model.executions.get(name)
        nodes = () if execution is None else execution.nodes.values()
        node = next((each for each in nodes if each.created == int(created)), None)
        if execution is None or node is None:
            return False
        is_present = node.attempt == int(attempt) and node.data.get("epoch", 0) == int(epoch)
        if node.data.get("unsettled"):
            # Its undo has to know what became of it, if it has one.
            found = locate(self.model.definitions, execution, node.path)
            return is_present and found is not None and found[0].undo is not None
        is_now = execution.root.data.get("epoch", 1) == int(epoch)
        return is_present and is_now and node.state == "RUNNING"
