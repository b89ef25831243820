"""The group commit: one statement, one round trip, one transaction, one fsync.

Nearly always. A commit that deletes executions, or that names the same row in two of its parts, is
written by several statements in one transaction, because the parts of one statement do not see
what the others have done.

Of executions that only go on, little is written: the driver and the server work as long for each
value as for what is done with it. If what is known of them is not so any more, the server refuses,
and all is written once more in full.
"""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

import asyncpg

from flow.clock import SystemChance, SystemClock, sleep
from flow.ports import Commit, CommitResult, ExecutionSummary, ExecutionWrite, Lease
from store.postgres import faults
from store.postgres.literals import numbers, words
from store.postgres.sessions import Connection, transaction
from store.postgres.statements import QUERIES
from store.recent import Known, Recent

_Columns = tuple[str | list[bytes], ...]

_PAUSES_S: Final = (0.02, 0.1, 0.5)
"""Before it is tried again what the server has surely not written."""

_clock = SystemClock()
_chance = SystemChance()


class _Parts(NamedTuple):
    """The writes of a commit, by how much is written of each."""

    full: Sequence[ExecutionWrite]
    going: Sequence[tuple[int, ExecutionWrite]]
    """With the numbers of the executions."""


async def commit(connection: Connection, recent: Recent, commit: Commit) -> CommitResult:
    """Write everything but the rows of lost partitions, or nothing if there are conflicts.

    Args:
        connection: The connection.
        recent: What was written lately.
        commit: What to write.
    """
    try:
        return await _insist(connection, recent, commit)
    except BaseException:
        # Nobody knows what was written.
        recent.clear()
        raise


async def _insist(connection: Connection, recent: Recent, commit: Commit) -> CommitResult:
    for pause_s in _PAUSES_S:
        try:
            return await _write(connection, recent, commit)
        except asyncpg.PostgresError as error:
            if not faults.is_retryable(error):
                raise
        recent.clear()
        await sleep(_clock, pause_s * _chance.random())
    return await _write(connection, recent, commit)


async def _write(connection: Connection, recent: Recent, commit: Commit) -> CommitResult:
    if commit.deletes or _overlaps(commit):
        recent.clear()
        return await _write_in_parts(connection, commit)
    parts = _parted(commit.writes, recent)
    if parts.full or commit.wakes:
        return await _write_at_once(connection, recent, commit, parts)
    return await _go_on(connection, recent, commit, parts.going)


def _parted(writes: Sequence[ExecutionWrite], recent: Recent) -> _Parts:
    known, _ = recent.find([write.summary.id for write in writes])
    if not known or len({write.summary.id for write in writes}) < len(writes):
        return _Parts(writes, ())
    full, going = list[ExecutionWrite](), list[tuple[int, ExecutionWrite]]()
    for write in writes:
        before = known.get(write.summary.id)
        # Whoever has written in between has changed the number of the record that comes next.
        if before and before.seq == write.seq - 1 and before.has_facts_of(write.summary):
            going.append((before.number, write))
        else:
            full.append(write)
    return _Parts(full, going)


def _overlaps(commit: Commit) -> bool:
    """Return whether a row is named in two parts of a commit."""
    if commit.wakes:
        woken = {execution for execution, _ in commit.wakes}
        if len(woken) < len(commit.wakes):
            return True
        if any(write.summary.id in woken for write in commit.writes):
            return True
    if commit.settled and commit.outbox:
        settled = set(commit.settled)
        return any((row.partition, row.number) in settled for row in commit.outbox)
    return False


async def _write_at_once(
    connection: Connection, recent: Recent, commit: Commit, parts: _Parts
) -> CommitResult:
    row = await _execute(connection, commit, parts, commit.settled, commit.wakes)
    held: list[int] = row["held"]
    lost = _partitions(commit).union(row["homes"]).difference(held)
    if not row["conflicts"]:
        summaries = {write.summary.id: write for write in parts.full}
        numbers = zip(row["ids"], row["numbers"], strict=True)
        _note(recent, [(number, summaries[name]) for name, number in numbers], held)
        _note(recent, parts.going, held)
    return CommitResult(frozenset(lost), frozenset(row["conflicts"]))


async def _go_on(
    connection: Connection,
    recent: Recent,
    commit: Commit,
    going: Sequence[tuple[int, ExecutionWrite]],
) -> CommitResult:
    rows: list[asyncpg.Record] = await connection.fetch(
        QUERIES["go_on"],
        *_lease_columns(commit.leases),
        *_outbox_columns(commit),
        *_keys(commit.settled),
        *_going_columns(going),
    )
    held: list[int] = rows[0]["held"]
    _note(recent, going, held)
    return CommitResult(frozenset(_partitions(commit).difference(held)))


def _note(
    recent: Recent, written: Sequence[tuple[int, ExecutionWrite]], held: Sequence[int]
) -> None:
    recent.note(
        {
            write.summary.id: Known(number, write.seq, write.summary)
            for number, write in written
            if write.summary.partition in held
        }
    )


async def _write_in_parts(connection: Connection, commit: Commit) -> CommitResult:
    wakes = dict(commit.wakes)
    named = [*wakes, *commit.deletes]
    async with transaction(connection):
        row = await _execute(connection, commit, _Parts(commit.writes, ()), (), ())
        homes = await connection.fetch(QUERIES["homes"], named)
        held: list[int] = row["held"]
        touched = _partitions(commit).union(home["partition"] for home in homes)
        lost = frozenset(touched.difference(held))
        if row["conflicts"]:
            return CommitResult(lost, frozenset(row["conflicts"]))
        await connection.execute(QUERIES["settle"], *_keys(commit.settled), held)
        await connection.execute(QUERIES["wake"], list(wakes), list(wakes.values()), held)
        await connection.execute(QUERIES["delete"], list(commit.deletes), held)
    return CommitResult(lost)


async def _execute(
    connection: Connection,
    commit: Commit,
    parts: _Parts,
    settled: Sequence[tuple[int, int]],
    wakes: Sequence[tuple[str, int | None]],
) -> asyncpg.Record:
    writes = parts.full
    rows: list[asyncpg.Record] = await connection.fetch(
        QUERIES["commit"],
        *_lease_columns(commit.leases),
        *_summary_columns([write.summary for write in writes]),
        numbers([write.seq for write in writes]),
        [write.record for write in writes],
        numbers([write.is_snapshot for write in writes]),
        _repeated(writes),
        *_outbox_columns(commit),
        *_keys(settled),
        words([execution for execution, _ in wakes]),
        numbers([wake_ms for _, wake_ms in wakes]),
        *_going_columns(parts.going),
    )
    return rows[0]


def _lease_columns(leases: Sequence[Lease]) -> _Columns:
    return (
        numbers([lease.partition for lease in leases]),
        words([lease.owner for lease in leases]),
        numbers([lease.epoch for lease in leases]),
    )


def _outbox_columns(commit: Commit) -> _Columns:
    outbox = commit.outbox
    return (
        numbers([row.partition for row in outbox]),
        numbers([row.number for row in outbox]),
        words([row.execution for row in outbox]),
        [row.command for row in outbox],
    )


def _going_columns(going: Sequence[tuple[int, ExecutionWrite]]) -> _Columns:
    summaries = [write.summary for _, write in going]
    return (
        numbers([number for number, _ in going]),
        numbers([each.partition for each in summaries]),
        numbers([each.updated_ms for each in summaries]),
        numbers([each.wake_ms for each in summaries]),
        numbers([write.seq for _, write in going]),
        [write.record for _, write in going],
        numbers([write.is_snapshot for _, write in going]),
    )


def _summary_columns(summaries: Sequence[ExecutionSummary]) -> _Columns:
    return (
        words([each.id for each in summaries]),
        numbers([each.partition for each in summaries]),
        words([each.workflow for each in summaries]),
        words([each.definition for each in summaries]),
        words([each.status._value_ for each in summaries]),
        numbers([each.created_ms for each in summaries]),
        numbers([each.updated_ms for each in summaries]),
        numbers([each.ended_ms for each in summaries]),
        numbers([each.wake_ms for each in summaries]),
        words([each.incident for each in summaries]),
        words([json.dumps(dict(each.labels)) if each.labels else "{}" for each in summaries]),
        words([each.fingerprint for each in summaries]),
    )


def _repeated(writes: Sequence[ExecutionWrite]) -> list[str]:
    """Return the executions that there are several writes for."""
    seen: set[str] = set()
    repeated: set[str] = set()
    for write in writes:
        (repeated if write.summary.id in seen else seen).add(write.summary.id)
    return sorted(repeated)


def _keys(pairs: Sequence[tuple[int, int]]) -> tuple[str, str]:
    return numbers([partition for partition, _ in pairs]), numbers([number for _, number in pairs])


def _partitions(commit: Commit) -> set[int]:
    """Return the partitions that a commit says it touches."""
    return set(
        chain(
            (lease.partition for lease in commit.leases),
            (write.summary.partition for write in commit.writes),
            (row.partition for row in commit.outbox),
            (partition for partition, _ in commit.settled),
        )
    )
