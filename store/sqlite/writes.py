"""What changes the database: each function is one transaction, on the writer's thread."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flow.ports import Commit, CommitResult, ExecutionWrite, Pruned
from store.sqlite import leases
from store.sqlite.schema import transaction
from store.sqlite.statements import QUERIES

_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """An execution as it is in the database."""

    number: int
    seq: int
    snapshot: int
    wake_ms: int | None
    facts: _Row

    @property
    def partition(self) -> int:
        """The partition that it belongs to."""
        return int(self.facts[_PARTITION])


@dataclass(slots=True)
class _Batch:
    """The rows of a commit, sorted by the statement that writes them."""

    inserted: list[_Row] = field(default_factory=list[_Row])
    updated: list[_Row] = field(default_factory=list[_Row])
    begun: list[_Row] = field(default_factory=list[_Row])
    touched: list[_Row] = field(default_factory=list[_Row])
    moved: list[_Row] = field(default_factory=list[_Row])
    records: list[_Row] = field(default_factory=list[_Row])
    labels: list[_Row] = field(default_factory=list[_Row])
    old_labels: list[_Row] = field(default_factory=list[_Row])


# Where a column stands among the facts.
_PARTITION, _CREATED_MS, _LABELS = 0, 4, 7


def commit(connection: sqlite3.Connection, commit: Commit) -> CommitResult:
    """Write everything but the rows of lost partitions, or nothing if there are conflicts.

    Args:
        connection: The writer's.
        commit: What to write.
    """
    with transaction(connection, "begin_write"):
        held = leases.held(connection, commit.leases)
        homes = _homes(connection, commit)
        lost = frozenset(_partitions(commit, homes.values()) - held)
        if lost:
            strange = {each for each, partition in homes.items() if partition not in held}
            commit = _without(commit, held, strange)
        known = _known(connection, [write.summary.id for write in commit.writes])
        conflicts = _conflicts(commit.writes, known) | _buried(connection, commit.writes, known)
        if conflicts:
            return CommitResult(lost, conflicts)
        _write(connection, commit.writes, known)
        connection.executemany(
            QUERIES["insert_outbox"],
            [(row.partition, row.number, row.execution, row.command) for row in commit.outbox],
        )
        connection.executemany(QUERIES["delete_outbox"], commit.settled)
        wakes = [(wake_ms, each) for each, wake_ms in commit.wakes]
        connection.executemany(QUERIES["wake_execution"], wakes)
        if commit.deletes:
            connection.execute(QUERIES["delete_graves"], (json.dumps(commit.deletes),))
            _delete(connection, commit.deletes)
    return CommitResult(lost)


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
    homes = {each: known.partition for each, known in _known(connection, named).items()}
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


def _known(connection: sqlite3.Connection, ids: Sequence[str]) -> Mapping[str, _Known]:
    if not ids:
        return {}
    rows = connection.execute(QUERIES["read_known"], (json.dumps(ids),))
    return {
        name: _Known(number, seq, snapshot, wake_ms, tuple(facts))
        for name, number, seq, snapshot, wake_ms, *facts in rows
    }


def _conflicts(writes: Sequence[ExecutionWrite], known: Mapping[str, _Known]) -> frozenset[str]:
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
    connection: sqlite3.Connection, writes: Sequence[ExecutionWrite], known: Mapping[str, _Known]
) -> frozenset[str]:
    """Return the executions that were pruned, and cannot begin once more."""
    new = [write.summary.id for write in writes if write.summary.id not in known]
    if not new:
        return frozenset()
    rows = connection.execute(QUERIES["read_graves"], (json.dumps(new),))
    return frozenset(row[0] for row in rows)


def _write(
    connection: sqlite3.Connection, writes: Sequence[ExecutionWrite], known: Mapping[str, _Known]
) -> None:
    if not writes:
        return
    batch = _Batch()
    number = int(connection.execute(QUERIES["last_number"]).fetchone()[0])
    for write in writes:
        before = known.get(write.summary.id)
        if before is None:
            number += 1
            _insert(batch, write, number)
        else:
            _change(batch, write, before)
    connection.executemany(QUERIES["insert_execution"], batch.inserted)
    connection.executemany(QUERIES["update_execution"], batch.updated)
    connection.executemany(QUERIES["insert_progress"], batch.begun)
    connection.executemany(QUERIES["touch_progress"], batch.touched)
    connection.executemany(QUERIES["update_progress"], batch.moved)
    connection.executemany(QUERIES["insert_record"], batch.records)
    connection.executemany(QUERIES["delete_label"], batch.old_labels)
    connection.executemany(QUERIES["insert_label"], batch.labels)


def _insert(batch: _Batch, write: ExecutionWrite, number: int) -> None:
    summary, facts = write.summary, _facts(write)
    batch.inserted.append((number, summary.id, *facts))
    progress = (number, summary.partition, summary.updated_ms, summary.wake_ms, 1, 1)
    batch.begun.append(progress)
    batch.records.append((number, 1, write.is_snapshot, write.record))
    batch.labels.extend(_label_rows(facts, number))


def _change(batch: _Batch, write: ExecutionWrite, before: _Known) -> None:
    summary, number, seq = write.summary, before.number, write.seq
    snapshot = seq if write.is_snapshot else before.snapshot
    batch.records.append((number, seq, write.is_snapshot, write.record))
    if summary.wake_ms == before.wake_ms:
        batch.touched.append((summary.updated_ms, seq, snapshot, number))
    else:
        batch.moved.append((summary.updated_ms, summary.wake_ms, seq, snapshot, number))
    facts = _facts(write)
    if facts != before.facts:
        batch.updated.append((*facts, number))
        _relabel(batch, _label_rows(before.facts, number), _label_rows(facts, number))


def _relabel(batch: _Batch, old: list[_Row], new: list[_Row]) -> None:
    if old != new:
        batch.old_labels.extend(old)
        batch.labels.extend(new)


def _facts(write: ExecutionWrite) -> _Row:
    """Return what seldom changes, in the order of the columns."""
    summary = write.summary
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


def _label_rows(facts: _Row, number: int) -> list[_Row]:
    if facts[_LABELS] == "{}":
        return []
    labels: dict[str, str] = json.loads(facts[_LABELS])
    return [(name, value, facts[_CREATED_MS], number) for name, value in labels.items()]


def _delete(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    # Read once more, because the same commit may have written what it deletes.
    gone = _known(connection, ids).values()
    numbers = [(each.number,) for each in gone]
    labels = [row for each in gone for row in _label_rows(each.facts, each.number)]
    partitions = {each.partition for each in gone}
    named = json.dumps(ids)
    connection.executemany(QUERIES["delete_label"], labels)
    connection.executemany(QUERIES["delete_journal"], numbers)
    connection.executemany(QUERIES["delete_progress"], numbers)
    connection.executemany(QUERIES["delete_execution"], numbers)
    connection.executemany(QUERIES["delete_outbox_of"], [(each, named) for each in partitions])
