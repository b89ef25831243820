"""The observer's own idea of what the store holds: every commit that was applied, folded by hand.

Nothing of the kernel is used, so that a mistake there is seen: of a record the last write to each
path wins, and a deletion takes all below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from flow import codec
from flow.ports import Commit, ExecutionSummary, ExecutionWrite, Lease, OutboxRow
from flow.workflow import WorkflowDefinition

__all__ = [
    "ENDED",
    "Cause",
    "Change",
    "Committed",
    "Model",
    "Node",
    "Recorded",
    "Row",
    "fold",
    "walk_steps",
]

ENDED: Final = frozenset({"SUCCESS", "FAILURE", "ABORTED", "COMPENSATED", "SKIPPED"})
"""The states in which nothing more happens by itself."""


class Node(NamedTuple):
    """A node as a record has it.

    Args:
        path: Where it is; an empty string for the root.
        kind: Its machine type, without the version.
        state: Its state.
        data: Its data, without what is at its default.
        created: The transition at which it was made.
        updated: The transition at which it last changed.
    """

    path: str
    kind: str
    state: str
    data: Mapping[str, Any]
    created: int
    updated: int

    @property
    def attempt(self) -> int:
        """The number of a step's last attempt."""
        number: int = self.data.get("attempt", 0)
        return number


class Cause(NamedTuple):
    """Why a record was written; see `flow.codec.records`."""

    type: str
    id: str
    actor: str
    reason: str


@dataclass(slots=True, eq=False)
class Recorded:
    """An execution as its journal has it.

    Args:
        id: Its id.
        partition: Its partition.
        summary: Its row.

    Attributes:
        seq: The number of the last record.
        stamp: The stamp of the last record.
        number: How many transitions the tree has made.
        nodes: The nodes, by path.
        records: All records.
        snapshot: The number of the last record that holds the whole tree.
        statuses: Every status that a record left it in.
        attempts: The highest attempt that was ever committed, by path.
        permits: The permits that were ever committed, by path.
        recreated: Paths whose node was deleted once, so that another one may be there now.
        wake_ms: When it is to be woken, as the row says.
    """

    id: str
    partition: int
    summary: ExecutionSummary
    seq: int = 0
    stamp: str = ""
    number: int = 0
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    records: list[bytes] = field(default_factory=list[bytes])
    snapshot: int = 1
    statuses: dict[str, None] = field(default_factory=dict[str, None])
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    permits: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    recreated: set[str] = field(default_factory=set[str])
    wake_ms: int | None = None

    @property
    def root(self) -> Node:
        """The root."""
        return self.nodes[""]


class Row(NamedTuple):
    """An outbox row with its command, decoded, and when it was committed."""

    row: OutboxRow
    task: str
    path: str
    node: int
    attempt: int
    epoch: int
    at_s: float

    @property
    def about(self) -> str:
        """What it is, for people."""
        place = f"row {self.row.number} of partition {self.row.partition}"
        return f"{place}: {self.task} {self.row.execution} {self.path} attempt {self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one commit did to one execution.

    Args:
        execution: The execution as it is now.
        write: What was written.
        causes: Why.
        before: The nodes at the paths that the record names, as they were; None for new ones.
        root: The root as it was, or None.
        gone: Paths that the record deletes.
        stamp_before: The stamp of the record before, or an empty string.
        seq_before: The number of the record before, 0 if the execution is new.
        number: The number that the record itself says it has.
        owner: The execution that the record itself says it is about.
    """

    execution: Recorded
    write: ExecutionWrite
    causes: tuple[Cause, ...]
    before: Mapping[str, Node | None]
    root: Node | None
    gone: tuple[str, ...]
    stamp_before: str
    seq_before: int
    number: int
    owner: str

    @property
    def id(self) -> str:
        """The execution's id."""
        return self.execution.id

    def has_cause(self, *types: str) -> bool:
        """Return whether any of these events is behind it.

        Args:
            types: Names of events.
        """
        return any(cause.type in types for cause in self.causes)

    def steps(self) -> Iterator[tuple[Node | None, Node]]:
        """Go through the steps that it wrote, each before and after."""
        nodes = self.execution.nodes
        for path, before in self.before.items():
            after = nodes.get(path)
            if after is not None and after.kind == "step":
                yield before, after


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that the store has applied.

    Args:
        at_s: When.
        process: The process that asked for it.
        commit: What it asked for.
        lost: The partitions that were left out, as the store says.
        changes: What it did to executions.
        rows: The outbox rows that it added.
        settled: The outbox rows that it deleted.
    """

    at_s: float
    process: str
    commit: Commit
    lost: frozenset[int]
    changes: tuple[Change, ...]
    rows: tuple[Row, ...]
    settled: tuple[Row, ...]


def fold(nodes: dict[str, Node], entries: Iterable[Sequence[Any]]) -> list[str]:
    """Apply the entries of a record, in their order.

    Args:
        nodes: The tree; it is changed.
        entries: See `flow.codec.records`.

    Returns:
        The paths that were deleted.
    """
    gone: list[str] = []
    for entry in entries:
        path = entry[0]
        if entry[1] is None:
            below = f"{path}/" if path else ""
            deleted = [each for each in nodes if each == path or each.startswith(below)]
            for each in deleted:
                del nodes[each]
            gone += deleted
            continue
        kind = entry[1].rpartition("@")[0]
        nodes[path] = Node(path, kind, entry[2], entry[3], entry[4], entry[5])
    return gone


def walk_steps(nodes: Mapping[str, Node]) -> Iterator[Node]:
    """Go through the steps of a tree, those of sub-workflows and hooks too.

    Args:
        nodes: The tree.
    """
    return (node for node in nodes.values() if node.kind == "step")


class Model:
    """What the store holds, as far as an observer of all commits can tell.

    Attributes:
        executions: The executions by id.
        outbox: The outbox rows by partition and number.
        leases: The last lease that was given out for each partition.
        definitions: The definitions by their hashes.
        deleted: Ids of executions that were deleted or pruned.
        last_numbers: The highest number of an outbox row, by partition.
    """

    def __init__(self) -> None:
        """Begin with an empty store."""
        self.executions: dict[str, Recorded] = {}
        self.outbox: dict[tuple[int, int], Row] = {}
        self.leases: dict[int, Lease] = {}
        self.definitions: dict[str, WorkflowDefinition] = {}
        self.deleted: set[str] = set()
        self.last_numbers: dict[int, int] = {}

    def apply(self, at_s: float, process: str, commit: Commit, lost: frozenset[int]) -> Committed:
        """Take a commit into account that the store has applied.

        Args:
            at_s: When.
            process: Who asked for it.
            commit: What it asked for.
            lost: The partitions that were left out.

        Returns:
            What it did.
        """
        written = [each for each in commit.writes if each.summary.partition not in lost]
        changes = tuple(self._write(each) for each in written)
        rows = tuple(_decode(row, at_s) for row in commit.outbox if row.partition not in lost)
        for row in rows:
            self.outbox[row.row.partition, row.row.number] = row
        found = (self.outbox.pop(key, None) for key in commit.settled if key[0] not in lost)
        settled = tuple(row for row in found if row is not None)
        for name, wake_ms in commit.wakes:
            known = self.executions.get(name)
            if known is not None and known.partition not in lost:
                known.wake_ms = wake_ms
        for name in commit.deletes:
            if name in self.executions and self.executions[name].partition not in lost:
                self.forget(name)
        return Committed(at_s, process, commit, lost, changes, rows, settled)

    def forget(self, execution: str) -> None:
        """Take note that an execution was deleted or pruned.

        Args:
            execution: Its id.
        """
        self.executions.pop(execution, None)
        self.deleted.add(execution)
        gone = [key for key, row in self.outbox.items() if row.row.execution == execution]
        for key in gone:
            del self.outbox[key]

    def _write(self, write: ExecutionWrite) -> Change:
        summary, document = write.summary, codec.loads(write.record)
        known = self.executions.get(summary.id)
        if known is None:
            known = Recorded(summary.id, summary.partition, summary)
            self.executions[summary.id] = known
        root, stamp, seq = known.nodes.get(""), known.stamp, known.seq
        entries: list[Sequence[Any]] = document["nodes"]
        before = {entry[0]: known.nodes.get(entry[0]) for entry in entries if entry[1] is not None}
        if write.is_snapshot:
            # The whole tree: what it does not name is not there any more.
            present, known.snapshot = known.nodes, write.seq
            known.nodes = {}
            fold(known.nodes, entries)
            gone = [path for path in present if path not in known.nodes]
        else:
            gone = fold(known.nodes, entries)
        known.recreated.update(gone)
        known.recreated.update(_made_anew(known.nodes, before))
        known.seq, known.stamp, known.summary = write.seq, document["hlc"], summary
        known.wake_ms = summary.wake_ms
        known.records.append(write.record)
        known.number = max(known.number, *(entry[-1] for entry in entries))
        _note(known, before)
        causes = tuple(Cause(*cause) for cause in document["causes"])
        return Change(
            execution=known,
            write=write,
            causes=causes,
            before=before,
            root=root,
            gone=tuple(gone),
            stamp_before=stamp,
            seq_before=seq,
            number=document["seq"],
            owner=document["execution"],
        )


def _made_anew(nodes: Mapping[str, Node], before: Mapping[str, Node | None]) -> Iterator[str]:
    """Go through the paths whose nodes were deleted and made again within one record."""
    for path, node in before.items():
        if node is not None and path in nodes and nodes[path].created != node.created:
            yield path


def _note(known: Recorded, paths: Iterable[str]) -> None:
    known.statuses[known.nodes[""].state] = None
    for path in paths:
        node = known.nodes.get(path)
        if node is None or node.kind != "step":
            continue
        known.attempts[path] = max(known.attempts.get(path, 0), node.attempt)
        if permit := node.data.get("permit"):
            known.permits.setdefault(path, {})[permit] = None


def _decode(row: OutboxRow, at_s: float) -> Row:
    command = codec.loads(row.command)
    number, epoch = command.get("attempt", 0), command.get("epoch", 0)
    return Row(row, command["task"], command["path"], command["node"], number, epoch, at_s)
