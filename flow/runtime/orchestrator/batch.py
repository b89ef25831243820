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
from flow.kernel.machine import new_tuple
from flow.kernel.tree import Changes, NodeSnapshot, Output
from flow.ports import (
    Commit,
    Delivery,
    ExecutionSummary,
    ExecutionWrite,
    Lease,
    OutboxRow,
)
from flow.runtime.orchestrator.commands import SENT, Command, text_of
from flow.runtime.orchestrator.live import LiveExecution, row_wake_ms

__all__ = ["Batch", "Sealed", "Touch"]

EntryT = TypeVar("EntryT")

SNAPSHOT_EVERY: Final = 256
"""After so many records comes one that holds the whole tree."""


class Touch:
    """What a batch does to one execution.

    Args:
        live: The execution.
        cause: Why.
        changes: Which nodes changed, and what was asked for.

    Attributes:
        live: The execution.
        causes: Why, one for each decision.
        nodes: Which nodes changed, as they were after each change.
        outputs: What was asked for.
    """

    __slots__ = ("causes", "live", "nodes", "outputs")

    def __init__(self, live: LiveExecution, cause: Cause, changes: Changes) -> None:
        """Begin with one decision, which mostly is all, so that nothing of it is copied."""
        self.live = live
        self.causes: tuple[Cause, ...] = (cause,)
        self.nodes: tuple[NodeSnapshot, ...] = changes.nodes
        self.outputs: tuple[Output, ...] = changes.outputs

    def add(self, cause: Cause, changes: Changes) -> None:
        """Take in one more decision.

        Args:
            cause: Why.
            changes: What came of it.
        """
        self.causes += (cause,)
        self.nodes += changes.nodes
        self.outputs += changes.outputs


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

    def touch(self, live: LiveExecution, cause: Cause, changes: Changes) -> None:
        """Gather what came of a decision; the execution stays in memory until it is written.

        Args:
            live: The execution.
            cause: Why.
            changes: What came of it.
        """
        touch = self.touches.get(live.id)
        if touch is None:
            self.touches[live.id] = Touch(live, cause, changes)
            live.pins += 1
        else:
            touch.add(cause, changes)

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
            for ref, task in touch.outputs:
                if isinstance(task, SENT):
                    partition = live.partition
                    key = (partition, number(partition))
                    command = Command(key, live, ref.path, task, ref.created)
                    commands.append(command)
                    row = (partition, key[1], live.id, text_of(command))
                    rows.append(new_tuple(OutboxRow, row))
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
    live, causes, nodes = touch.live, touch.causes, touch.nodes
    live.seq = seq = live.seq + 1
    is_snapshot = seq % SNAPSHOT_EVERY == 1
    if is_snapshot:
        nodes = live.tree.snapshot()
    elif len(causes) > 1:
        nodes = _latest(nodes)
    text = encode_record(new_tuple(Record, (live.id, seq, stamp, causes, nodes)))
    live.size += len(text)
    live.summary = summary = _summary(live, now_ms)
    return new_tuple(ExecutionWrite, (summary, seq, text, is_snapshot))


def _latest(nodes: tuple[NodeSnapshot, ...]) -> tuple[NodeSnapshot, ...]:
    """Return one entry for each path, where that says the same as all of them."""
    latest: dict[str, NodeSnapshot] = {}
    for node in nodes:
        if node.machine is None:
            return nodes
        latest[node.path] = node
    return tuple(latest.values())


def _summary(live: LiveExecution, now_ms: int) -> ExecutionSummary:
    data, before = live.data, live.summary
    if before is None:
        body = live.input
        workflow, definition, labels = body.workflow, body.definition, body.labels
        print_of_start = fingerprint(workflow, body.body, body.options)
        created_ms = data.started_ms
    else:
        # What it was started with never changes.
        _, _, workflow, definition, _, created_ms, _, _, _, _, labels, print_of_start = before
    values = (
        live.id,
        live.partition,
        workflow,
        definition,
        live.status,
        created_ms,
        now_ms,
        data.ended_ms,
        row_wake_ms(live, now_ms),
        data.incident,
        labels,
        print_of_start,
    )
    return new_tuple(ExecutionSummary, values)
