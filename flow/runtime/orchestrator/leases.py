"""Leases: the partitions of one process, and how far it may act upon each of them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import count
from math import inf
from typing import Final

from flow.ports import Clock, Lease

__all__ = ["Leases"]

NUMBERS: Final = 1 << 32
"""How many outbox rows of a partition may be numbered under one lease."""


class Leases:
    """The leases that a process holds.

    A partition is *held* while its lease stands for long enough to act upon it. It is *open* once
    it was recovered: then, and not before, its executions are decided about.

    Args:
        clock: The time.

    Attributes:
        leaving: Partitions that are being handed over.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin without a lease."""
        self.leaving: set[int] = set()
        self._clock = clock
        self._present: dict[int, Lease] = {}
        self._until: dict[int, float] = {}
        self._open: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._closings: Counter[int] = Counter()
        self._terms = count(1)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._present)

    @property
    def present(self) -> Mapping[int, Lease]:
        """The leases by partition, in the order in which they were taken."""
        return self._present

    def has(self, lease: Lease) -> bool:
        """Return whether a lease is the present one of its partition.

        Args:
            lease: The lease.
        """
        present = self._present.get(lease.partition)
        return present is not None and present.epoch == lease.epoch

    def holds(self, partition: int) -> bool:
        """Return whether a partition is ours for long enough to act upon it.

        Args:
            partition: Which.
        """
        return self._clock.monotonic() < self._until.get(partition, -inf)

    def is_open(self, partition: int) -> bool:
        """Return whether a partition is ours, and was recovered.

        Args:
            partition: Which.
        """
        return partition in self._open and self.holds(partition)

    @property
    def all_open(self) -> bool:
        """Whether everything that is ours was recovered."""
        return self._open.keys() == self._present.keys()

    def term(self, partition: int) -> int:
        """Return a number that is another one each time that a partition is opened; 0 if it is not.

        Args:
            partition: Which.
        """
        return self._open.get(partition, 0)

    @property
    def first_end(self) -> float:
        """When the first of them may be acted upon no longer (monotonic); infinite for never."""
        return min(self._until.values(), default=inf)

    def ended(self) -> list[int]:
        """Return the partitions that may be acted upon no longer."""
        return [each for each in self._present if not self.holds(each)]

    def put(self, lease: Lease, until: float) -> None:
        """Keep a lease that was taken. Its partition has to be recovered.

        Args:
            lease: The lease.
            until: How long it may be acted upon (monotonic).
        """
        self._present[lease.partition] = lease
        self._until[lease.partition] = until
        # Each owner begins behind all numbers of those before it. So what is settled too late,
        # under a former lease, is never a row of somebody else.
        self.numbered(lease.partition, lease.epoch * NUMBERS)

    def extend(self, leases: Iterable[Lease], until: float) -> None:
        """Act upon leases for longer, if they are the present ones still.

        One that has run out stays so: what was to be done meanwhile was let go.

        Args:
            leases: Which.
            until: How long (monotonic).
        """
        for lease in leases:
            if self.has(lease) and self.holds(lease.partition):
                self._until[lease.partition] = until

    def note(self, lease: Lease, incarnation: str) -> None:
        """Keep in mind to which incarnation of the broker everything of a partition was sent.

        Args:
            lease: The lease of the partition; a former one is passed over.
            incarnation: The incarnation.
        """
        if self.has(lease):
            self._present[lease.partition] = replace(lease, incarnation=incarnation)

    def open(self, partition: int) -> None:
        """Decide about a partition from now on: it was recovered.

        Args:
            partition: Which.
        """
        self._open[partition] = next(self._terms)

    def close(self, partitions: Iterable[int]) -> None:
        """Decide about partitions no more, until they are recovered again.

        Args:
            partitions: Which.
        """
        for partition in partitions:
            self._open.pop(partition, None)
            self._closings[partition] += 1

    def closings(self, partition: int) -> int:
        """Return how often a partition was closed, whether it was open or not.

        What was read of it before is forgotten with that, so that a recovery has to begin anew.

        Args:
            partition: Which.
        """
        return self._closings[partition]

    def next_number(self, partition: int) -> int:
        """Return the next number of an outbox row.

        Args:
            partition: The row's partition.
        """
        number = self._numbers.get(partition, 0) + 1
        self._numbers[partition] = number
        return number

    def numbered(self, partition: int, number: int) -> None:
        """Note that an outbox row of this number is there already.

        Args:
            partition: The row's partition.
            number: Its number.
        """
        self._numbers[partition] = max(number, self._numbers.get(partition, 0))

    def drop(self, partitions: Collection[int]) -> None:
        """Forget the leases of partitions.

        Args:
            partitions: Which.
        """
        self.close(partitions)
        for partition in partitions:
            self._present.pop(partition, None)
            self._until.pop(partition, None)
            self.leaving.discard(partition)
