"""Attempts: none is committed while nothing new may be, and what is quiet is quiet."""

from __future__ import annotations

from typing import Final

from tests.simulation.folding import Change, Committed, walk_steps
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.ledger import Controlled, Entry, Wanted
from tests.simulation.undos import UNDO

__all__ = [
    "AbortsBumpTheEpoch",
    "AcknowledgedControl",
    "NoAttemptWhilePaused",
    "NoAttemptWhileStopped",
    "QuietIsQuiet",
    "is_backward",
    "new_attempts",
]

BUSY: Final = {
    "SUSPENDED": frozenset({"RUNNING"}),
    "SUCCESS": frozenset({"RUNNING", "RETRYING"}),
    "FAILURE": frozenset({"RUNNING", "RETRYING"}),
    "ABORTED": frozenset({"RUNNING", "RETRYING", "PENDING"}),
    "COMPENSATING": frozenset({"RUNNING", "RETRYING"}),
    "COMPENSATED": frozenset({"RUNNING", "RETRYING"}),
}
"""The states that no step may be in, by the state of its execution. Undos may, in COMPENSATING."""
BACKWARD: Final = ("UndoRequested", "ResolveRequested")
"""What has undos go out although the execution had ended."""
UNDONE: Final = frozenset({"COMPENSATING", "COMPENSATED"})


def new_attempts(change: Change) -> list[str]:
    """Return the paths of the steps that a commit has made an attempt of.

    Args:
        change: What it did to an execution.
    """
    found: list[str] = []
    for before, after in change.steps():
        same = before is not None and before.created == after.created
        if after.attempt > (before.attempt if same and before is not None else 0):
            found.append(after.path)
    return found


def is_backward(path: str) -> bool:
    """Return whether a step may go out while what ran is taken back: it is an undo, or a hook.

    Args:
        path: Its path.
    """
    return path.endswith(UNDO) or path.startswith("hooks/")


class NoAttemptWhileStopped(Invariant):
    """No attempt of what is suspended or has ended is committed, in sub-workflows neither.

    Only in the commit of a resume there may be one, and after it; and of undos, and hooks behind
    them, while the execution is compensated.
    """

    name = "attempt while suspended or after abort"

    def committed(self, commit: Committed) -> None:
        """Look at the attempts that were committed."""
        asked = {row.row.execution: row for row in commit.rows if row.task == "RunStep"}
        for change in commit.changes:
            paths = new_attempts(change)
            if row := asked.get(change.id):
                paths.append(row.path)
            for path in paths:
                if reason := self._forbidden(change, is_backward=is_backward(path)):
                    self.broken(f"{change.id} {path}: an attempt was committed, {reason}")

    def _forbidden(self, change: Change, *, is_backward: bool) -> str:
        if change.root is None:
            is_still = change.execution.root.state in {"SUSPENDING", "SUSPENDED"}
            alone = not change.has_cause("ResumeRequested")
            born = is_still and alone and not change.has_cause("SuspendRequested")
            return "and it was suspended from the beginning" if born else ""
        state = change.root.state
        if state == "RUNNING" or (is_backward and self._is_undone(change, state)):
            return ""
        if state in {"SUSPENDING", "SUSPENDED", "FAILURE"}:
            is_resumed = change.has_cause("ResumeRequested")
            return "" if is_resumed else f"and it was {state} and not resumed"
        return f"and it was {state}"

    def _is_undone(self, change: Change, state: str) -> bool:
        """Return whether undos, and hooks behind them, may go out from a state."""
        if state in {"SUSPENDING", "SUSPENDED"}:
            return change.has_cause("AbortRequested")
        is_asked = state in {"SUCCESS", "FAILURE", "ABORTED"} and change.has_cause(*BACKWARD)
        return state == "COMPENSATING" or is_asked


class NoAttemptWhilePaused(Invariant):
    """Between the answer to a pause and its end no execution of the workflow gets an attempt.

    Those that were resumed by themselves are not held by it, nor what is being undone.
    """

    name = "attempt while the workflow is paused"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no pause."""
        super().__init__(evidence)
        self._paused: dict[str, None] = {}
        self._asked: dict[str, bool] = {}
        self._ending: set[str] = set()
        self._resumed: set[str] = set()

    def heard(self, entry: Entry) -> None:
        """Take note of pauses that were answered, and of those that are to end."""
        match entry:
            case Wanted(target=target, verb="pause"):
                self._asked.setdefault(target, target not in self._ending)
            case Wanted(target=target, verb="unpause"):
                # Of two that are under way at the same time nobody knows which is the later one.
                self._ending.add(target)
                if target in self._asked:
                    self._asked[target] = False
                self._paused.pop(target, None)
            case Controlled(target=target, verb="unpause"):
                self._ending.discard(target)
                self._paused.pop(target, None)
            case Controlled(target=target, verb="pause"):
                if self._asked.pop(target, True) and target not in self._ending:
                    self._paused[target] = None
            case Wanted(target=target, verb="resume"):
                self._resumed.add(target)
            case _:
                pass

    def committed(self, commit: Committed) -> None:
        """Look at the attempts that were committed."""
        if not self._paused:
            return
        for change in commit.changes:
            is_paused = change.write.summary.workflow in self._paused
            if is_paused and change.id not in self._resumed and (paths := _held(change)):
                workflow = change.write.summary.workflow
                self.broken(f"{change.id} {paths[0]}: an attempt, and {workflow} is paused")


def _held(change: Change) -> list[str]:
    """Return the paths of the steps that a commit has made an attempt of, and a pause holds."""
    was = "" if change.root is None else change.root.state
    is_undone = "COMPENSATING" in {was, change.execution.root.state}
    paths = new_attempts(change)
    return [path for path in paths if not path.endswith(UNDO) and not is_undone]


class AcknowledgedControl(Invariant):
    """What is acknowledged was committed before: a command, and for an abort the end by it."""

    name = "acknowledged control is committed"

    def heard(self, entry: Entry) -> None:
        """Look at the execution that a command was about."""
        if not isinstance(entry, Controlled) or entry.verb in {"pause", "unpause"}:
            return
        execution = self.model.executions.get(entry.target)
        if execution is None:
            if entry.target not in self.model.deleted:
                self.broken(f"{entry.verb} {entry.target}: acknowledged, and there is none")
            return
        verbs = {
            node.data.get("verb") for node in execution.nodes.values() if node.kind == "command"
        }
        if entry.verb in {"abort", "compensate"}:
            was_undone = not UNDONE.isdisjoint(execution.statuses)
            # An undo in the same commit as the abort may hide it.
            is_done = "abort" in verbs and ("ABORTED" in execution.statuses or was_undone)
        else:
            is_done = entry.verb in verbs or (entry.verb == "suspend" and "pause" in verbs)
        if not is_done:
            self.broken(f"{entry.verb} {entry.target}: acknowledged, and not in its journal")


class AbortsBumpTheEpoch(Invariant):
    """An abort makes the run epoch of the execution higher than that of every attempt before.

    So does a compensation; the undos have the new epoch.
    """

    name = "aborts bump the epoch"

    def committed(self, commit: Committed) -> None:
        """Look at executions that were just aborted, or are taken back from now on."""
        for change in commit.changes:
            execution = change.execution
            was = None if change.root is None else change.root.state
            if execution.root.state not in {"ABORTED", *UNDONE} or was in {"ABORTED", *UNDONE}:
                continue
            epoch = execution.root.data.get("epoch", 1)
            steps = (each for each in walk_steps(execution.nodes) if not is_backward(each.path))
            if any(node.data.get("epoch", 0) >= epoch for node in steps):
                self.broken(f"{change.id} was aborted, and its run epoch is {epoch} still")


class QuietIsQuiet(Invariant):
    """Nothing of what is suspended is out, and nothing of what has ended is out or waits."""

    name = "quiet is quiet"

    def committed(self, commit: Committed) -> None:
        """Look at executions that have just become quiet."""
        for change in commit.changes:
            root = change.execution.root
            if change.root is not None and change.root.state == root.state:
                continue
            steps, busy = list(walk_steps(change.execution.nodes)), BUSY.get(root.state, ())
            if root.state == "COMPENSATING":
                steps = [node for node in steps if not is_backward(node.path)]
            if found := [f"{node.path} is {node.state}" for node in steps if node.state in busy]:
                self.broken(f"{change.id} is {root.state}, and {found[0]}")
