"""Remembering: what is due, who waits for an answer, and what was cancelled is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from flow.runtime.protocol import CANCEL
from tests.simulation.folding import ENDED, Committed, Recorded
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.invariants.quiescence import engines
from tests.simulation.ledger import Began, Entry

__all__ = ["CancelledIsRemembered", "OwnersRememberWhatIsDue", "WaitersAreTold"]

PATIENCE_S: Final = 5.0
"""Seconds for which an owner that has nothing to do may not know what is due."""
SLACK_MS: Final = 60_000
IN_A_THREAD: Final = ".block"
"""What the endpoints end with whose handlers are ordinary functions."""
CANCELLED_FOR_S: Final = 3_000.0
"""Seconds for which a worker remembers what was cancelled, at least."""


class OwnersRememberWhatIsDue(Invariant):
    """An owner has an alarm for each execution, or for what its partition has in the store.

    Nobody may ask for the execution any more; then nothing but an alarm brings it back.
    """

    name = "owners remember what is due"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with nothing missed."""
        super().__init__(evidence)
        self._missed: dict[tuple[str, str, int], float] = {}

    def now(self) -> None:
        """Look at the alarms of owners that have nothing to do just now."""
        now_s, missed = self.evidence.now_s(), self._missed
        self._missed = {}
        for process, engine in engines(self.evidence.world):
            for execution in self._forgotten(engine):
                key = (process, execution.id, execution.seq)
                self._missed[key] = since_s = missed.get(key, now_s)
                if now_s - since_s >= PATIENCE_S:
                    when = f"it is due at {execution.wake_ms}"
                    self.broken(f"{process} has no alarm for {execution.id}, and {when}")

    def _forgotten(self, engine: Any) -> Iterator[Recorded]:
        if not engine.inbox._finished.is_set() or not engine.committer._idle.is_set():
            # What is being written may not be due any more, or has ended.
            return
        for execution in self.model.executions.values():
            is_open = engine.holdings.is_open(execution.partition)
            is_broken = execution.id in engine.residents.parked
            if is_open and not is_broken and not self._has_alarm(engine, execution):
                yield execution

    def _has_alarm(self, engine: Any, execution: Recorded) -> bool:
        wake_ms = execution.wake_ms
        if wake_ms is None or engine.timers.time(execution.id) is not None:
            return True
        present = engine.timers.time(f"@{execution.partition}")
        is_in = execution.id in engine.residents._live
        return not is_in and present is not None and present <= wake_ms + SLACK_MS


class WaitersAreTold(Invariant):
    """When an execution ends, the commit has an answer for everybody who is in its tree."""

    name = "waiters are told"

    def committed(self, commit: Committed) -> None:
        """Look at the waiters of what has ended."""
        answers = {(row.row.execution, row.path) for row in commit.rows if row.task == "SendAnswer"}
        for change in commit.changes:
            execution = change.execution
            if execution.root.state not in ENDED:
                continue
            for node in execution.nodes.values():
                if node.kind == "waiter" and node.state == "PENDING":
                    self.broken(f"{change.id} is {execution.root.state}, and {node.path} waits")
            if change.write.is_snapshot:
                # It names everybody, also those who were told before.
                continue
            for path in change.before:
                kind = execution.nodes[path].kind if path in execution.nodes else ""
                if kind == "waiter" and (change.id, path) not in answers:
                    self.broken(f"{change.id}: {path} is to be told, and by no command")


class CancelledIsRemembered(Invariant):
    """A worker that was told of a cancellation does not begin with what was cancelled.

    A handler that runs in a thread may have been handed over by then.
    """

    name = "cancelled is remembered"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with nothing cancelled."""
        super().__init__(evidence)
        self._told: dict[tuple[str, str], float] = {}

    def acked(self, process: str, kind: str, correlation: str) -> None:
        """Take note of what a worker was told."""
        if kind == CANCEL:
            self._told[process, correlation] = self.evidence.now_s()

    def began_anew(self, process: str) -> None:
        """Take note of a process that remembers nothing."""
        self._told = {key: at_s for key, at_s in self._told.items() if key[0] != process}

    def heard(self, entry: Entry) -> None:
        """Look at an attempt that begins."""
        if not isinstance(entry, Began) or entry.endpoint.endswith(IN_A_THREAD):
            return
        execution = self.model.executions.get(entry.execution)
        node = None if execution is None else execution.nodes.get(entry.path)
        if node is None or node.attempt != entry.attempt:
            return
        epoch = node.data.get("epoch", 0)
        correlation = f"{entry.execution}/{epoch}/{node.created}/{entry.attempt}"
        told_s = self._told.get((entry.process, correlation))
        if told_s is not None and entry.at_s - told_s < CANCELLED_FOR_S:
            when = f"it was told of the cancellation at {told_s:.3f} s"
            self.broken(f"{entry.process} begins with {correlation}, and {when}")
