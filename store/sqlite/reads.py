"""What only reads the database: each function sees one state of it, on the reader's thread."""

import heapq
import json
import sqlite3
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
from store.sqlite.schema import transaction
from store.sqlite.statements import QUERIES

_LAST: Final = 2**63 - 1
"""The largest integer of SQLite: comes after every time and every number."""


def load(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> Mapping[str, StoredExecution | Tombstone]:
    """Load executions with their records from the last snapshot on, or what is left of them.

    Args:
        connection: The reader's.
        ids: Their ids. Those that do not exist are left out.
    """
    wanted = (json.dumps(list(ids)),)
    records: dict[int, list[bytes]] = {}
    with transaction(connection, "begin_read"):
        rows = connection.execute(QUERIES["load_executions"], wanted).fetchall()
        for number, record in connection.execute(QUERIES["load_records"], wanted):
            records.setdefault(number, []).append(record)
        graves = connection.execute(QUERIES["load_tombstones"], wanted).fetchall()
    found: dict[str, StoredExecution | Tombstone] = {
        row[0]: StoredExecution(summary_of(row), seq, tuple(records.get(number, ())))
        for number, seq, *row in rows
    }
    for name, workflow, status, ended_ms, fingerprint in graves:
        found[name] = Tombstone(name, workflow, Status(status), ended_ms, fingerprint)
    return found


def due(connection: sqlite3.Connection, partition: int, before_ms: int, limit: int) -> Due:
    """Return what is due in a partition, and when the next one is.

    Args:
        connection: The reader's.
        partition: The partition.
        before_ms: Until when.
        limit: How many at most, at least 1.
    """
    with transaction(connection, "begin_read"):
        rows = connection.execute(QUERIES["due"], (partition, before_ms, limit)).fetchall()
        after = rows[-1][1:] if len(rows) == limit else (before_ms, _LAST)
        following = connection.execute(QUERIES["due_next"], (partition, *after)).fetchone()
    return Due(tuple(row[0] for row in rows), following[0] if following else None)


def active(
    connection: sqlite3.Connection, partition: int, wake_by_ms: int, after: str, limit: int
) -> Sequence[str]:
    """Return ids of executions that have not ended and wake soon, in id order.

    Args:
        connection: The reader's.
        partition: The partition.
        wake_by_ms: Until when they wake.
        after: The id that they come after.
        limit: How many at most.
    """
    rows = connection.execute(QUERIES["active"], (partition, wake_by_ms, after, limit))
    return [row[0] for row in rows]


def outbox(
    connection: sqlite3.Connection, partition: int, after: int, limit: int
) -> Sequence[OutboxRow]:
    """Return outbox rows in number order.

    Args:
        connection: The reader's.
        partition: The partition.
        after: The number that they come after.
        limit: How many at most.
    """
    rows = connection.execute(QUERIES["outbox"], (partition, after, limit))
    return [OutboxRow(*row) for row in rows]


def list_executions(
    connection: sqlite3.Connection, query: ExecutionQuery
) -> Sequence[ExecutionSummary]:
    """Return the executions that match, newest first; of equal times the one inserted last.

    Args:
        connection: The reader's.
        query: What to match.

    Raises:
        UnknownExecution: There is no execution `query.before`.
    """
    with transaction(connection, "begin_read"):
        before = _page_mark(connection, query.before)
        pages = [
            connection.execute(QUERIES[name], parameters)
            for name, parameters in _selections(query, before)
        ]
        # Each page is in order; `created_ms, number` stand first in every row.
        merged = heapq.merge(*pages, key=lambda row: (row[0], row[1]), reverse=True)
        return [summary_of(row[2:]) for row in _first(merged, query.limit)]


def history(
    connection: sqlite3.Connection, execution: str, after: int, limit: int
) -> Sequence[JournalRecord]:
    """Return journal records, oldest first.

    Args:
        connection: The reader's.
        execution: The id of the execution.
        after: The number that they come after.
        limit: How many at most.
    """
    rows = connection.execute(QUERIES["history"], (execution, after, limit))
    return [JournalRecord(seq, record, bool(is_snapshot)) for seq, record, is_snapshot in rows]


def _page_mark(connection: sqlite3.Connection, before: str) -> tuple[int, int]:
    if not before:
        return _LAST, _LAST
    row: tuple[int, int] | None = connection.execute(QUERIES["page_mark"], (before,)).fetchone()
    if row is None:
        raise UnknownExecution(before)
    return row


def _selections(
    query: ExecutionQuery, before: tuple[int, int]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the statements whose pages together hold the answer, each led by the best index."""
    statuses = [status.value for status in query.statuses or Status]
    parameters: dict[str, Any] = {
        "workflow": query.workflow,
        "incidents": query.incidents,
        "partition": query.partition,
        "statuses": json.dumps(statuses),
        "before_ms": before[0],
        "before_number": before[1],
        "limit": query.limit,
    }
    if query.labels:
        name, value = next(iter(query.labels.items()))
        labels = json.dumps(dict(query.labels))
        yield "list_by_label", {**parameters, "name": name, "value": value, "labels": labels}
    elif query.incidents:
        yield "list_by_incident", parameters
    elif query.workflow or query.statuses:
        statement = "list_by_workflow" if query.workflow else "list_by_status"
        for status in dict.fromkeys(statuses):
            yield statement, {**parameters, "status": status}
    else:
        yield "list_newest", parameters


def _first(rows: Iterable[Sequence[Any]], limit: int) -> Iterator[Sequence[Any]]:
    return (row for row, _ in zip(rows, range(limit), strict=False))


def summary_of(row: Sequence[Any]) -> ExecutionSummary:
    """Return the row of an execution.

    Args:
        row: Its columns, from the id to the fingerprint.
    """
    name, partition, workflow, definition, status, *times, incident, labels, fingerprint = row
    created_ms, updated_ms, ended_ms, wake_ms = times
    return ExecutionSummary(
        id=name,
        partition=partition,
        workflow=workflow,
        definition=definition,
        status=Status(status),
        created_ms=created_ms,
        updated_ms=updated_ms,
        ended_ms=ended_ms,
        wake_ms=wake_ms,
        incident=incident,
        labels=json.loads(labels) if labels != "{}" else {},
        fingerprint=fingerprint,
    )
