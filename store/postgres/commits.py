"""The group commit: one statement, one round trip, one transaction, one fsync.

Nearly always. A commit that deletes executions, or that names the same row in two of its parts, is
written by several statements in one transaction, because the parts of one statement do not see
what the others have done.
"""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import asyncpg

from flow.clock import SystemChance, SystemClock, sleep
from flow.ports import Commit, CommitResult, ExecutionSummary, ExecutionWrite
from store.postgres import faults
from store.postgres.leases import columns
from store.postgres.sessions import Connection, transaction
from store.postgres.statements import QUERIES

_Columns = tuple[list[Any], ...]

_PAUSES_S: Final = (0.02, 0.1, 0.5)
"""Before it is tried again what the server has surely not written."""

_clock = SystemClock()
_chance = SystemChance()


async def commit(connection: Connection, commit: Commit) -> CommitResult:
    """Write everything but the rows of lost partitions, or nothing if there are conflicts.

    Args:
        connection: The connection.
        commit: What to write.
    """
    for pause_s in _PAUSES_S:
        try:
            return await _write(connection, commit)
        except asyncpg.PostgresError as error:
            if not faults.is_retryable(error):
                raise
        await sleep(_clock, pause_s * _chance.random())
    return await _write(connection, commit)


async def _write(connection: Connection, commit: Commit) -> CommitResult:
    if not commit.deletes and not _overlaps(commit):
        return await _write_at_once(connection, commit)
    return await _write_in_parts(connection, commit)


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


async def _write_at_once(connection: Connection, commit: Commit) -> CommitResult:
    row = await _execute(connection, commit, commit.settled, commit.wakes)
    touched = _partitions(commit) | set(row["homes"])
    return CommitResult(frozenset(touched.difference(row["held"])), frozenset(row["conflicts"]))


async def _write_in_parts(connection: Connection, commit: Commit) -> CommitResult:
    wakes = dict(commit.wakes)
    named = [*wakes, *commit.deletes]
    async with transaction(connection):
        row = await _execute(connection, commit, (), ())
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
    settled: Sequence[tuple[int, int]],
    wakes: Sequence[tuple[str, int | None]],
) -> asyncpg.Record:
    writes, outbox = commit.writes, commit.outbox
    rows: list[asyncpg.Record] = await connection.fetch(
        QUERIES["commit"],
        *columns(commit.leases),
        *_summary_columns([write.summary for write in writes]),
        [write.seq for write in writes],
        [write.record for write in writes],
        [write.is_snapshot for write in writes],
        _repeated(writes),
        [row.partition for row in outbox],
        [row.number for row in outbox],
        [row.execution for row in outbox],
        [row.command for row in outbox],
        *_keys(settled),
        [execution for execution, _ in wakes],
        [wake_ms for _, wake_ms in wakes],
    )
    return rows[0]


def _summary_columns(summaries: Sequence[ExecutionSummary]) -> _Columns:
    return (
        [each.id for each in summaries],
        [each.partition for each in summaries],
        [each.workflow for each in summaries],
        [each.definition for each in summaries],
        [each.status.value for each in summaries],
        [each.created_ms for each in summaries],
        [each.updated_ms for each in summaries],
        [each.ended_ms for each in summaries],
        [each.wake_ms for each in summaries],
        [each.incident for each in summaries],
        [json.dumps(dict(each.labels)) if each.labels else "{}" for each in summaries],
        [each.fingerprint for each in summaries],
    )


def _repeated(writes: Sequence[ExecutionWrite]) -> list[str]:
    """Return the executions that there are several writes for."""
    seen: set[str] = set()
    repeated: set[str] = set()
    for write in writes:
        (repeated if write.summary.id in seen else seen).add(write.summary.id)
    return sorted(repeated)


def _keys(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [partition for partition, _ in pairs], [number for _, number in pairs]


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
