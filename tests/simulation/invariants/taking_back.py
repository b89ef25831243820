"""Taking back: what handlers of undos saw and did, against what handlers of runs did.

What holds of a run that is late depends on who has the effect. A store of effects that keeps a
*tombstone*, the key of the run, from the moment in which the undo has its effect, refuses every run
that comes later. Without one, only copies can be late: of an attempt that had begun before its undo
began, a second delivery may begin after it. An attempt that nobody had begun never does: whoever
drops it says so, and until then nothing is undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from flow.ports import Publication, Settlement
from flow.runtime import protocol
from tests.simulation.folding import Committed, Recorded
from tests.simulation.invariants.base import Evidence, Invariant, Read
from tests.simulation.invariants.inputs import locate
from tests.simulation.invariants.undoing import undos_of
from tests.simulation.ledger import Began, Ended, Entry
from tests.simulation.undos import UNDO, run_of

__all__ = ["EffectsAreTakenBack", "OnlyCopiesAreLate", "UndoneHasBegun"]


class _Forced(Invariant):
    """Knows which undos a person has had sent although nobody knows what their steps did."""

    def __init__(self, evidence: Evidence) -> None:
        """Begin with none."""
        super().__init__(evidence)
        self._unknown: set[tuple[str, str]] = set()

    def committed(self, commit: Committed) -> None:
        """Take note of the steps that were left to a person."""
        for change in commit.changes:
            for _, node in change.steps():
                failure: Mapping[str, Any] = node.data.get("failure") or {}
                kind = str(failure.get("type", ""))
                if node.path.endswith(UNDO) and kind.endswith("OutcomeUnknown"):
                    self._unknown.add((change.id, run_of(node.path)))

    def is_forced(self, execution: str, path: str) -> bool:
        """Return whether it may have been a person who had a step undone."""
        return (execution, path) in self._unknown

    def is_call(self, name: str, path: str) -> bool:
        """Return whether a step has a handler: a publication has none."""
        execution = self.model.executions.get(name)
        if execution is None:
            return False
        found = locate(self.model.definitions, execution, path)
        return found is not None and found[0].kind.value == "call"


class UndoneHasBegun(_Forced):
    """Nothing is undone that never began: no handler of it, in no process.

    Of whose requests there may be copies nobody can tell that: of those that were sent again, and
    of all of an execution that was loaded, because whoever has loaded it does not know. Only that
    nobody ever had the permit to begin is known of any execution.
    """

    name = "undone and never begun"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no copies."""
        super().__init__(evidence)
        self._copied: set[str] = set()

    def read(self, read: Read) -> None:
        """Take note of the executions that were loaded."""
        if read.method == "load":
            self._copied.update(read.result)

    def published(self, publication: Publication, settlement: Settlement) -> None:
        """Take note of what was sent again."""
        envelope = publication.envelope
        if protocol.AGAIN_HEADER in envelope.headers:
            self._copied.add(envelope.headers.get("flow-execution", ""))

    def heard(self, entry: Entry) -> None:
        """Look at an undo that begins."""
        if not isinstance(entry, Began) or not entry.path.endswith(UNDO):
            return
        run = run_of(entry.path)
        if self.ledger.calls.get((entry.execution, run)) or not self.is_call(entry.execution, run):
            return
        may_have_begun = entry.execution in self._copied and not self._needs_permit(entry, run)
        if not may_have_begun and not self.is_forced(entry.execution, run):
            self.broken(f"{entry.execution} {entry.path} begins in {entry.process}")

    def _needs_permit(self, entry: Began, run: str) -> bool:
        execution = self.model.executions[entry.execution]
        found = locate(self.model.definitions, execution, run)
        return found is not None and found[0].at_most_once


class OnlyCopiesAreLate(_Forced):
    """What begins after its undo has begun is a copy of an attempt that had begun before."""

    name = "run after its undo"

    def heard(self, entry: Entry) -> None:
        """Look at a run that begins."""
        if not isinstance(entry, Began) or entry.path.endswith(UNDO):
            return
        undos = self.ledger.calls.get((entry.execution, f"{entry.path}{UNDO}"))
        if not undos or self.is_forced(entry.execution, entry.path):
            return
        calls = self.ledger.calls[entry.execution, entry.path]
        before = [call.attempt for call in calls if call.number < undos[0].number]
        if entry.attempt > max(before, default=0):
            about = f"{entry.execution} {entry.path} attempt {entry.attempt}"
            self.broken(f"{about} begins in {entry.process}, and its undo began before")


class EffectsAreTakenBack(Invariant):
    """A store of effects with tombstones holds nothing of what was undone, at any time after it.

    It takes an effect when a run begins, and when it ends, unless the key has a tombstone. An undo
    that has ended leaves one under the key of the run, as it was told.
    """

    name = "effects are taken back"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with an empty store."""
        super().__init__(evidence)
        self._effects: dict[str, Began] = {}
        self._tombstones: set[str] = set()

    def heard(self, entry: Entry) -> None:
        """Have an effect, or take one back."""
        began = entry.began if isinstance(entry, Ended) else entry
        if not isinstance(began, Began) or not began.execution:
            return
        if not began.path.endswith(UNDO):
            has_failed = isinstance(entry, Ended) and entry.outcome != "success"
            if not has_failed and began.key not in self._tombstones:
                self._effects[began.key] = began
        elif isinstance(entry, Ended) and entry.outcome in {"success", "skip"}:
            key = told_key(began.body)
            self._tombstones.update(filter(None, [key]))
            self._effects.pop(key, None)

    def end(self) -> None:
        """Look for effects of what was undone."""
        for execution in self.model.executions.values():
            for undo in undos_of(execution):
                if undo.state == "SUCCESS" and self._leaves_tombstones(execution, undo.path):
                    self._look(execution, run_of(undo.path))

    def _look(self, execution: Recorded, path: str) -> None:
        for call in self.ledger.calls.get((execution.id, path), ()):
            if call.key in self._effects:
                self.broken(f"{execution.id} {path} was undone, and {call.key} is there still")

    def _leaves_tombstones(self, execution: Recorded, path: str) -> bool:
        found = locate(self.model.definitions, execution, path)
        return found is not None and found[0].input is not None


def told_key(body: Any) -> str:
    """Return the key of the run that an undo was told, or an empty string.

    Args:
        body: What the handler of the undo got.
    """
    told = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    return str(told.get("run_key") or "")
