"""Effects: a step that runs at most once runs once, with its permit, and not after an abort."""

from __future__ import annotations

from tests.simulation.folding import ENDED, Change, Committed, Node
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.invariants.inputs import locate
from tests.simulation.ledger import Began, Entry

__all__ = ["KeysAreOfSteps", "NoPermitAfterTheEnd", "OnePermit", "OneRunPerPermit"]


class OnePermit(Invariant):
    """A step gets one permit, which never changes, and is never sent again after it."""

    name = "one permit"

    def committed(self, commit: Committed) -> None:
        """Look at the permits of steps that had one, and at what is sent of them."""
        for change in commit.changes:
            for before, after in change.steps():
                if before is not None and before.created == after.created:
                    self._look(change, before, after)

    def _look(self, change: Change, before: Node, after: Node) -> None:
        permit, now = before.data.get("permit"), after.data.get("permit")
        if permit and now != permit:
            self.broken(f"{change.id} {after.path}: the permit {permit} is {now} now")
        if permit and after.attempt > before.attempt:
            self.broken(f"{change.id} {after.path}: attempt {after.attempt} after its permit")


class NoPermitAfterTheEnd(Invariant):
    """No permit is granted in an execution that had ended, or was aborted, before."""

    name = "no permit after the end"

    def committed(self, commit: Committed) -> None:
        """Look at the permits that a commit grants."""
        for change in commit.changes:
            if change.root is None or change.root.state not in ENDED:
                continue
            if change.has_cause("ResumeRequested"):
                continue
            for before, after in change.steps():
                old = None if before is None else before.data.get("permit")
                if after.data.get("permit") not in {None, "", old}:
                    self.broken(
                        f"{change.id} {after.path}: a permit, and it was {change.root.state}"
                    )


class OneRunPerPermit(Invariant):
    """The handler of a step that runs at most once begins only once for each committed permit."""

    name = "one run per permit"

    def heard(self, entry: Entry) -> None:
        """Count the calls of handlers that run at most once."""
        execution = None
        if isinstance(entry, Began):
            execution = self.model.executions.get(entry.execution)
        if execution is None or not isinstance(entry, Began):
            return
        found = locate(self.model.definitions, execution, entry.path)
        if found is None or not found[0].at_most_once:
            return
        calls = len(self.ledger.calls[entry.execution, entry.path])
        permits = len(execution.permits.get(entry.path, ()))
        if calls > permits:
            text = f"its handler has begun {calls} times, and {permits} permits are committed"
            self.broken(f"{entry.execution} {entry.path}: {text}")


class KeysAreOfSteps(Invariant):
    """All calls for one step of one execution have the same idempotency key, and no others."""

    name = "keys are of steps"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no key."""
        super().__init__(evidence)
        self._owners: dict[str, tuple[str, str]] = {}

    def heard(self, entry: Entry) -> None:
        """Compare the key with those of the other calls."""
        if not isinstance(entry, Began) or not entry.execution:
            return
        first = self.ledger.calls[entry.execution, entry.path][0]
        if entry.key != first.key or not entry.key:
            self.broken(f"{entry.execution} {entry.path}: keys {first.key!r} and {entry.key!r}")
        owner = self._owners.setdefault(entry.key, (entry.execution, entry.path))
        if owner != (entry.execution, entry.path):
            self.broken(f"{entry.execution} {entry.path} has the key of {owner}")
