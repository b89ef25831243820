"""The data of a store in memory, which any number of `MemoryStore` work on."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from flow.errors import ConfigurationError, StoreUnavailable
from flow.ports import (
    Commit,
    ExecutionSummary,
    ExecutionWrite,
    JournalRecord,
    Lease,
    Namespace,
    OutboxRow,
    Pruned,
    Tombstone,
)
from store.memory.catalogue import Catalogue

URL: Final = "memory://"
"""Where the data are."""


@dataclass(slots=True)
class Ownership:
    """Who has a partition, until when, and for which incarnation of the broker."""

    owner: str = ""
    epoch: int = 0
    expires_ms: int = 0
    incarnation: str = ""

    def is_free(self, owner: str, now_ms: int) -> bool:
        """Return whether an owner may take it: nobody else holds it.

        Args:
            owner: Who asks.
            now_ms: The time.
        """
        return self.owner in {"", owner} or self.expires_ms <= now_ms


@dataclass(slots=True)
class Row:
    """An execution; `number` grows with every insertion and orders equal times."""

    number: int
    summary: ExecutionSummary
    records: list[JournalRecord]
    snapshot: int = 1


@dataclass(frozen=True, slots=True)
class _Grave:
    """A tombstone, and where it stands."""

    partition: int
    tombstone: Tombstone


@dataclass(slots=True)
class Partition:
    """The rows of a partition, and those of them that somebody asks for again and again."""

    ownership: Ownership = field(default_factory=Ownership)
    active: dict[str, Row] = field(default_factory=dict[str, Row])
    waiting: dict[str, Row] = field(default_factory=dict[str, Row])
    outbox: dict[int, OutboxRow] = field(default_factory=dict[int, OutboxRow])


class MemoryDatabase:
    """Data that several `MemoryStore` share, as processes share a database.

    Attributes:
        catalogue: Definitions, steps and pauses.
    """

    def __init__(self) -> None:
        self._namespace: Namespace | None = None
        self._partitions: list[Partition] = []
        self._rows: dict[str, Row] = {}
        self._last_number = 0
        self._graves: dict[str, _Grave] = {}
        self._members: dict[str, int] = {}
        self.catalogue = Catalogue()

    def settle(self, namespace: Namespace) -> Namespace:
        """Create the namespace unless it exists.

        Args:
            namespace: The wish.

        Returns:
            The namespace as stored.

        Raises:
            ConfigurationError: The data belong to another namespace.
        """
        if self._namespace is None:
            self._namespace = namespace
            self._partitions = [Partition() for _ in range(namespace.partitions)]
        if self._namespace.name != namespace.name:
            reason = f"it holds the namespace {self._namespace.name!r}, not {namespace.name!r}"
            raise ConfigurationError(f"the store {URL}", reason)
        return self._namespace

    def partition(self, number: int) -> Partition:
        """Return a partition.

        Args:
            number: Its number, from 0 on.

        Raises:
            ConfigurationError: The namespace has no such partition.
        """
        if 0 <= number < len(self._partitions):
            return self._partitions[number]
        reason = f"the namespace has partitions 0 to {len(self._partitions) - 1}"
        raise ConfigurationError(f"partition {number}", reason)

    def free(self, owner: str, now_ms: int) -> frozenset[int]:
        """Return the partitions that nobody else holds.

        Args:
            owner: Who asks.
            now_ms: The time.
        """
        everything = enumerate(self._partitions)
        return frozenset(at for at, each in everything if each.ownership.is_free(owner, now_ms))

    def free_leases(self) -> None:
        """Let all leases and memberships run out. The epochs stay."""
        self._members.clear()
        for partition in self._partitions:
            partition.ownership.expires_ms = 0

    def join(self, owner: str, now_ms: int, expires_ms: int) -> tuple[str, ...]:
        """Let an owner be a member for a while, and return all members.

        Args:
            owner: Who.
            now_ms: The time.
            expires_ms: Until when.
        """
        self._members[owner] = expires_ms
        self._members = {name: at for name, at in self._members.items() if at > now_ms}
        return tuple(sorted({*self._members, owner}))

    def leave(self, owner: str) -> None:
        """Let an owner be a member no more.

        Args:
            owner: Who.
        """
        self._members.pop(owner, None)

    def row(self, execution: str) -> Row | None:
        """Return the row of an execution, or None.

        Args:
            execution: Its id.
        """
        return self._rows.get(execution)

    def tombstone(self, execution: str) -> Tombstone | None:
        """Return what is kept of an execution that was pruned, or None.

        Args:
            execution: Its id.
        """
        grave = self._graves.get(execution)
        return grave.tombstone if grave else None

    def home(self, execution: str) -> int | None:
        """Return the partition of an execution, also of one that was pruned, or None.

        Args:
            execution: Its id.
        """
        if row := self._rows.get(execution):
            return row.summary.partition
        grave = self._graves.get(execution)
        return grave.partition if grave else None

    def rows(self) -> Iterable[Row]:
        """Return the rows of all executions, in the order in which they were inserted."""
        return self._rows.values()

    def is_current(self, lease: Lease) -> bool:
        """Return whether nobody has taken the partition since the lease was given.

        Args:
            lease: The lease.
        """
        ownership = self.partition(lease.partition).ownership
        return (ownership.owner, ownership.epoch) == (lease.owner, lease.epoch)

    def apply(self, commit: Commit, held: frozenset[int]) -> None:
        """Do what a checked commit asks for, for the partitions *held*.

        Args:
            commit: What to write.
            held: The partitions whose rows are written.

        Raises:
            StoreUnavailable: An outbox row has a number that is taken; nothing was written.
        """
        queued = [row for row in commit.outbox if row.partition in held]
        self._check_numbers(queued)
        for write in commit.writes:
            if write.summary.partition in held:
                self._write(write)
        for row in queued:
            self._partitions[row.partition].outbox[row.number] = row
        for partition, number in commit.settled:
            if partition in held:
                self._partitions[partition].outbox.pop(number, None)
        for execution, wake_ms in commit.wakes:
            self._wake(execution, wake_ms, held)
        gone = {each for each in commit.deletes if self.home(each) in held}
        for each in gone:
            self._graves.pop(each, None)
        self._delete(gone & self._rows.keys())

    def prune(self, ended_before_ms: int, forget_before_ms: int, limit: int) -> Pruned:
        """Forget old tombstones, and make tombstones of old executions.

        Args:
            ended_before_ms: Executions that ended before this time become tombstones.
            forget_before_ms: Tombstones of executions that ended before it are forgotten.
            limit: How many of each at most.
        """
        old = self._old_graves(forget_before_ms, limit)
        for grave in old:
            del self._graves[grave.tombstone.id]
        ended = self._ended(ended_before_ms, limit)
        for row in ended:
            self._graves[row.summary.id] = _Grave(row.summary.partition, _tombstone(row.summary))
        self._delete({row.summary.id for row in ended})
        left = self._old_graves(forget_before_ms, 1) or self._ended(ended_before_ms, 1)
        return Pruned(len(ended), len(old), bool(left))

    def _old_graves(self, before_ms: int, limit: int) -> list[_Grave]:
        old = (grave for grave in self._graves.values() if grave.tombstone.ended_ms < before_ms)
        return heapq.nsmallest(
            limit, old, key=lambda each: (each.tombstone.ended_ms, each.tombstone.id)
        )

    def _ended(self, before_ms: int, limit: int) -> list[Row]:
        # Whose messages are not out yet is not done, even if nothing else happens to it.
        busy = {row.execution for each in self._partitions for row in each.outbox.values()}
        ended = (
            row
            for row in self._rows.values()
            if row.summary.ended_ms is not None
            and row.summary.ended_ms < before_ms
            and row.summary.id not in busy
        )
        return heapq.nsmallest(
            limit, ended, key=lambda row: (row.summary.ended_ms or 0, row.number)
        )

    def _check_numbers(self, queued: Sequence[OutboxRow]) -> None:
        taken: set[tuple[int, int]] = set()
        for row in queued:
            key = (row.partition, row.number)
            if key in taken or row.number in self._partitions[row.partition].outbox:
                reason = f"outbox row {row.number} of partition {row.partition} is already there"
                raise StoreUnavailable(URL, reason)
            taken.add(key)

    def _write(self, write: ExecutionWrite) -> None:
        summary = write.summary
        row = self._rows.get(summary.id)
        if row is None:
            self._last_number += 1
            row = self._rows[summary.id] = Row(self._last_number, summary, [])
        row.summary = summary
        row.records.append(JournalRecord(write.seq, write.record, write.is_snapshot))
        if write.is_snapshot:
            row.snapshot = write.seq
        partition = self._partitions[summary.partition]
        _keep(partition.active, row, wanted=summary.ended_ms is None)
        _keep(partition.waiting, row, wanted=summary.wake_ms is not None)

    def _wake(self, execution: str, wake_ms: int | None, held: frozenset[int]) -> None:
        row = self._rows.get(execution)
        if row and row.summary.partition in held:
            row.summary = row.summary._replace(wake_ms=wake_ms)
            waiting = self._partitions[row.summary.partition].waiting
            _keep(waiting, row, wanted=wake_ms is not None)

    def _delete(self, gone: set[str]) -> None:
        touched = {self._rows.pop(each).summary.partition for each in gone}
        for number in touched:
            partition = self._partitions[number]
            for each in gone:
                partition.active.pop(each, None)
                partition.waiting.pop(each, None)
            kept = {key: row for key, row in partition.outbox.items() if row.execution not in gone}
            partition.outbox = kept


def _keep(rows: dict[str, Row], row: Row, *, wanted: bool) -> None:
    if wanted:
        rows[row.summary.id] = row
    else:
        rows.pop(row.summary.id, None)


def _tombstone(summary: ExecutionSummary) -> Tombstone:
    return Tombstone(
        id=summary.id,
        workflow=summary.workflow,
        status=summary.status,
        ended_ms=summary.ended_ms or 0,
        fingerprint=summary.fingerprint,
    )
