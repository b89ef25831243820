"""The lifeline: holds the leases of partitions, for as long as the store says so.

A store that keeps every other process out needs no renewals: its leases are taken once. With any
other the lifeline renews in time, takes what is free, and gives up at once what it has lost.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from flow.clock import sleep
from flow.errors import StoreUnavailable
from flow.ports import Clock, Lease, Store

__all__ = ["Lifeline"]

_log = logging.getLogger("flow.lifeline")

LEASE_MS = 15_000
RENEW_S = 5.0
FOREVER_MS = 1_000 * 365 * 86_400_000


class Lifeline:
    """Holds the leases of one process.

    Args:
        store: Who grants them.
        clock: The time.
        owner: Who holds them; unique for each start of a process.
        partitions: How many there are.
        changed: Called with the partitions that were taken and those that were lost.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owner: str,
        partitions: int,
        changed: Callable[[Sequence[int], Sequence[int]], None],
    ) -> None:
        """Begin without a lease."""
        self.leases: dict[int, Lease] = {}
        self._store = store
        self._clock = clock
        self._owner = owner
        self._partitions = partitions
        self._changed = changed

    @property
    def _ttl_ms(self) -> int:
        return FOREVER_MS if self._store.exclusive else LEASE_MS

    async def acquire(self) -> None:
        """Take every partition that is free."""
        before = set(self.leases)
        try:
            for partition in range(self._partitions):
                if partition not in self.leases:
                    await self._take(partition)
        finally:
            # Those that were taken before the store failed are held all the same.
            taken = [partition for partition in self.leases if partition not in before]
            if taken:
                self._changed(taken, ())

    async def take_again(self) -> None:
        """Take the partitions that are held once more, with a new epoch.

        After it nothing that was sent to the store under the old epoch can still be written.
        """
        for partition in list(self.leases):
            if not await self._take(partition):
                self.leases.pop(partition, None)
                self._changed((), (partition,))

    async def _take(self, partition: int) -> bool:
        lease = await self._store.acquire(partition, self._owner, self._ttl_ms)
        if lease is not None:
            self.leases[partition] = lease
        return lease is not None

    def drop(self, partitions: Collection[int]) -> None:
        """Forget leases that somebody else has taken; they are acquired again once they are free.

        Args:
            partitions: Which.
        """
        self.leases = {name: at for name, at in self.leases.items() if name not in partitions}

    async def run(self) -> None:
        """Renew the leases until cancelled; return at once if they need no renewal."""
        if self._store.exclusive and len(self.leases) == self._partitions:
            return
        while True:
            await sleep(self._clock, RENEW_S)
            try:
                await self._renew()
                await self.acquire()
            except StoreUnavailable as error:
                _log.warning("the leases could not be renewed: %s", error)

    async def release(self) -> None:
        """Give all leases back."""
        leases, self.leases = tuple(self.leases.values()), {}
        await self._store.release(leases)

    async def _renew(self) -> None:
        renewal = await self._store.renew(tuple(self.leases.values()), self._ttl_ms)
        lost = [partition for partition in self.leases if partition not in renewal.held]
        for partition in lost:
            del self.leases[partition]
        if lost:
            _log.warning("the leases of partitions %s are lost", lost)
            self._changed((), lost)
