"""The SQLite store: one file, one process, one thread that writes and one that reads.

Writing and checkpointing on a single connection is not only the simplest way: SQLite before 3.51.3
can damage a file in WAL mode when two connections do it. Reads that begin after a commit was
answered see that commit, because it was in the WAL before it was answered.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

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
from store.recent import Recent
from store.sqlite import examination, leases as ownership, reads, schema, writes
from store.sqlite.catalogue import CatalogueStore
from store.sqlite.lock import FileLock
from store.sqlite.writer import ConnectionThread


class SqliteStore(CatalogueStore):
    """A store in one SQLite file, which belongs to one process while it is open.

    Args:
        path: The database file. It is created if need be, with its folder.
        now_ms: The clock that leases run out by, in milliseconds since 1970.
        read_only: Whether only to look, without taking the file's lock. Whatever writes then
            raises ConfigurationError.

    Attributes:
        url: Where the store is.
        exclusive: Whether opening it keeps every other process out.
    """

    def __init__(
        self, path: Path | str, now_ms: Callable[[], int], *, read_only: bool = False
    ) -> None:
        self._path = Path(path)
        self.url = schema.url_of(self._path)
        self.exclusive = not read_only
        self._now_ms = now_ms
        self._read_only = read_only
        self._reader: ConnectionThread | None = None
        self._writer: ConnectionThread | None = None
        self._stopped: Sequence[asyncio.Future[None]] = ()
        # Used on the writer's thread only.
        self._recent = Recent()

    async def open(self, namespace: Namespace) -> Namespace:
        """Take the lock, migrate, and create the namespace unless it exists.

        Leases end with the process that had them: they are free when the store is opened.

        Args:
            namespace: The wish.

        Returns:
            The namespace as stored.

        Raises:
            StoreUnavailable: The file cannot be used, or is no database of ours.
            StoreLocked: Another process has it.
            UnsupportedVersion: A newer program has migrated it.
            ConfigurationError: It belongs to another namespace, or is open already.
        """
        if self._writer is not None or self._reader is not None:
            raise ConfigurationError(f"the store {self.url}", "it is open already")
        try:
            if not self._read_only:
                # Others may have written while it was closed.
                self._recent = Recent()
                self._writer = _writer(self._path)
                await self._writer.start()
                await self._writer.run(schema.settle_namespace, self._path, namespace)
            self._reader = _reader(self._path)
            await self._reader.start()
            return await self._reader.run(schema.read_namespace, self._path, namespace)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, disconnect, and give the lock back."""
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        stopped = [reader.stop()] if reader else []
        if writer:
            # The writer goes last, and leaves no WAL behind: only it can check it in.
            stopped.append(writer.stop(after=reader))
        self._stopped = stopped or self._stopped
        for future in self._stopped:
            # Another task may wait for the same: cancelling one of them is not for both.
            await asyncio.shield(future)

    async def examine(self) -> Sequence[Finding]:
        """Look at the version, the durability and the file. See `flow.ports.Store`."""
        found = [
            *await self._read.run(examination.look_at_file, self._path),
            examination.look_at_permissions(self._path),
        ]
        if not self._read_only:
            found.append(await self._write.run(examination.look_at_durability))
        return found

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition that is free, run out or ours. See `flow.ports.Store`."""
        return await self._write.run(ownership.acquire, partition, owner, self._now_ms(), ttl_ms)

    async def renew(self, owner: str, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend the leases that still stand, and the membership. See `flow.ports.Store`."""
        return await self._write.run(ownership.renew, owner, leases, self._now_ms(), ttl_ms)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give the leases back that still stand. See `flow.ports.Store`."""
        await self._write.run(ownership.release, leases)

    async def leave(self, owner: str) -> None:
        """Be a member no more. See `flow.ports.Store`."""
        await self._write.run(ownership.leave, owner)

    async def note_incarnation(self, leases: Sequence[Lease], incarnation: str) -> None:
        """Note the broker's incarnation for leases that stand. See `flow.ports.Store`."""
        await self._write.run(ownership.note_incarnation, leases, incarnation)

    async def commit(self, commit: Commit) -> CommitResult:
        """Write everything, or nothing of a lost partition. See `flow.ports.Store`."""
        return await self._write.run(writes.commit, self._recent, commit)

    async def load(self, executions: Sequence[str]) -> Mapping[str, StoredExecution | Tombstone]:
        """Load executions from their last snapshots on. See `flow.ports.Store`."""
        return await self._read.run(reads.load, executions)

    async def prune(self, ended_before_ms: int, forget_before_ms: int, limit: int) -> Pruned:
        """Make tombstones of old executions, and forget old ones. See `flow.ports.Store`."""
        return await self._write.run(writes.prune, ended_before_ms, forget_before_ms, limit)

    async def due(self, partition: int, before_ms: int, limit: int) -> Due:
        """Return what is due in a partition. See `flow.ports.Store`."""
        return await self._read.run(reads.due, partition, before_ms, limit)

    async def active(
        self, partition: int, wake_by_ms: int, after: str, limit: int
    ) -> Sequence[str]:
        """Return ids of executions that have not ended. See `flow.ports.Store`."""
        return await self._read.run(reads.active, partition, wake_by_ms, after, limit)

    async def outbox(self, partition: int, after: int, limit: int) -> Sequence[OutboxRow]:
        """Return what waits to be published. See `flow.ports.Store`."""
        return await self._read.run(reads.outbox, partition, after, limit)

    async def list(self, query: ExecutionQuery) -> Sequence[ExecutionSummary]:
        """Return the executions that match, newest first; of equal times the one inserted last.

        Args:
            query: What to match.

        Raises:
            UnknownExecution: There is no execution `query.before`.
        """
        return await self._read.run(reads.list_executions, query)

    async def history(self, execution: str, after: int, limit: int) -> Sequence[JournalRecord]:
        """Return journal records above a number. See `flow.ports.Store`."""
        return await self._read.run(reads.history, execution, after, limit)

    @property
    def _write(self) -> ConnectionThread:
        if self._read_only:
            reason = "it was opened for reading only"
            raise ConfigurationError(f"the store {self.url}", reason)
        return _opened(self._writer, self.url)

    @property
    def _read(self) -> ConnectionThread:
        return _opened(self._reader, self.url)


def _opened(thread: ConnectionThread | None, url: str) -> ConnectionThread:
    if thread is None:
        raise StoreUnavailable(url, "it is not open")
    return thread


def _reader(path: Path) -> ConnectionThread:
    url = schema.url_of(path)
    return ConnectionThread("flowmq-sqlite-reader", url, partial(schema.open_reader, path))


def _writer(path: Path) -> ConnectionThread:
    lock = FileLock(path)

    def connect() -> sqlite3.Connection:
        schema.prepare_folder(path)
        lock.acquire()
        try:
            return schema.open_writer(path)
        except BaseException:
            lock.release()
            raise

    def disconnect(connection: sqlite3.Connection) -> None:
        # The lock is given back on this thread, so that it never outlives the connection.
        try:
            connection.close()
        finally:
            lock.release()

    return ConnectionThread("flowmq-sqlite-writer", schema.url_of(path), connect, disconnect)
