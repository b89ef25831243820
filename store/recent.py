"""What a store knows of the executions that it has written lately.

What was written last is what is there, unless somebody else has written since; and then the next
record has another number. So who goes on with an execution needs to read nothing first, and to
write only what changes: that took a fifth of a commit's time.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from flow.ports import ExecutionSummary

__all__ = ["Known", "Recent"]

_MOST: Final = 20_000


class Known(NamedTuple):
    """An execution as it is in the database.

    Args:
        number: What its rows hang on.
        seq: The number of its last record.
        summary: Its row.
        snapshot: The number of its last snapshot, where the store has to know it.
    """

    number: int
    seq: int
    summary: ExecutionSummary
    snapshot: int = 0

    def has_facts_of(self, summary: ExecutionSummary) -> bool:
        """Return whether a row says the same but for when it changed and is to be woken.

        Args:
            summary: The other row.
        """
        old = self.summary
        return (
            summary.status is old.status
            and summary.ended_ms == old.ended_ms
            and summary.incident == old.incident
            and self.is_course_of(summary)
        )

    def is_course_of(self, summary: ExecutionSummary) -> bool:
        """Return whether nothing differs but what changes in the course of an execution.

        Args:
            summary: The other row.
        """
        old = self.summary
        return (
            summary.labels == old.labels
            and summary.created_ms == old.created_ms
            and summary.workflow == old.workflow
            and summary.definition == old.definition
            and summary.partition == old.partition
            and summary.fingerprint == old.fingerprint
        )


class Recent:
    """The executions that were written lately.

    Args:
        most: How many it keeps; what has not been written for the longest time goes first.

    Attributes:
        number: The last number that was given to an execution; None if the database knows it.
    """

    def __init__(self, most: int = _MOST) -> None:
        """Know nothing."""
        self.number: int | None = None
        self._known: dict[str, Known] = {}
        self._most = most

    def __len__(self) -> int:
        """Return how many executions are known."""
        return len(self._known)

    def find(self, names: Iterable[str]) -> tuple[dict[str, Known], list[str]]:
        """Return what is known of executions, and which of them nothing is known of.

        Args:
            names: Their ids.
        """
        found: dict[str, Known] = {}
        missing: list[str] = []
        known = self._known
        for name in names:
            one = known.get(name)
            if one is None:
                missing.append(name)
            else:
                found[name] = one
        return found, missing

    def note(self, written: Mapping[str, Known]) -> None:
        """Remember what was written. An execution that has ended is seldom written again.

        Args:
            written: The executions as they are now, by id.
        """
        known = self._known
        for name, one in written.items():
            known.pop(name, None)
            if one.summary.ended_ms is None:
                known[name] = one
        while len(known) > self._most:
            del known[next(iter(known))]

    def forget(self, names: Iterable[str]) -> None:
        """Know nothing of some executions.

        Args:
            names: Their ids.
        """
        for name in names:
            self._known.pop(name, None)

    def clear(self) -> None:
        """Know nothing any more: a transaction came to nothing."""
        self._known.clear()
        self.number = None
