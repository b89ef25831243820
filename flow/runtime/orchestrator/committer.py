"""The committer: one loop that writes batches, one transaction at a time.

While a transaction is in flight, everything that arrives is decided and gathered into the next
batch. There is no waiting for a batch to fill: whoever comes while the store is free is written
at once, and under load batches grow by themselves.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from flow.clock import HybridClock
from flow.errors import FlowError, InvalidInput, StoreUnavailable
from flow.ports import Clock, Lease, Store
from flow.runtime.orchestrator.batch import Batch, Sealed
from flow.runtime.orchestrator.leases import Leases
from flow.runtime.trouble import Trouble

__all__ = ["Committer", "CommitterHost"]

_log = logging.getLogger("flow.committer")

FLUSH_AFTER_S = 1.0
"""When nothing else is written, settled outbox rows are deleted after so many seconds."""


class CommitterHost(Protocol):
    """What the committer needs of the orchestrator."""

    def committed(self, sealed: Sealed, lost: Collection[int]) -> None:
        """Carry out the commands of a batch that is durable, but for partitions that are lost."""
        ...

    def refused(self, leases: Sequence[Lease], partitions: Collection[int]) -> None:
        """Forget the partitions of leases that somebody else has taken."""
        ...

    def failed(self, batch: Batch, *, again: bool) -> None:
        """Forget what a failed batch has decided, and take all leases again if need be."""
        ...

    def poisoned(self, batch: Batch, error: FlowError) -> None:
        """Find out what in a batch the store cannot hold; nothing of it was written."""
        ...


class Committer:
    """Writes batches, one at a time.

    Args:
        store: Where to.
        host: The orchestrator.
        clock: The time.
        leases: What it writes under.
        trouble: Told of how it goes.
    """

    def __init__(
        self,
        store: Store,
        host: CommitterHost,
        clock: Clock,
        leases: Leases,
        trouble: Trouble,
    ) -> None:
        """Begin with an empty batch."""
        self._leases = leases
        self._trouble = trouble
        self.batch = Batch()
        self._store = store
        self._host = host
        self._clock = clock
        self._stamps = HybridClock()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._flush_set = False

    def notify(self) -> None:
        """Write the present batch as soon as the store is free."""
        if self.batch:
            self._idle.clear()
            self._wake.set()

    def settle(self, partition: int, number: int) -> None:
        """Note that an outbox row has done its work; it is deleted along with the next commit.

        Args:
            partition: The row's partition.
            number: The row's number.
        """
        self.batch.settled.append((partition, number))
        if not self._flush_set:
            self._flush_set = True
            self._clock.call_at(self._clock.monotonic() + FLUSH_AFTER_S, self._flush)

    def witness(self, stamp: str) -> None:
        """Make all records to come later than one that somebody else may have written.

        Args:
            stamp: The stamp of that record.
        """
        self._stamps.witness(stamp)

    async def drained(self) -> None:
        """Wait until everything that was gathered is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write batches until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.batch:
                batch, self.batch = self.batch, Batch()
                await self._write(batch)
            self._idle.set()

    def _flush(self) -> None:
        self._flush_set = False
        self.notify()

    async def _write(self, batch: Batch) -> None:
        if not batch.writes:
            batch.release()
            return
        leases, now = self._leases, self._clock.now_ms()
        stamp = self._stamps.stamp(now)
        try:
            sealed = batch.seal(leases.present, now, stamp, leases.next_number)
            result = await self._store.commit(sealed.commit)
        except StoreUnavailable as error:
            _log.debug("a commit failed, and its outcome is not known: %s", error)
            self._trouble.note(error)
            self._host.failed(batch, again=True)
            return
        except InvalidInput as error:
            self._host.poisoned(batch, error)
            return
        self._trouble.note(None)
        if result.lost:
            self._host.refused(sealed.commit.leases, result.lost)
        if result.conflicts:
            _log.warning("a commit was refused: %s", result)
            self._host.failed(batch, again=True)
            return
        batch.drop(result.lost)
        batch.release()
        self._host.committed(sealed, result.lost)
