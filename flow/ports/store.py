"""The store port."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from flow.ports.values import (
    Commit,
    CommitResult,
    DefinitionRecord,
    Due,
    ExecutionQuery,
    ExecutionSummary,
    JournalRecord,
    Lease,
    Namespace,
    OutboxRow,
    Renewal,
    StoredExecution,
)


@runtime_checkable
class Store(Protocol):
    """Where the truth is: journals, rows, the outbox, leases and definitions.

    Several tasks may call at the same time, but only one `commit` is in flight.
    """

    @property
    def url(self) -> str:
        """Where the store is, without secrets."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether opening it keeps every other process out, so that leases need no renewal."""
        ...

    async def open(self, namespace: Namespace) -> Namespace:
        """Connect, migrate, and create the namespace unless it exists.

        Returns:
            The namespace as stored; its number of partitions may differ from the wish.

        Raises:
            StoreUnavailable: It cannot be reached or is damaged.
            StoreLocked: Another process has it.
            UnsupportedVersion: A newer flowmq has migrated it.
            ConfigurationError: It belongs to another namespace.
        """
        ...

    async def close(self) -> None:
        """Disconnect. May be called twice."""
        ...

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition whose lease is free or has run out, with a new epoch.

        Returns:
            The lease, or None while somebody else holds it.
        """
        ...

    async def renew(self, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend leases by *ttl_ms* from now on, by the store's clock."""
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back, so that another can take them at once."""
        ...

    async def commit(self, commit: Commit) -> CommitResult:
        """Write everything in one transaction, durably.

        Raises:
            StoreUnavailable: It is not known whether it was written.
        """
        ...

    async def load(self, executions: Sequence[str]) -> Mapping[str, StoredExecution]:
        """Load executions; ids that do not exist are left out."""
        ...

    async def due(self, partition: int, before_ms: int, limit: int) -> Due:
        """Return executions whose `wake_ms` is at or before *before_ms*."""
        ...

    async def active(self, partition: int, after: str, limit: int) -> Sequence[str]:
        """Return ids of executions that have not ended, in id order, after the id *after*."""
        ...

    async def outbox(self, partition: int, after: int, limit: int) -> Sequence[OutboxRow]:
        """Return outbox rows with numbers above *after*, in number order."""
        ...

    async def list(self, query: ExecutionQuery) -> Sequence[ExecutionSummary]:
        """Return the executions that match, newest first."""
        ...

    async def history(self, execution: str, after: int, limit: int) -> Sequence[JournalRecord]:
        """Return journal records with numbers above *after*, oldest first."""
        ...

    async def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition and make it the current one of its id. Saving again is harmless."""
        ...

    async def definitions(self, id: str = "", hash: str = "") -> Sequence[DefinitionRecord]:
        """Return definitions: the one of *hash*; else the current one of *id*; else all current."""
        ...

    async def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition. Versions that executions run on are kept."""
        ...

    async def incarnate(self, expected: str, new: str) -> str:
        """Replace the broker's incarnation id if it is *expected*; return the one that stands."""
        ...
