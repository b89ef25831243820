"""What one group commit gathers: changes of many executions, and what waits for the commit.

Decisions are made against live trees and gathered here. When the committer is free the batch is
sealed into a `Commit`; after it the deliveries are acknowledged, the answers are sent, and the
commands are carried out. If the commit fails, nothing of that happens.

Everything in a batch says which partition it is about. If partitions are lost, then what is about
them is left out, and so is what may be about any partition: its messages come again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from flow.codec import Cause, Record, encode_record, fingerprint
from flow.codec.json import dumps_finite
from flow.kernel.tree import NodeSnapshot, Output
from flow.ports import (
    Commit,
    Delivery,
    ExecutionSummary,
    ExecutionWrite,
    Lease,
    OutboxRow,
)
from flow.runtime.orchestrator.commands import SENT, Command, document_of
from flow.runtime.orchestrator.live import LiveExecution, row_wake_ms

__all__ = ["Batch", "Sealed", "Touch"]

EntryT = TypeVar("EntryT")

SNAPSHOT_EVERY: Final = 256
"""After so many records comes one that holds the whole tree."""


class Touch:
    """What a batch does to one execution.

    Args:
        live: The execution.

    Attributes:
        live: The execution.
        causes: Why.
        nodes: Which nodes changed, as they were after each change.
        outputs: What was asked for.
    """

    # No dataclass: the lists that it makes of `list[Cause]` cost ten times as much as these.
    __slots__ = ("causes", "live", "nodes", "outputs")

    def __init__(self, live: LiveExecution) -> None:
        """Begin with nothing."""
        self.live = live
        self.causes: list[Cause] = []
        self.nodes: list[NodeSnapshot] = []
        self.outputs: list[Output] = []


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch that is on its way into the store.

    Args:
        commit: What is written.
        commands: What its outbox rows stand for.
    """

    commit: Commit
    commands: tuple[Command, ...]


class Batch:
    """What one group commit gathers.

    Attributes:
        deliveries: What is acknowledged after the commit, each with the partition that it is
            about; None if it may be about any.
        settled: Outbox rows that have done their work.
        deletes: Executions that are deleted, with their partitions.
        wakes: Executions that are written for no other reason, with their partitions and times.
        has_passed_over: Whether a message was passed over: it told nothing new. That is so only if
            its partition is ours still, which a commit shows, even one that writes nothing.
    """

    def __init__(self) -> None:
        """Begin a batch."""
        self.touches: dict[str, Touch] = {}
        self.deliveries: list[tuple[int | None, Delivery]] = []
        self.settled: list[tuple[int, int]] = []
        self.deletes: dict[str, int] = {}
        self.wakes: dict[str, tuple[int, int | None]] = {}
        self.has_passed_over = False
        self._after: list[tuple[int | None, Callable[[], None]]] = []

    def __bool__(self) -> bool:
        """Return whether there is anything to write, or anybody who waits."""
        return bool(
            self.touches
            or self.deliveries
            or self._after
            or self.settled
            or self.deletes
            or self.wakes,
        )

    @property
    def writes(self) -> bool:
        """Whether a commit is needed."""
        return bool(
            self.touches or self.settled or self.deletes or self.wakes or self.has_passed_over
        )

    def touch(self, live: LiveExecution) -> Touch:
        """Return what the batch does to an execution; it stays in memory until it is done."""
        touch = self.touches.get(live.id)
        if touch is None:
            touch = self.touches[live.id] = Touch(live)
            live.pins += 1
        return touch

    def deliver(self, delivery: Delivery, partition: int | None) -> None:
        """Acknowledge a message once the batch is committed.

        Args:
            delivery: The message.
            partition: The partition that it is about; None if it may be about any.
        """
        self.deliveries.append((partition, delivery))

    def after(self, action: Callable[[], None], partition: int | None = None) -> None:
        """Do something once the batch is committed, in order. It must not raise.

        Args:
            action: What to do.
            partition: The partition that it is about; None if it may be about any.
        """
        self._after.append((partition, action))

    def seal(
        self,
        leases: Mapping[int, Lease],
        now_ms: int,
        stamp: str,
        number: Callable[[int], int],
    ) -> Sealed:
        """Turn the batch into a commit.

        Args:
            leases: The leases that are held, by partition.
            now_ms: The present.
            stamp: The hybrid logical clock's stamp for its records.
            number: Gives out the next outbox number of a partition.
        """
        writes: list[ExecutionWrite] = []
        rows: list[OutboxRow] = []
        commands: list[Command] = []
        for touch in self.touches.values():
            live = touch.live
            for output in touch.outputs:
                task = output.task
                if isinstance(task, SENT):
                    key, ref = (live.partition, number(live.partition)), output.ref
                    command = Command(key, live, ref.path, task, ref.created)
                    commands.append(command)
                    rows.append(OutboxRow(*key, live.id, dumps_finite(document_of(command))))
            writes.append(_write(touch, now_ms, stamp))
        commit = Commit(
            leases=self._leases(leases),
            writes=tuple(writes),
            outbox=tuple(rows),
            settled=tuple(self.settled),
            deletes=tuple(self.deletes),
            # What is written knows better when it has to be woken.
            wakes=tuple(
                (name, wake_ms)
                for name, (_, wake_ms) in self.wakes.items()
                if name not in self.touches
            ),
        )
        return Sealed(commit, tuple(commands))

    def _leases(self, leases: Mapping[int, Lease]) -> tuple[Lease, ...]:
        """Return the leases that have to stand: a store checks and locks each that it is given."""
        about: set[int | None] = {touch.live.partition for touch in self.touches.values()}
        for entries in (self.deliveries, self._after, self.settled, self.wakes.values()):
            about.update([partition for partition, _ in entries])
        about.update(self.deletes.values())
        if None in about or len(about) >= len(leases):
            # What may be about any partition holds only if all are ours.
            return tuple(leases.values())
        return tuple([lease for partition, lease in leases.items() if partition in about])

    def drop(self, partitions: Collection[int]) -> None:
        """Leave out what is about partitions that are lost; their messages come again.

        Args:
            partitions: Which are lost.
        """
        if not partitions:
            return
        for _, delivery in _about(self.deliveries, partitions):
            delivery.requeue()
        self.deliveries = _not_about(self.deliveries, partitions)
        self._after = _not_about(self._after, partitions)
        self.settled = [key for key in self.settled if key[0] not in partitions]
        self.deletes = {name: at for name, at in self.deletes.items() if at not in partitions}
        self.wakes = {name: at for name, at in self.wakes.items() if at[0] not in partitions}
        for name, touch in list(self.touches.items()):
            if touch.live.partition in partitions:
                touch.live.pins -= 1
                del self.touches[name]

    def release(self) -> None:
        """Let go of everything that waited for the commit: it is durable."""
        for touch in self.touches.values():
            touch.live.pins -= 1
        for _, delivery in self.deliveries:
            delivery.ack()
        for _, action in self._after:
            action()

    def discard(self) -> None:
        """Give everything back: nothing of it is durable, or nobody knows."""
        for _, delivery in self.deliveries:
            delivery.requeue()


def _about(
    entries: Sequence[tuple[int | None, EntryT]],
    partitions: Collection[int],
) -> list[tuple[int | None, EntryT]]:
    return [entry for entry in entries if entry[0] is None or entry[0] in partitions]


def _not_about(
    entries: Sequence[tuple[int | None, EntryT]],
    partitions: Collection[int],
) -> list[tuple[int | None, EntryT]]:
    return [entry for entry in entries if entry[0] is not None and entry[0] not in partitions]


def _write(touch: Touch, now_ms: int, stamp: str) -> ExecutionWrite:
    live = touch.live
    live.seq += 1
    is_snapshot = live.seq % SNAPSHOT_EVERY == 1
    nodes = live.tree.snapshot() if is_snapshot else _latest(touch.nodes)
    record = Record(live.id, live.seq, stamp, tuple(touch.causes), nodes)
    text = encode_record(record)
    live.size += len(text)
    live.summary = _summary(live, now_ms)
    return ExecutionWrite(live.summary, live.seq, text, is_snapshot)


def _latest(nodes: list[NodeSnapshot]) -> tuple[NodeSnapshot, ...]:
    """Return one entry for each path, where that says the same as all of them."""
    latest: dict[str, NodeSnapshot] = {}
    for node in nodes:
        if node.machine is None:
            return tuple(nodes)
        latest[node.path] = node
    return tuple(latest.values())


def _summary(live: LiveExecution, now_ms: int) -> ExecutionSummary:
    data, body = live.data, live.input
    before = live.summary
    return ExecutionSummary(
        id=live.id,
        partition=live.partition,
        workflow=body.workflow,
        definition=body.definition,
        status=live.status,
        created_ms=data.started_ms if before is None else before.created_ms,
        updated_ms=now_ms,
        ended_ms=data.ended_ms,
        wake_ms=row_wake_ms(live, now_ms),
        incident=data.incident,
        labels=body.labels,
        fingerprint=fingerprint(body.workflow, body.body, body.options)
        if before is None
        else before.fingerprint,
    )
