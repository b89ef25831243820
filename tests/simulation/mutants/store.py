"""Mutants of the store in memory: what a store must not let happen."""

import asyncio
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final

from flow.ports import Due, Lease, OutboxRow
from flow.runtime.orchestrator.committer import Committer
from store.memory import store as memory
from store.memory.database import Row
from store.memory.store import MemoryStore
from tests.simulation.mutants.patching import Change, Override, edit

__all__ = ["MUTANTS"]

LOCK_S: Final = 1.0
"""Seconds that an acquisition waits for the row that commits hold, once it has its snapshot."""


def fence_removed() -> Sequence[Change]:
    """The store writes what the owner of an older epoch decided."""
    held = "frozenset(each.partition for each in commit.leases if database.is_current(each))"
    return [edit(MemoryStore.commit, (held, "frozenset(each.partition for each in commit.leases)"))]


def one_fence_for_all() -> Sequence[Change]:
    """Of a commit for several partitions the store writes everything if one fence holds."""
    stands = "if database.is_current(each)"
    return [edit(MemoryStore.commit, (stands, "if any(map(database.is_current, commit.leases))"))]


def lease_not_renewed() -> Sequence[Change]:
    """A renewal extends nothing, and the owner goes on believing that it holds its leases.

    The fence keeps it from writing, until it tries to. What is seen is that two owners keep the
    same executions when all is quiet.
    """
    held = "frozenset(lease.partition for lease in leases if database.is_current(lease))"
    extended = "database.partition(partition).ownership.expires_ms = now_ms + ttl_ms"
    believed = "frozenset(lease.partition for lease in leases)"
    return [edit(MemoryStore.renew, (held, believed), (extended, "pass"))]


def load_in_acquiring_snapshot() -> Sequence[Change]:
    """A new owner reads what it saw when it began to acquire.

    In PostgreSQL the acquiring statement has its snapshot before it waits for the commit that
    holds the row. What that commit wrote is missing from the snapshot. Here the same: the rows
    of the partition are copied, the acquisition waits, and recovery reads the copies.
    """
    return [
        Override(MemoryStore, "acquire", _acquire),
        Override(MemoryStore, "outbox", _outbox),
        Override(MemoryStore, "due", _due),
        Override(MemoryStore, "load", _load),
    ]


def unknown_commit_taken_for_failed() -> Sequence[Change]:
    """Whoever does not know whether a commit was done reads again without a new epoch.

    What is done late then comes after the reading. The number of the record would tell: whoever
    decides on it next has a conflict. So conflicts are ignored too.
    """
    failed = "_host.failed(batch, again=True)\n            return\n        except InvalidInput"
    return [
        edit(Committer._write, (failed, failed.replace("True", "False"))),
        edit(memory._conflicts, ("return frozenset(conflicts)", "return frozenset()")),
    ]


def _acquire(original: Callable[..., Any]) -> Callable[..., Any]:
    async def acquire(self: Any, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        rows = self._opened.partition(partition)
        seen = copy(rows)
        seen.outbox = dict(rows.outbox)
        seen.active, seen.waiting = _rows(rows.active), _rows(rows.waiting)
        await asyncio.sleep(LOCK_S)
        lease: Lease | None = await original(self, partition, owner, ttl_ms)
        if lease is not None:
            self.__dict__.setdefault("seen", {})[partition] = seen
        return lease

    return acquire


def _rows(rows: dict[str, Row]) -> dict[str, Row]:
    return {name: replace(row, records=list(row.records)) for name, row in rows.items()}


def _outbox(original: Callable[..., Any]) -> Callable[..., Any]:
    async def outbox(self: Any, partition: int, after: int, limit: int) -> Sequence[OutboxRow]:
        seen = self.__dict__.get("seen", {}).get(partition)
        if seen is None:
            rows: Sequence[OutboxRow] = await original(self, partition, after, limit)
            return rows
        return [seen.outbox[each] for each in sorted(seen.outbox) if each > after][:limit]

    return outbox


def _due(original: Callable[..., Any]) -> Callable[..., Any]:
    async def due(self: Any, partition: int, before_ms: int, limit: int) -> Due:
        # Recovery ends with this: whatever is read later is read in a snapshot of its own.
        seen = self.__dict__.get("seen", {}).pop(partition, None)
        rows = self._opened.partition(partition)
        found: Due
        if seen is None:
            found = await original(self, partition, before_ms, limit)
            return found
        present, rows.waiting = rows.waiting, seen.waiting
        try:
            found = await original(self, partition, before_ms, limit)
            return found
        finally:
            rows.waiting = present

    return due


def _load(original: Callable[..., Any]) -> Callable[..., Any]:
    async def load(self: Any, executions: Sequence[str]) -> dict[str, Any]:
        found = dict(await original(self, executions))
        for seen in self.__dict__.get("seen", {}).values():
            for name in found:
                row = seen.active.get(name)
                if row is not None:
                    found[name] = memory._stored(row)
        return found

    return load


MUTANTS = (
    fence_removed,
    one_fence_for_all,
    lease_not_renewed,
    load_in_acquiring_snapshot,
    unknown_commit_taken_for_failed,
)
