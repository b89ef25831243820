"""Timers: none is early, and none is lost while its execution is not in memory."""

from __future__ import annotations

from typing import Final

from tests.simulation.folding import Change, Committed, Node, Recorded
from tests.simulation.invariants.base import Invariant
from tests.simulation.invariants.inputs import Definitions, locate

__all__ = ["TimersAreNotEarly", "WakeTimesAreLowerBounds"]

SLACK_MS: Final = 2_000
"""By so much an orchestrator may be wrong about the store's time, if nobody moves it."""
FIRST_SILENCE_MS: Final = 60_000
LONGEST_SILENCE_MS: Final = 3_600_000
LONG_MS: Final = 600_000
DEFAULT_BEAT_MS: Final = 30_000
TIMERS: Final = ("RetryDue", "StartDue", "ExecutionDeadline", "SettleDue")


class _OnTime(Invariant):
    """Goes by the store's time, and by how wrong anybody may be about it by now."""

    def store_ms(self) -> int:
        """Return the store's time."""
        now_ms: int = self.evidence.world.cluster.clock.now_ms()
        return now_ms

    @property
    def slack_ms(self) -> int:
        """By how much anybody may be wrong about it."""
        return SLACK_MS + 2 * self.evidence.largest_skew_ms


class TimersAreNotEarly(_OnTime):
    """A timer fires only when it is due by the store's clock, however wrong the machines' are."""

    name = "timers are not early"

    def committed(self, commit: Committed) -> None:
        """Look at the timers that have fired."""
        now_ms = self.store_ms()
        for change in commit.changes:
            for cause in change.causes:
                if cause.type == "TimerFired":
                    self._look(change, cause.reason, now_ms)

    def _look(self, change: Change, reason: str, now_ms: int) -> None:
        kind, _, path = reason.partition(" ")
        before = change.before.get(path)
        due_ms = None if before is None else _due_ms(kind, before)
        if due_ms is None:
            return
        early_ms = due_ms + change.execution.root.data.get("offset_ms", 0) - now_ms
        if early_ms > self.slack_ms:
            self.broken(f"{change.id}: {reason} fired {early_ms} ms early")


class WakeTimesAreLowerBounds(_OnTime):
    """The row of an execution says a time to wake it that is no later than what is due in it."""

    name = "wake times are lower bounds"

    def committed(self, commit: Committed) -> None:
        """Look at the rows that were written."""
        now_ms = self.store_ms() + self.slack_ms
        for change in commit.changes:
            self._look(change.execution, max(now_ms, change.write.summary.updated_ms))
        for name, _ in commit.commit.wakes:
            execution = self.model.executions.get(name)
            if execution is not None and execution.partition not in commit.lost:
                self._look(execution, now_ms)

    def _look(self, execution: Recorded, now_ms: int) -> None:
        latest_ms = next_due_ms(self.model.definitions, execution, now_ms)
        wake_ms = execution.wake_ms
        if latest_ms is not None and (wake_ms is None or wake_ms > latest_ms):
            said = "never" if wake_ms is None else f"{wake_ms - latest_ms} ms too late"
            self.broken(f"{execution.id} is to be woken {said}")


def next_due_ms(definitions: Definitions, execution: Recorded, now_ms: int) -> int | None:
    """Return by when an execution has to be woken at the latest, by its nodes alone.

    Args:
        definitions: All definitions.
        execution: The execution.
        now_ms: The present, or a little later.

    Returns:
        None if nothing is due in it, ever.
    """
    root = execution.root
    offset_ms = root.data.get("offset_ms", 0)
    times: list[int] = []
    for node in execution.nodes.values():
        if root.state in {"RUNNING", "COMPENSATING"}:
            due = (_due_ms(kind, node) for kind in TIMERS)
            times += [each + offset_ms for each in due if each is not None]
        is_out = node.kind == "step" and node.state == "RUNNING"
        if is_out and node.data.get("silent_ms") is None:
            times.append(_resend_ms(definitions, execution, node, now_ms))
    return min(times, default=None)


def _due_ms(kind: str, node: Node) -> int | None:
    data = node.data
    match kind:
        case "RetryDue" if node.kind == "step" and node.state == "RETRYING":
            due: int | None = data.get("due_ms")
        case "StartDue" if node.kind == "step" and node.state == "RUNNING":
            due = data.get("due_ms")
        case "SettleDue" if node.kind == "step" and data.get("unsettled"):
            due = data.get("settle_ms")
        case "ExecutionDeadline" if node.state == "RUNNING" and not data.get("outcome"):
            due = data.get("deadline_ms")
        case _:
            due = None
    return due


def _resend_ms(definitions: Definitions, execution: Recorded, node: Node, now_ms: int) -> int:
    """Return when an attempt is sent again at the latest, or looked after."""
    sent_ms: int = node.data.get("sent_ms", now_ms)
    due_ms, gap_ms = sent_ms + FIRST_SILENCE_MS, FIRST_SILENCE_MS
    while due_ms <= now_ms:
        gap_ms = min(2 * gap_ms, LONGEST_SILENCE_MS)
        due_ms += gap_ms
    found = locate(definitions, execution, node.path)
    beat_ms = 0
    if found is not None:
        step = found[0]
        is_long = step.at_most_once or step.timeout_ms > LONG_MS
        beat_ms = step.heartbeat_ms or (DEFAULT_BEAT_MS if is_long else 0)
    # A sign of life puts it off.
    return max(due_ms, now_ms + max(FIRST_SILENCE_MS, 3 * beat_ms))
