"""The reference store: what every other store has to do, in dictionaries.

A `MemoryDatabase` holds the data, and any number of `MemoryStore` work on it, each standing for
a process of its own. No method waits, so that on one event loop each of them is atomic.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence

from flow.errors import StoreUnavailable, UnknownExecution
from flow.ports import (
    Commit,
    CommitResult,
    Due,
    ExecutionQuery,
    ExecutionSummary,
    ExecutionWrite,
    Finding,
    JournalRecord,
    Lease,
    Level,
    Namespace,
    OutboxRow,
    Pruned,
    Renewal,
    StoredExecution,
    Tombstone,
)
from store.memory.catalogue import CatalogueStore
from store.memory.database import URL, MemoryDatabase, Row


class MemoryStore(CatalogueStore):
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
        self.url = URL
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

    async def examine(self) -> Sequence[Finding]:
        """Say that nothing outlives the process. See `flow.ports.Store`."""
        self._opened.rows()
        detail = "in memory: everything is lost when the process ends"
        return [Finding(Level.WARNING, "durability", detail, "use sqlite:/// or postgresql://")]

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition that is free, run out or ours. See `flow.ports.Store`."""
        ownership = self._opened.partition(partition).ownership
        now_ms = self._now_ms()
        if not ownership.is_free(owner, now_ms):
            return None
        ownership.owner = owner
        ownership.epoch += 1
        ownership.expires_ms = now_ms + ttl_ms
        return Lease(partition, owner, ownership.epoch, ownership.incarnation)

    async def renew(self, owner: str, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend the leases that still stand, and the membership. See `flow.ports.Store`."""
        database = self._opened
        now_ms = self._now_ms()
        held = frozenset(lease.partition for lease in leases if database.is_current(lease))
        for partition in held:
            database.partition(partition).ownership.expires_ms = now_ms + ttl_ms
        members = database.join(owner, now_ms, now_ms + ttl_ms)
        free = database.free(owner, now_ms)
        return Renewal(now_ms, held, members, database.catalogue.revision, free)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give the leases back that still stand. See `flow.ports.Store`."""
        database = self._opened
        for lease in leases:
            if database.is_current(lease):
                database.partition(lease.partition).ownership.owner = ""

    async def leave(self, owner: str) -> None:
        """Be a member no more. See `flow.ports.Store`."""
        self._opened.leave(owner)

    async def note_incarnation(self, leases: Sequence[Lease], incarnation: str) -> None:
        """Note the broker's incarnation for leases that stand. See `flow.ports.Store`."""
        database = self._opened
        for lease in leases:
            if database.is_current(lease):
                database.partition(lease.partition).ownership.incarnation = incarnation

    async def commit(self, commit: Commit) -> CommitResult:
        """Write everything, or nothing of a lost partition. See `flow.ports.Store`."""
        database = self._opened
        held = frozenset(each.partition for each in commit.leases if database.is_current(each))
        lost = frozenset(self._partitions_of(commit) - held)
        conflicts = _conflicts(database, commit.writes, held)
        if not conflicts:
            database.apply(commit, held)
        return CommitResult(lost, conflicts)

    async def load(self, executions: Sequence[str]) -> Mapping[str, StoredExecution | Tombstone]:
        """Load executions from their last snapshots on. See `flow.ports.Store`."""
        database = self._opened
        found: dict[str, StoredExecution | Tombstone] = {}
        for each in executions:
            if row := database.row(each):
                found[each] = _stored(row)
            elif tombstone := database.tombstone(each):
                found[each] = tombstone
        return found

    async def prune(self, ended_before_ms: int, forget_before_ms: int, limit: int) -> Pruned:
        """Make tombstones of old executions, and forget old ones. See `flow.ports.Store`."""
        return self._opened.prune(ended_before_ms, forget_before_ms, limit)

    async def due(self, partition: int, before_ms: int, limit: int) -> Due:
        """Return what is due in a partition. See `flow.ports.Store`."""
        rows = self._opened.partition(partition).waiting.values()
        times = ((row.summary.wake_ms or 0, row.number, row.summary.id) for row in rows)
        first = heapq.nsmallest(limit + 1, times)
        due = tuple(each for wake_ms, _, each in first[:limit] if wake_ms <= before_ms)
        return Due(due, first[len(due)][0] if len(due) < len(first) else None)

    async def active(
        self, partition: int, wake_by_ms: int, after: str, limit: int
    ) -> Sequence[str]:
        """Return ids of executions that have not ended and wake soon. See `flow.ports.Store`."""
        rows = self._opened.partition(partition)
        found = (
            name
            for name, row in rows.waiting.items()
            if name > after and name in rows.active and (row.summary.wake_ms or 0) <= wake_by_ms
        )
        return heapq.nsmallest(limit, found)

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

    @property
    def _opened(self) -> MemoryDatabase:
        if self._is_open:
            return self._database
        raise StoreUnavailable(URL, "it is not open")

    def _partitions_of(self, commit: Commit) -> set[int]:
        database = self._database
        rows = (row for each, _ in commit.wakes if (row := database.row(each)))
        homes = (home for each in commit.deletes if (home := database.home(each)) is not None)
        return {
            *(lease.partition for lease in commit.leases),
            *(write.summary.partition for write in commit.writes),
            *(row.partition for row in commit.outbox),
            *(partition for partition, _ in commit.settled),
            *(row.summary.partition for row in rows),
            *homes,
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
        if write.seq != expected or name in seen or database.tombstone(name):
            conflicts.add(name)
        seen.add(name)
    return frozenset(conflicts)


def _stored(row: Row) -> StoredExecution:
    records = tuple(record.record for record in row.records[row.snapshot - 1 :])
    return StoredExecution(row.summary, len(row.records), records)


def _age(row: Row) -> tuple[int, int]:
    return row.summary.created_ms, row.number


def _matches(summary: ExecutionSummary, query: ExecutionQuery) -> bool:
    return (
        (not query.statuses or summary.status in query.statuses)
        and (not query.workflow or summary.workflow == query.workflow)
        and (not query.incidents or bool(summary.incident))
        and query.partition in {None, summary.partition}
        and query.labels.items() <= summary.labels.items()
    )
