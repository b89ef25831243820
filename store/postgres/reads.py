"""What only reads the database: each function sees one state of it."""

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flow.errors import UnknownExecution
from flow.ports import (
    Due,
    ExecutionQuery,
    ExecutionSummary,
    JournalRecord,
    OutboxRow,
    StoredExecution,
    Tombstone,
)
from flow.status import Status
from store.postgres.sessions import Connection
from store.postgres.statements import QUERIES

_LAST: Final = 2**63 - 1
"""The largest bigint: comes after every time and every number."""
_Row = Mapping[str, Any]


async def load(
    connection: Connection, ids: Sequence[str]
) -> Mapping[str, StoredExecution | Tombstone]:
    """Load executions with their records from the last snapshot on, or what is left of them.

    Args:
        connection: The connection.
        ids: Their ids. Those that do not exist are left out.
    """
    rows = await connection.fetch(QUERIES["load"], list(ids))
    return {row["id"]: _stored(row) for row in rows}


async def due(connection: Connection, partition: int, before_ms: int, limit: int) -> Due:
    """Return what is due in a partition, and when the next one is.

    Args:
        connection: The connection.
        partition: The partition.
        before_ms: Until when.
        limit: How many at most.
    """
    rows = await connection.fetch(QUERIES["due"], partition, limit + 1)
    ids = tuple(row["id"] for row in rows[:limit] if row["wake_ms"] <= before_ms)
    return Due(ids, rows[len(ids)]["wake_ms"] if len(ids) < len(rows) else None)


async def active(
    connection: Connection, partition: int, wake_by_ms: int, after: str, limit: int
) -> Sequence[str]:
    """Return ids of executions that have not ended and wake soon, in id order.

    Args:
        connection: The connection.
        partition: The partition.
        wake_by_ms: Until when they wake.
        after: The id that they come after.
        limit: How many at most.
    """
    rows = await connection.fetch(QUERIES["active"], partition, wake_by_ms, after, limit)
    return [row["id"] for row in rows]


async def outbox(
    connection: Connection, partition: int, after: int, limit: int
) -> Sequence[OutboxRow]:
    """Return outbox rows in number order.

    Args:
        connection: The connection.
        partition: The partition.
        after: The number that they come after.
        limit: How many at most.
    """
    rows = await connection.fetch(QUERIES["outbox"], partition, after, limit)
    return [OutboxRow(*row) for row in rows]


async def list_executions(
    connection: Connection, query: ExecutionQuery
) -> Sequence[ExecutionSummary]:
    """Return the executions that match, newest first; of equal times the one inserted last.

    Args:
        connection: The connection.
        query: What to match.

    Raises:
        UnknownExecution: There is no execution `query.before`.
    """
    before = await _page_mark(connection, query.before)
    pages: list[Sequence[_Row]] = []
    for name, parameters in _selections(query):
        pages.append(
            await connection.fetch(
                QUERIES[name], *before, query.limit, query.partition, *parameters
            )
        )
    merged = heapq.merge(*pages, key=lambda row: (row["created_ms"], row["number"]), reverse=True)
    return [_summary(row) for row in _first(_once(merged), query.limit)]


async def history(
    connection: Connection, execution: str, after: int, limit: int
) -> Sequence[JournalRecord]:
    """Return journal records, oldest first.

    Args:
        connection: The connection.
        execution: The id of the execution.
        after: The number that they come after.
        limit: How many at most.
    """
    rows = await connection.fetch(QUERIES["history"], execution, after, limit)
    return [JournalRecord(*row) for row in rows]


async def _page_mark(connection: Connection, before: str) -> tuple[int, int]:
    if not before:
        return _LAST, _LAST
    row = await connection.fetchrow(QUERIES["page_mark"], before)
    if row is None:
        raise UnknownExecution(before)
    return row["created_ms"], row["number"]


def _selections(query: ExecutionQuery) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the statements whose pages together hold the answer, each led by the best index."""
    statuses = list(dict.fromkeys(status.value for status in query.statuses or Status))
    if query.labels:
        name, value = next(iter(query.labels.items()))
        labels = json.dumps(dict(query.labels))
        filters = (statuses, query.workflow, name, value, query.incidents, labels)
        yield "list_by_label", filters
    elif query.incidents:
        yield "list_by_incident", (statuses, query.workflow)
    elif query.workflow:
        for status in statuses:
            yield "list_by_workflow", (status, query.workflow)
    elif query.statuses:
        for status in statuses:
            yield "list_by_status", (status,)
    else:
        yield "list_newest", ()


def _once(rows: Iterable[_Row]) -> Iterator[_Row]:
    """Yield each execution once: its status may change between two pages, and it be in both."""
    seen: set[int] = set()
    for row in rows:
        if row["number"] not in seen:
            seen.add(row["number"])
            yield row


def _first(rows: Iterable[_Row], limit: int) -> Iterator[_Row]:
    return (row for row, _ in zip(rows, range(limit), strict=False))


def _stored(row: _Row) -> StoredExecution | Tombstone:
    if row["number"] is None:
        return Tombstone(
            id=row["id"],
            workflow=row["old_workflow"],
            status=Status(row["old_status"]),
            ended_ms=row["old_ended_ms"],
            fingerprint=row["old_fingerprint"],
        )
    return StoredExecution(_summary(row), row["seq"], tuple(row["records"]))


def _summary(row: _Row) -> ExecutionSummary:
    return ExecutionSummary(
        id=row["id"],
        partition=row["partition"],
        workflow=row["workflow"],
        definition=row["definition"],
        status=Status(row["status"]),
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        ended_ms=row["ended_ms"],
        wake_ms=row["wake_ms"],
        incident=row["incident"],
        labels=json.loads(row["labels"]) if row["labels"] != "{}" else {},
        fingerprint=row["fingerprint"],
    )
