"""The PostgreSQL store: many processes share it, and fence each other.

A process has one connection that commits, one that renews leases, one that takes and gives them
back, and a few that read: none of them waits for another, and a renewal never for a commit. Time is
the database's, so that no other clock matters.

A pooler in front has to pool sessions: prepared statements, timeouts and `search_path` belong to
the session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from flow.errors import ConfigurationError, StoreUnavailable
from flow.ports import (
    Commit,
    CommitResult,
    Due,
    ExecutionQuery,
    ExecutionSummary,
    Finding,
    JournalRecord,
    Lease,
    Namespace,
    OutboxRow,
    Pruned,
    Renewal,
    StoredExecution,
    Tombstone,
)
from store.postgres import commits, leases as ownership, pruning, reads, schema
from store.postgres.address import Address, schema_of
from store.postgres.catalogue import CatalogueStore
from store.postgres.examination import examine
from store.postgres.sessions import COMMIT_SETTINGS, Connector, Pool, Session
from store.recent import Recent

_READERS = 4
RENEWAL_S = 4.0
"""Less than the time between two renewals."""
COMMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class _Sessions:
    committing: Session
    renewing: Session
    owning: Session
    pool: Pool

    @classmethod
    def of(cls, connector: Connector) -> "_Sessions":
        """Return sessions that connect when they are used first."""
        return cls(
            committing=Session(connector, COMMIT_SETTINGS),
            renewing=Session(connector),
            owning=Session(connector),
            pool=Pool(connector, _READERS),
        )

    async def close(self) -> None:
        """Disconnect all of them."""
        for each in (self.pool, self.owning, self.renewing, self.committing):
            await each.close()


class PostgresStore(CatalogueStore):
    """A store in a PostgreSQL database: one schema for each namespace.

    Args:
        url: Where the database is: `postgresql://user:password@host/database`.
        read_only: Whether nothing is made or migrated: for looking only.

    Attributes:
        url: The same without secrets.
        exclusive: False: others may work on it at the same time.

    Raises:
        ConfigurationError: The URL is none of a PostgreSQL database.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """Take the URL apart; nothing is connected yet."""
        self._read_only = read_only
        self._address = Address.of(url)
        self.url = self._address.url
        self.exclusive = False
        self._sessions: _Sessions | None = None
        self._recent = Recent()

    async def open(self, namespace: Namespace) -> Namespace:
        """Connect, make or migrate the schema, and create the namespace unless it exists.

        Args:
            namespace: The wish.

        Returns:
            The namespace as stored.

        Raises:
            StoreUnavailable: The server cannot be reached.
            UnsupportedVersion: A newer program has migrated the schema.
            ConfigurationError: The database, the user or its rights are missing; or it is open
                already.
        """
        if self._sessions is not None:
            raise ConfigurationError(f"the store {self.url}", "it is open already")
        name = schema_of(namespace.name)
        sessions = _Sessions.of(Connector(self._address, name))
        try:
            act = schema.look if self._read_only else schema.settle
            settle = partial(act, address=self._address, schema=name, wish=namespace)
            settled = await sessions.pool.run(settle, schema.MIGRATION_S)
        except BaseException:
            await sessions.close()
            raise
        self._sessions = sessions
        self._recent.clear()
        return settled

    async def close(self) -> None:
        """Disconnect."""
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            await sessions.close()

    async def examine(self) -> Sequence[Finding]:
        """Look at version, durability, rights, clock and connections. See `flow.ports.Store`."""
        return await self._pool.run(examine)

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition that is free, run out or ours. See `flow.ports.Store`."""
        work = partial(ownership.acquire, partition=partition, owner=owner, ttl_ms=ttl_ms)
        return await self._opened.owning.run(work)

    async def renew(self, owner: str, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend the leases that still stand, and the membership. See `flow.ports.Store`."""
        work = partial(ownership.renew, owner=owner, leases=leases, ttl_ms=ttl_ms)
        return await self._opened.renewing.run(work, RENEWAL_S)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give the leases back that still stand. See `flow.ports.Store`."""
        await self._opened.owning.run(partial(ownership.release, leases=leases))

    async def leave(self, owner: str) -> None:
        """Be a member no more. See `flow.ports.Store`."""
        await self._opened.owning.run(partial(ownership.leave, owner=owner))

    async def note_incarnation(self, leases: Sequence[Lease], incarnation: str) -> None:
        """Note the broker's incarnation for leases that stand. See `flow.ports.Store`."""
        work = partial(ownership.note_incarnation, leases=leases, incarnation=incarnation)
        await self._opened.owning.run(work)

    async def commit(self, commit: Commit) -> CommitResult:
        """Write everything, or nothing of a lost partition. See `flow.ports.Store`."""
        work = partial(commits.commit, recent=self._recent, commit=commit)
        return await self._opened.committing.run(work, COMMIT_S)

    async def load(self, executions: Sequence[str]) -> Mapping[str, StoredExecution | Tombstone]:
        """Load executions from their last snapshots on. See `flow.ports.Store`."""
        return await self._pool.run(partial(reads.load, ids=executions))

    async def prune(self, ended_before_ms: int, forget_before_ms: int, limit: int) -> Pruned:
        """Make tombstones of old executions, and forget old ones. See `flow.ports.Store`."""
        work = partial(
            pruning.prune,
            ended_before_ms=ended_before_ms,
            forget_before_ms=forget_before_ms,
            limit=limit,
        )
        return await self._pool.run(work)

    async def due(self, partition: int, before_ms: int, limit: int) -> Due:
        """Return what is due in a partition. See `flow.ports.Store`."""
        work = partial(reads.due, partition=partition, before_ms=before_ms, limit=limit)
        return await self._pool.run(work)

    async def active(
        self, partition: int, wake_by_ms: int, after: str, limit: int
    ) -> Sequence[str]:
        """Return ids of executions that have not ended. See `flow.ports.Store`."""
        work = partial(
            reads.active, partition=partition, wake_by_ms=wake_by_ms, after=after, limit=limit
        )
        return await self._pool.run(work)

    async def outbox(self, partition: int, after: int, limit: int) -> Sequence[OutboxRow]:
        """Return what waits to be published. See `flow.ports.Store`."""
        work = partial(reads.outbox, partition=partition, after=after, limit=limit)
        return await self._pool.run(work)

    async def list(self, query: ExecutionQuery) -> Sequence[ExecutionSummary]:
        """Return the executions that match, newest first; of equal times the one inserted last.

        Args:
            query: What to match.

        Raises:
            UnknownExecution: There is no execution `query.before`.
        """
        return await self._pool.run(partial(reads.list_executions, query=query))

    async def history(self, execution: str, after: int, limit: int) -> Sequence[JournalRecord]:
        """Return journal records above a number. See `flow.ports.Store`."""
        work = partial(reads.history, execution=execution, after=after, limit=limit)
        return await self._pool.run(work)

    @property
    def _opened(self) -> _Sessions:
        if self._sessions is None:
            raise StoreUnavailable(self.url, "it is not open")
        return self._sessions

    @property
    def _pool(self) -> Pool:
        return self._opened.pool
