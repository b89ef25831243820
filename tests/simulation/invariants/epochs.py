"""Epochs: whoever lost a partition writes nothing more into it, and a new owner misses nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flow.ports import Due, Lease, OutboxRow, StoredExecution
from flow.testing.simulation.processes import SimulatedProcess
from tests.simulation.folding import Committed
from tests.simulation.invariants.base import Invariant, Read

__all__ = ["EpochsGrow", "NoRowsOfOldEpochs", "ReadsAreCurrent"]


class EpochsGrow(Invariant):
    """Each lease of a partition has a higher epoch than the one before."""

    name = "epochs grow"

    def acquired(self, process: SimulatedProcess, lease: Lease, before: Lease | None) -> None:
        """Compare a lease with the one before."""
        if before is not None and lease.epoch <= before.epoch:
            epochs = f"epoch {lease.epoch} after {before.epoch}"
            self.broken(f"partition {lease.partition}, for {process.name}: {epochs}")


class NoRowsOfOldEpochs(Invariant):
    """Nothing is written into a partition but under the last lease that was given out for it.

    That goes for each partition of a commit by itself: for records, outbox rows, their deletion,
    wake times, and the deletion of executions.
    """

    name = "rows of an older epoch"

    def committed(self, commit: Committed) -> None:
        """Look at the leases that a commit was written under."""
        leases = {lease.partition: lease for lease in commit.commit.leases}
        for partition, what in self._written(commit):
            lease, present = leases.get(partition), self.model.leases.get(partition)
            if lease is None or present is None:
                self.broken(f"{what} of partition {partition}: {commit.process} has no lease")
            elif (lease.epoch, lease.owner) != (present.epoch, present.owner):
                epochs = f"under epoch {lease.epoch}, and {present.epoch} was given out"
                self.broken(f"{what} of partition {partition} by {commit.process} {epochs}")

    def _written(self, commit: Committed) -> Iterator[tuple[int, str]]:
        for change in commit.changes:
            yield change.execution.partition, f"record {change.write.seq} of {change.id}"
        for row in (*commit.rows, *commit.settled):
            yield row.row.partition, row.about
        for name, _ in commit.commit.wakes:
            execution = self.model.executions.get(name)
            if execution is not None and execution.partition not in commit.lost:
                yield execution.partition, f"the wake time of {name}"


class ReadsAreCurrent(Invariant):
    """Whoever reads sees every row that was committed before, above all a new owner.

    What a store answers is compared with the observer's own fold of all commits so far.
    """

    name = "reads are current"

    def read(self, read: Read) -> None:
        """Compare what was read with the model."""
        match read.method:
            case "load":
                self._loaded(read, read.args[0], read.result)
            case "outbox":
                self._outbox(read, read.result)
            case "due":
                self._due(read, read.result)
            case _:
                pass

    def _loaded(self, read: Read, names: Sequence[str], found: Mapping[str, Any]) -> None:
        for name in names:
            stored, known = found.get(name), self.model.executions.get(name)
            if not isinstance(stored, StoredExecution):
                if known is not None:
                    self.broken(f"{read.process.name} loaded {name}, which has {known.seq} records")
            elif known is None:
                self.broken(f"{read.process.name} loaded {name}, which nobody has committed")
            elif list(stored.records) != known.records[known.snapshot - 1 :]:
                seqs = f"up to record {stored.seq}, and there are {known.seq}"
                self.broken(f"{read.process.name} loaded {name} {seqs}")

    def _outbox(self, read: Read, rows: Sequence[OutboxRow]) -> None:
        partition, after, limit = read.args
        numbers = sorted(
            number for where, number in self.model.outbox if where == partition and number > after
        )
        if [row.number for row in rows] != numbers[:limit]:
            found = f"{len(rows)} rows of partition {partition}, and there are {len(numbers)}"
            self.broken(f"{read.process.name} found {found}")

    def _due(self, read: Read, due: Due) -> None:
        partition, before_ms, limit = read.args
        if len(due.executions) >= limit:
            return
        waiting = [
            name
            for name, each in self.model.executions.items()
            if each.partition == partition
            and each.wake_ms is not None
            and each.wake_ms <= before_ms
        ]
        if sorted(waiting) != sorted(due.executions):
            found = f"{sorted(due.executions)} due in partition {partition}, and not {waiting}"
            self.broken(f"{read.process.name} found {found}")
