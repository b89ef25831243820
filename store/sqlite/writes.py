"""What changes the database: each function is one transaction, on the writer's thread."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flow.ports import Commit, CommitResult, ExecutionSummary, ExecutionWrite, Pruned
from store.recent import Known, Recent
from store.sqlite import leases
from store.sqlite.reads import summary_of
from store.sqlite.schema import transaction
from store.sqlite.statements import QUERIES

_Row = tuple[Any, ...]


@dataclass(slots=True)
class _Batch:
    """The rows of a commit, sorted by the statement that writes them."""

    inserted: list[_Row] = field(default_factory=list[_Row])
    updated: list[_Row] = field(default_factory=list[_Row])
    turned: list[_Row] = field(default_factory=list[_Row])
    begun: list[_Row] = field(default_factory=list[_Row])
    touched: list[_Row] = field(default_factory=list[_Row])
    moved: list[_Row] = field(default_factory=list[_Row])
    records: list[_Row] = field(default_factory=list[_Row])
    labels: list[_Row] = field(default_factory=list[_Row])
    old_labels: list[_Row] = field(default_factory=list[_Row])


def commit(connection: sqlite3.Connection, recent: Recent, commit: Commit) -> CommitResult:
    """Write everything but the rows of lost partitions, or nothing if there are conflicts.

    Args:
        connection: The writer's.
        recent: What it has written lately.
        commit: What to write.
    """
    written: dict[str, Known] = {}
    try:
        with transaction(connection, "begin_write"):
            result = _commit(connection, recent, commit, written)
    except BaseException:
        recent.clear()
        raise
    # Only now is it certain that it was written.
    recent.note(written)
    recent.forget(commit.deletes)
    recent.forget(each for each, _ in commit.wakes)
    return result


def _commit(
    connection: sqlite3.Connection, recent: Recent, commit: Commit, written: dict[str, Known]
) -> CommitResult:
    held = leases.held(connection, commit.leases)
    homes = _homes(connection, commit)
    lost = frozenset(_partitions(commit, homes.values()) - held)
    if lost:
        strange = {each for each, partition in homes.items() if partition not in held}
        commit = _without(commit, held, strange)
    known = _known(connection, recent, [write.summary.id for write in commit.writes])
    conflicts = _conflicts(commit.writes, known) | _buried(connection, commit.writes, known)
    if not conflicts:
        _write(connection, recent, commit.writes, known, written)
        # A row of the outbox is a tuple in the order of the columns.
        _many(connection, "insert_outbox", commit.outbox)
        _many(connection, "delete_outbox", commit.settled)
        _many(connection, "wake_execution", [(wake_ms, each) for each, wake_ms in commit.wakes])
        if commit.deletes:
            connection.execute(QUERIES["delete_graves"], (json.dumps(commit.deletes),))
            _delete(connection, commit.deletes)
    return CommitResult(lost, conflicts)


def prune(
    connection: sqlite3.Connection, ended_before_ms: int, forget_before_ms: int, limit: int
) -> Pruned:
    """Forget old tombstones, and make tombstones of old executions.

    Args:
        connection: The writer's.
        ended_before_ms: Executions that ended before this time become tombstones.
        forget_before_ms: Tombstones of executions that ended before this time are forgotten.
        limit: How many of each at most.
    """
    with transaction(connection, "begin_write"):
        forgotten = connection.execute(QUERIES["forget_tombstones"], (forget_before_ms, limit))
        rows = connection.execute(QUERIES["ended"], (ended_before_ms, limit)).fetchall()
        ended = [row[0] for row in rows]
        if ended:
            connection.execute(QUERIES["bury"], (json.dumps(ended),))
            _delete(connection, ended)
        left = [
            connection.execute(QUERIES["has_old_tombstone"], (forget_before_ms,)).fetchone()[0],
            connection.execute(QUERIES["has_ended"], (ended_before_ms,)).fetchone()[0],
        ]
    return Pruned(len(ended), forgotten.rowcount, any(left))


def _homes(connection: sqlite3.Connection, commit: Commit) -> Mapping[str, int]:
    """Return the partitions of the executions that a commit only names."""
    named = (*commit.deletes, *(each for each, _ in commit.wakes))
    homes = {each: known.summary.partition for each, known in _read(connection, named).items()}
    if commit.deletes:
        graves = connection.execute(QUERIES["read_graves"], (json.dumps(commit.deletes),))
        homes.update(graves.fetchall())
    return homes


def _partitions(commit: Commit, homes: Iterable[int]) -> set[int]:
    """Return the partitions that a commit touches, whether it has a lease for them or not."""
    touched = {lease.partition for lease in commit.leases}
    touched.update(write.summary.partition for write in commit.writes)
    touched.update(row.partition for row in commit.outbox)
    touched.update(partition for partition, _ in commit.settled)
    touched.update(homes)
    return touched


def _without(commit: Commit, held: frozenset[int], strange: set[str]) -> Commit:
    """Return what is left of a commit without the rows of lost partitions."""
    return Commit(
        leases=commit.leases,
        writes=tuple(write for write in commit.writes if write.summary.partition in held),
        outbox=tuple(row for row in commit.outbox if row.partition in held),
        settled=tuple(key for key in commit.settled if key[0] in held),
        deletes=tuple(each for each in commit.deletes if each not in strange),
        wakes=tuple(wake for wake in commit.wakes if wake[0] not in strange),
    )


def _known(
    connection: sqlite3.Connection, recent: Recent, ids: Sequence[str]
) -> Mapping[str, Known]:
    """Return executions as they are; those that do not exist are left out."""
    known, unknown = recent.find(ids)
    known.update(_read(connection, unknown))
    return known


def _read(connection: sqlite3.Connection, ids: Sequence[str]) -> Mapping[str, Known]:
    if not ids:
        return {}
    rows = connection.execute(QUERIES["read_known"], (json.dumps(ids),))
    known = (Known(row[0], row[1], summary_of(row[3:]), row[2]) for row in rows)
    return {each.summary.id: each for each in known}


def _conflicts(writes: Sequence[ExecutionWrite], known: Mapping[str, Known]) -> frozenset[str]:
    """Return the executions of which somebody else has written this record, or not the last."""
    conflicts: set[str] = set()
    seen: set[str] = set()
    for write in writes:
        name = write.summary.id
        before = known.get(name)
        if write.seq != (before.seq + 1 if before else 1) or name in seen:
            conflicts.add(name)
        seen.add(name)
    return frozenset(conflicts)


def _buried(
    connection: sqlite3.Connection, writes: Sequence[ExecutionWrite], known: Mapping[str, Known]
) -> frozenset[str]:
    """Return the executions that were pruned, and cannot begin once more."""
    new = [write.summary.id for write in writes if write.summary.id not in known]
    if not new:
        return frozenset()
    rows = connection.execute(QUERIES["read_graves"], (json.dumps(new),))
    return frozenset(row[0] for row in rows)


def _write(
    connection: sqlite3.Connection,
    recent: Recent,
    writes: Sequence[ExecutionWrite],
    known: Mapping[str, Known],
    written: dict[str, Known],
) -> None:
    """Write executions, and note in *written* how they are afterwards."""
    batch = _Batch()
    for write in writes:
        before = known.get(write.summary.id)
        if before is None:
            number = recent.number = _next_number(connection, recent)
            after = Known(number, 1, write.summary, 1)
            _insert(batch, write, number)
        else:
            snapshot = write.seq if write.is_snapshot else before.snapshot
            after = Known(before.number, write.seq, write.summary, snapshot)
            _change(batch, before, after)
        written[write.summary.id] = after
        batch.records.append((after.number, write.seq, write.is_snapshot, write.record))
    _many(connection, "insert_execution", batch.inserted)
    _many(connection, "update_execution", batch.updated)
    _many(connection, "turn_execution", batch.turned)
    _many(connection, "insert_progress", batch.begun)
    _many(connection, "touch_progress", batch.touched)
    _many(connection, "update_progress", batch.moved)
    _many(connection, "insert_record", batch.records)
    _many(connection, "delete_label", batch.old_labels)
    _many(connection, "insert_label", batch.labels)


def _many(connection: sqlite3.Connection, name: str, rows: Sequence[_Row]) -> None:
    if rows:
        connection.executemany(QUERIES[name], rows)


def _next_number(connection: sqlite3.Connection, recent: Recent) -> int:
    if recent.number is None:
        recent.number = int(connection.execute(QUERIES["last_number"]).fetchone()[0])
    return recent.number + 1


def _insert(batch: _Batch, write: ExecutionWrite, number: int) -> None:
    summary = write.summary
    batch.inserted.append((number, summary.id, *_facts(summary)))
    progress = (number, summary.partition, summary.updated_ms, summary.wake_ms, 1, 1)
    batch.begun.append(progress)
    batch.labels.extend(_label_rows(summary, number))


def _change(batch: _Batch, before: Known, after: Known) -> None:
    number, seq, new, snapshot = after
    old = before.summary
    if new.wake_ms == old.wake_ms:
        batch.touched.append((new.updated_ms, seq, snapshot, number))
    else:
        batch.moved.append((new.updated_ms, new.wake_ms, seq, snapshot, number))
    if not before.is_course_of(new):
        batch.updated.append((*_facts(new), number))
        _relabel(batch, _label_rows(old, number), _label_rows(new, number))
    elif (new.status, new.ended_ms, new.incident) != (old.status, old.ended_ms, old.incident):
        batch.turned.append((new.status.value, new.ended_ms, new.incident, number))


def _relabel(batch: _Batch, old: list[_Row], new: list[_Row]) -> None:
    if old != new:
        batch.old_labels.extend(old)
        batch.labels.extend(new)


def _facts(summary: ExecutionSummary) -> _Row:
    """Return what seldom changes, in the order of the columns."""
    return (
        summary.partition,
        summary.workflow,
        summary.definition,
        summary.status.value,
        summary.created_ms,
        summary.ended_ms,
        summary.incident,
        json.dumps(dict(summary.labels)) if summary.labels else "{}",
        summary.fingerprint,
    )


def _label_rows(summary: ExecutionSummary, number: int) -> list[_Row]:
    return [(name, value, summary.created_ms, number) for name, value in summary.labels.items()]


def _delete(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    # Read once more, because the same commit may have written what it deletes.
    gone = _read(connection, ids).values()
    numbers = [(each.number,) for each in gone]
    labels = [row for each in gone for row in _label_rows(each.summary, each.number)]
    partitions = {each.summary.partition for each in gone}
    named = json.dumps(ids)
    _many(connection, "delete_label", labels)
    _many(connection, "delete_journal", numbers)
    _many(connection, "delete_progress", numbers)
    _many(connection, "delete_execution", numbers)
    _many(connection, "delete_outbox_of", [(each, named) for each in partitions])
