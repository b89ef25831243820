"""The reference store: what every other store has to do, in dictionaries.

A `MemoryDatabase` holds the data, and any number of `MemoryStore` work on it, each standing for
a process of its own. No method waits, so that on one event loop each of them is atomic.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flow.errors import ConfigurationError, StoreUnavailable, UnknownExecution
from flow.ports import (
    Commit,
    CommitResult,
    DefinitionRecord,
    Due,
    ExecutionQuery,
    ExecutionSummary,
    ExecutionWrite,
    JournalRecord,
    Lease,
    Namespace,
    OutboxRow,
    Renewal,
    StoredExecution,
)

_URL = "memory://"


@dataclass(slots=True)
class _Ownership:
    owner: str = ""
    epoch: int = 0
    expires_ms: int = 0


@dataclass(slots=True)
class _Row:
    """An execution; `number` grows with every insertion and orders equal times."""

    number: int
    summary: ExecutionSummary
    records: list[JournalRecord]
    snapshot: int = 1


@dataclass(slots=True)
class _Partition:
    """The rows of a partition, and those of them that somebody asks for again and again."""

    ownership: _Ownership = field(default_factory=_Ownership)
    active: dict[str, _Row] = field(default_factory=dict[str, _Row])
    waiting: dict[str, _Row] = field(default_factory=dict[str, _Row])
    outbox: dict[int, OutboxRow] = field(default_factory=dict[int, OutboxRow])


class MemoryDatabase:
    """Data that several `MemoryStore` share, as processes share a database."""

    def __init__(self) -> None:
        self._namespace: Namespace | None = None
        self._partitions: list[_Partition] = []
        self._rows: dict[str, _Row] = {}
        self._last_number = 0
        self._definitions: dict[str, DefinitionRecord] = {}
        self._current: dict[str, str] = {}
        self._incarnation = ""

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
            self._partitions = [_Partition() for _ in range(namespace.partitions)]
        if self._namespace.name != namespace.name:
            reason = f"it holds the namespace {self._namespace.name!r}, not {namespace.name!r}"
            raise ConfigurationError(f"the store {_URL}", reason)
        return self._namespace

    def partition(self, number: int) -> _Partition:
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

    def free_leases(self) -> None:
        """Let all leases run out. Their epochs stay."""
        for partition in self._partitions:
            partition.ownership.expires_ms = 0

    def row(self, execution: str) -> _Row | None:
        """Return the row of an execution, or None.

        Args:
            execution: Its id.
        """
        return self._rows.get(execution)

    def rows(self) -> Iterable[_Row]:
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
        doomed = [found for each in commit.deletes if (found := self.row(each))]
        gone = {row.summary.id for row in doomed if row.summary.partition in held}
        if gone:
            self._delete(gone)

    def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition, and make it the current one of its id.

        Args:
            record: The definition.
        """
        self._definitions.setdefault(record.hash, record)
        self._current[record.id] = record.hash

    def definitions(self, id: str, hash: str) -> list[DefinitionRecord]:
        """Return the definition of *hash*; else the current one of *id*; else all current.

        Args:
            id: A workflow's id, or an empty string.
            hash: The hash of a definition, or an empty string.
        """
        if hash:
            return [self._definitions[hash]] if hash in self._definitions else []
        ids = [id] if id else sorted(self._current)
        return [
            replace(self._definitions[self._current[each]], id=each)
            for each in ids
            if each in self._current
        ]

    def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition, and return whether it had one.

        Args:
            id: A workflow's id.
        """
        return self._current.pop(id, None) is not None

    def incarnate(self, expected: str, new: str) -> str:
        """Replace the incarnation if it is *expected*; return the one that stands.

        Args:
            expected: The incarnation that the caller knows.
            new: The one to put in its place.
        """
        if self._incarnation == expected:
            self._incarnation = new
        return self._incarnation

    def _check_numbers(self, queued: Sequence[OutboxRow]) -> None:
        taken: set[tuple[int, int]] = set()
        for row in queued:
            key = (row.partition, row.number)
            if key in taken or row.number in self._partitions[row.partition].outbox:
                reason = f"outbox row {row.number} of partition {row.partition} is already there"
                raise StoreUnavailable(_URL, reason)
            taken.add(key)

    def _write(self, write: ExecutionWrite) -> None:
        summary = write.summary
        row = self._rows.get(summary.id)
        if row is None:
            self._last_number += 1
            row = self._rows[summary.id] = _Row(self._last_number, summary, [])
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
            row.summary = replace(row.summary, wake_ms=wake_ms)
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


def _keep(rows: dict[str, _Row], row: _Row, *, wanted: bool) -> None:
    if wanted:
        rows[row.summary.id] = row
    else:
        rows.pop(row.summary.id, None)


class MemoryStore:
    """A store in memory. It forgets everything with its database.

    Args:
        now_ms: The clock that leases run out by, in milliseconds since 1970.
        database: The data to work on; fresh ones, which nobody else can have, if left out.

    Attributes:
        url: Where the store is: in memory.
        exclusive: Whether nobody else can have its data.
    """

    def __init__(self, now_ms: Callable[[], int], database: MemoryDatabase | None = None) -> None:
        self._now_ms = now_ms
        self._database = database or MemoryDatabase()
        self._is_open = False
        self.url = _URL
        self.exclusive = database is None

    async def open(self, namespace: Namespace) -> Namespace:
        """Create the namespace unless it exists. See `flow.ports.Store`.

        Leases of a store that nobody else can have are free when it is opened.
        """
        settled = self._database.settle(namespace)
        if self.exclusive:
            self._database.free_leases()
        self._is_open = True
        return settled

    async def close(self) -> None:
        """Refuse further calls. The data stay in the database."""
        self._is_open = False

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition that is free, run out or ours. See `flow.ports.Store`."""
        ownership = self._opened.partition(partition).ownership
        now_ms = self._now_ms()
        if ownership.owner not in {"", owner} and ownership.expires_ms > now_ms:
            return None
        ownership.owner = owner
        ownership.epoch += 1
        ownership.expires_ms = now_ms + ttl_ms
        return Lease(partition, owner, ownership.epoch)

    async def renew(self, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend the leases that still stand. See `flow.ports.Store`."""
        database = self._opened
        now_ms = self._now_ms()
        held = frozenset(lease.partition for lease in leases if database.is_current(lease))
        for partition in held:
            database.partition(partition).ownership.expires_ms = now_ms + ttl_ms
        return Renewal(now_ms, held)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give the leases back that still stand. See `flow.ports.Store`."""
        database = self._opened
        for lease in leases:
            if database.is_current(lease):
                database.partition(lease.partition).ownership.owner = ""

    async def commit(self, commit: Commit) -> CommitResult:
        """Write everything, or nothing of a lost partition. See `flow.ports.Store`."""
        database = self._opened
        held = frozenset(each.partition for each in commit.leases if database.is_current(each))
        lost = frozenset(self._partitions_of(commit) - held)
        conflicts = _conflicts(database, commit.writes, held)
        if not conflicts:
            database.apply(commit, held)
        return CommitResult(lost, conflicts)

    async def load(self, executions: Sequence[str]) -> Mapping[str, StoredExecution]:
        """Load executions from their last snapshots on. See `flow.ports.Store`."""
        database = self._opened
        rows = [row for each in executions if (row := database.row(each))]
        return {row.summary.id: _stored(row) for row in rows}

    async def due(self, partition: int, before_ms: int, limit: int) -> Due:
        """Return what is due in a partition. See `flow.ports.Store`."""
        rows = self._opened.partition(partition).waiting.values()
        times = ((row.summary.wake_ms or 0, row.number, row.summary.id) for row in rows)
        first = heapq.nsmallest(limit + 1, times)
        due = tuple(each for wake_ms, _, each in first[:limit] if wake_ms <= before_ms)
        return Due(due, first[len(due)][0] if len(due) < len(first) else None)

    async def active(self, partition: int, after: str, limit: int) -> Sequence[str]:
        """Return ids of executions that have not ended. See `flow.ports.Store`."""
        active = self._opened.partition(partition).active
        return heapq.nsmallest(limit, (each for each in active if each > after))

    async def outbox(self, partition: int, after: int, limit: int) -> Sequence[OutboxRow]:
        """Return what waits to be published. See `flow.ports.Store`."""
        outbox = self._opened.partition(partition).outbox
        numbers = heapq.nsmallest(limit, (number for number in outbox if number > after))
        return [outbox[number] for number in numbers]

    async def list(self, query: ExecutionQuery) -> Sequence[ExecutionSummary]:
        """Return the executions that match, newest first; of equal times the one inserted last.

        Args:
            query: What to match.

        Raises:
            UnknownExecution: There is no execution `query.before`.
        """
        database = self._opened
        before = database.row(query.before) if query.before else None
        if query.before and before is None:
            raise UnknownExecution(query.before)
        found = (
            row
            for row in database.rows()
            if _matches(row.summary, query) and (before is None or _age(row) < _age(before))
        )
        return [row.summary for row in heapq.nlargest(query.limit, found, key=_age)]

    async def history(self, execution: str, after: int, limit: int) -> Sequence[JournalRecord]:
        """Return journal records above a number. See `flow.ports.Store`."""
        row = self._opened.row(execution)
        return row.records[after : after + limit] if row else []

    async def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition as the current one of its id. See `flow.ports.Store`."""
        self._opened.save_definition(record)

    async def definitions(self, id: str = "", hash: str = "") -> Sequence[DefinitionRecord]:
        """Return definitions by hash, by id, or all current. See `flow.ports.Store`."""
        return self._opened.definitions(id, hash)

    async def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition. See `flow.ports.Store`."""
        return self._opened.remove_definition(id)

    async def incarnate(self, expected: str, new: str) -> str:
        """Compare and swap the broker's incarnation. See `flow.ports.Store`."""
        return self._opened.incarnate(expected, new)

    @property
    def _opened(self) -> MemoryDatabase:
        if self._is_open:
            return self._database
        raise StoreUnavailable(_URL, "it is not open")

    def _partitions_of(self, commit: Commit) -> set[int]:
        named = (*commit.deletes, *(execution for execution, _ in commit.wakes))
        rows = (row for each in named if (row := self._database.row(each)))
        return {
            *(lease.partition for lease in commit.leases),
            *(write.summary.partition for write in commit.writes),
            *(row.partition for row in commit.outbox),
            *(partition for partition, _ in commit.settled),
            *(row.summary.partition for row in rows),
        }


def _conflicts(
    database: MemoryDatabase, writes: Sequence[ExecutionWrite], held: frozenset[int]
) -> frozenset[str]:
    seen: set[str] = set()
    conflicts: set[str] = set()
    for write in writes:
        name = write.summary.id
        if write.summary.partition not in held:
            continue
        row = database.row(name)
        expected = len(row.records) + 1 if row else 1
        if write.seq != expected or name in seen:
            conflicts.add(name)
        seen.add(name)
    return frozenset(conflicts)


def _stored(row: _Row) -> StoredExecution:
    records = tuple(record.record for record in row.records[row.snapshot - 1 :])
    return StoredExecution(row.summary, len(row.records), records)


def _age(row: _Row) -> tuple[int, int]:
    return row.summary.created_ms, row.number


def _matches(summary: ExecutionSummary, query: ExecutionQuery) -> bool:
    return (
        (not query.statuses or summary.status in query.statuses)
        and (not query.workflow or summary.workflow == query.workflow)
        and (not query.incidents or bool(summary.incident))
        and query.labels.items() <= summary.labels.items()
    )
