"""The store port."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from flow.ports.health import Finding
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
    Pruned,
    Renewal,
    StepRecord,
    StoredExecution,
    Tombstone,
)


class Leases(Protocol):
    """Who may write to which partition, and who else is there."""

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition whose lease is free, has run out or is ours, with a new epoch.

        It commits alone. What is read after it sees every commit of the owner before, however
        late that one came.

        Returns:
            The lease, or None while somebody else holds it.
        """
        ...

    async def renew(self, owner: str, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend leases by *ttl_ms* from now on, by the store's clock; be a member for as long.

        Args:
            owner: Who asks. It counts as a member even without a lease.
            leases: What it holds.
            ttl_ms: For how long.
        """
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back, so that another can take them at once."""
        ...

    async def leave(self, owner: str) -> None:
        """Be a member no more."""
        ...

    async def note_incarnation(self, leases: Sequence[Lease], incarnation: str) -> None:
        """Note that everything of these partitions was sent to an incarnation of the broker.

        Leases that do not stand any more are passed over.
        """
        ...


class Catalogue(Protocol):
    """What belongs to the namespace, and not to a partition."""

    async def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition and make it the current one of its id. Saving again is harmless."""
        ...

    async def definitions(self, id: str = "", hash: str = "") -> Sequence[DefinitionRecord]:
        """Return definitions: the one of *hash*; else the current one of *id*; else all current."""
        ...

    async def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition. Versions that executions run on are kept."""
        ...

    async def save_step(self, record: StepRecord) -> StepRecord:
        """Keep a step of the catalogue, unless another service has announced another one.

        Returns:
            The record that stands: *record*, or the one of the other service. The same hash from
            another service is no conflict, and the first one stands.
        """
        ...

    async def steps(self) -> Sequence[StepRecord]:
        """Return the steps of the catalogue, by id."""
        ...

    async def remove_step(self, id: str) -> bool:
        """Forget a step of the catalogue."""
        ...

    async def pause(self, workflow: str, command: str) -> None:
        """Note that a workflow is paused, or that it is not.

        Args:
            workflow: The workflow's id.
            command: The id of the command that pauses it; empty to end the pause.
        """
        ...

    async def pauses(self) -> Mapping[str, str]:
        """Return the paused workflows with the ids of the commands that paused them."""
        ...

    async def revision(self) -> int:
        """Return the number that changes with definitions, steps and pauses; see Renewal."""
        ...

    async def incarnate(self, expected: str, new: str) -> str:
        """Replace the broker's incarnation id if it is *expected*; return the one that stands."""
        ...


@runtime_checkable
class Store(Leases, Catalogue, Protocol):
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

    async def examine(self) -> Sequence[Finding]:
        """Return what a person should know: version, durability, permissions, clock."""
        ...

    async def commit(self, commit: Commit) -> CommitResult:
        """Write everything in one transaction, durably.

        Raises:
            StoreUnavailable: It is not known whether it was written.
            InvalidInput: A value is one that the store cannot hold; nothing was written.
        """
        ...

    async def load(self, executions: Sequence[str]) -> Mapping[str, StoredExecution | Tombstone]:
        """Load executions; ids that do not exist are left out."""
        ...

    async def prune(self, ended_before_ms: int, forget_before_ms: int, limit: int) -> Pruned:
        """Delete old executions with their journals, and keep tombstones for a while.

        Args:
            ended_before_ms: Executions that ended before this time become tombstones.
            forget_before_ms: Tombstones of executions that ended before this time are forgotten.
            limit: How many of each at most, so that one call is short.

        Executions that still have something in the outbox are passed over, and so are those that
        somebody is writing at this moment.
        """
        ...

    async def due(self, partition: int, before_ms: int, limit: int) -> Due:
        """Return executions whose `wake_ms` is at or before *before_ms*."""
        ...

    async def active(
        self, partition: int, wake_by_ms: int, after: str, limit: int
    ) -> Sequence[str]:
        """Return ids of executions that have not ended and wake soon, in id order.

        It costs as much as there are that wake by then, however many wait for longer.

        Args:
            partition: Which partition.
            wake_by_ms: They have a `wake_ms`, and it is no later than this.
            after: The id that they come after.
            limit: How many at most.
        """
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
