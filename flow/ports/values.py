"""What goes into a store and comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from flow.status import Status


@dataclass(frozen=True, slots=True)
class Namespace:
    """What is fixed when a namespace is created: its name and how many partitions it has."""

    name: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a partition. Safety rests on the epoch alone.

    Args:
        partition: Which.
        owner: Who holds it: unique for each start of a process.
        epoch: Grows with every change of the owner.
        incarnation: The broker's incarnation that the partition's attempts were last sent to.
            If it is not the present one, all that are out have to be sent again.
    """

    partition: int
    owner: str
    epoch: int
    incarnation: str = ""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The store's answer to a renewal.

    Args:
        now_ms: Its clock.
        held: The partitions whose leases still stand.
        members: The owners that have renewed within their `ttl_ms`, in order of their names;
            whoever asks is among them.
        revision: Changes whenever definitions, steps of the catalogue or pauses change, so that
            whoever keeps a copy knows when it is an old one.
        free: The partitions that nobody else holds: only these need to be asked for.
    """

    now_ms: int
    held: frozenset[int]
    members: tuple[str, ...] = ()
    revision: int = 0
    free: frozenset[int] = frozenset()


_NO_LABELS: Final[Mapping[str, str]] = {}


# These three are made for every execution of a commit: a named tuple costs a quarter of what a
# frozen dataclass costs.
class ExecutionSummary(NamedTuple):
    """The row of an execution: what lists show and what is searched by.

    Args:
        id: The execution's id.
        partition: `crc32(id) % partitions`.
        workflow: The workflow's id.
        definition: The hash of the definition that it runs on.
        status: Where it stands.
        created_ms: When the start was accepted.
        updated_ms: When it last changed.
        ended_ms: When it ended, or None.
        wake_ms: A lower bound of the next time that something is due, or None.
        incident: What a person has to look at, or an empty string.
        labels: For finding it again.
        fingerprint: A hash of what it was started with (workflow, input, options): how a second
            start with the same id is told from another one after the execution was pruned.
    """

    id: str
    partition: int
    workflow: str
    definition: str
    status: Status
    created_ms: int
    updated_ms: int
    ended_ms: int | None = None
    wake_ms: int | None = None
    incident: str = ""
    labels: Mapping[str, str] = _NO_LABELS
    fingerprint: str = ""


class ExecutionWrite(NamedTuple):
    """What one commit writes for one execution.

    Args:
        summary: The row as it will be. A row of a new execution is inserted.
        seq: The number of the record, 1 for the first. A record of this number that is already
            there means that somebody else owns the execution.
        record: The journal record (JSON).
        is_snapshot: Whether the record holds the whole tree, so that loading can start at it.
    """

    summary: ExecutionSummary
    seq: int
    record: bytes
    is_snapshot: bool


class OutboxRow(NamedTuple):
    """Something that has to be published after its commit, and until it was.

    Args:
        partition: The partition that it belongs to.
        number: Grows within the partition; the key together with it.
        execution: The execution that it is about.
        command: What to publish (JSON): a reference into the tree, or a whole message.
    """

    partition: int
    number: int
    execution: str
    command: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """One group commit: all of it happens, or (for each partition) nothing of it.

    Args:
        leases: The leases that it is written under. Rows of a partition whose lease is not
            current any more are left out.
        writes: At most one for each execution.
        outbox: Rows to add.
        settled: `(partition, number)` of outbox rows to delete.
        deletes: Ids of ended executions to delete with their journals.
        wakes: Executions that nothing else is written for, with their new `wake_ms`.
    """

    leases: tuple[Lease, ...]
    writes: tuple[ExecutionWrite, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    settled: tuple[tuple[int, int], ...] = ()
    deletes: tuple[str, ...] = ()
    wakes: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit left out: nothing, in ordinary times.

    Args:
        lost: Partitions whose lease is not current; none of their rows were written.
        conflicts: Executions whose `(id, seq)` was already there or is not the next one, and
            those that a tombstone stands for. If there is any, then nothing at all was written.
    """

    lost: frozenset[int] = frozenset()
    conflicts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """An execution as loaded: its row, and its records from the last snapshot on.

    Args:
        summary: The row.
        seq: The number of the last record.
        records: The records, oldest first; the first is a snapshot.
    """

    summary: ExecutionSummary
    seq: int
    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is kept of an execution that was pruned, so that it is not started once more.

    Args:
        id: Its id.
        workflow: Its workflow's id.
        status: How it ended.
        ended_ms: When it ended.
        fingerprint: The hash of what it was started with.
    """

    id: str
    workflow: str
    status: Status
    ended_ms: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a call of `prune` has done.

    Args:
        executions: How many executions became tombstones.
        tombstones: How many tombstones were forgotten.
        has_more: Whether there is more to prune.
    """

    executions: int
    tombstones: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record of an execution's history."""

    seq: int
    record: bytes
    is_snapshot: bool


@dataclass(frozen=True, slots=True)
class Due:
    """What is due in a partition.

    Args:
        executions: Ids, the most overdue first.
        next_ms: When the next one after these is due, or None.
    """

    executions: tuple[str, ...]
    next_ms: int | None


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """Which executions to list, newest first.

    Args:
        statuses: Any of these; empty means all.
        workflow: Of this workflow; empty means all.
        labels: With all of these labels.
        incidents: Only those with an incident.
        before: Only those that were created before the execution of this id (the last one of
            the page before); empty means from the newest.
        limit: How many at most.
        partition: Only of this partition; None means of all.
    """

    statuses: tuple[Status, ...] = ()
    workflow: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    incidents: bool = False
    before: str = ""
    limit: int = 100
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of the catalogue, as a service announced it.

    Args:
        id: The step's id.
        service: The service that announced it.
        hash: The hash of its body.
        body: The declaration (canonical JSON): endpoint, requires, policy, schemas.
        announced_ms: When this hash was first announced.
    """

    id: str
    service: str
    hash: str
    body: bytes
    announced_ms: int


@dataclass(frozen=True, slots=True)
class DefinitionRecord:
    """A stored definition of a workflow.

    Args:
        id: The workflow's id.
        hash: The hash of its content.
        version: The version that its author gave it, or an empty string.
        body: The definition (canonical JSON).
        saved_ms: When it was saved.
    """

    id: str
    hash: str
    version: str
    body: bytes
    saved_ms: int
