"""Bulk commands as values: which executions they are for, and what came of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from flow.status import Status

__all__ = ["BulkFilter", "BulkResult", "PruneResult", "names_of"]


class BulkFilter(TypedDict, total=False):
    """Which executions a bulk command is for; by default all that it makes sense for.

    * `workflow`: those of this workflow.
    * `status`: those in one of these.
    * `labels`: those with all of these labels.
    * `incidents`: those that need a person.
    """

    workflow: str
    status: "Sequence[Status | str]"
    labels: Mapping[str, str]
    incidents: bool


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What came of a bulk command.

    Args:
        matched: How many executions matched.
        done: How many have obeyed.
        refused: How many could not.
        reasons: How many of these, by reason.
        failed: How many could not be reached in time; the same command can be given again.
        failed_ids: The first hundred of these.
    """

    matched: int
    done: int
    refused: int
    reasons: Mapping[str, int]
    failed: int
    failed_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was pruned.

    Args:
        executions: How many executions were deleted.
        tombstones: How many ids of executions that were deleted before are free again.
    """

    executions: int
    tombstones: int


def names_of(status: Status | str | Sequence[Status | str]) -> list[str]:
    """Return the names of statuses.

    Args:
        status: One or more, by their names or not.
    """
    chosen = [status] if isinstance(status, Status | str) else status
    return [item.value if isinstance(item, Status) else item for item in chosen]
