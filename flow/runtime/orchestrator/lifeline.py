"""The lifeline: holds the leases of partitions, for as long as the store says so.

Theory of operation
-------------------
A store that keeps every other process out needs no renewals: its leases are taken once. With any
other, each orchestrator renews every `RENEW_S` seconds. The answer names all members, so that
everybody knows the same fair shares. Who has less than its share takes what is free; who has more
gives back what it took last, but only

* when the members have changed since it was last settled, or
* when somebody says that it wants partitions and finds none.

So a member that does not take its share costs nothing but a few attempts: what stays free for
`PATIENCE` renewals is taken by whoever comes first, and is given back only if it is wanted.
Whoever looks because others want partitions does not say in turn that it wants some itself: two
who wait for the leases of one that died would keep each other awake until these run out.

Safety rests on the epochs of the leases alone. The times here only keep a process that was paused
or cut off from work that would come to nothing: `SPARE_S` before a lease can run out, counted from
before its last renewal was asked for, everything of its partition is let go.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, Protocol

from flow.clock import cancel_after
from flow.errors import StoreUnavailable
from flow.ports import Clock, Renewal, Store, Timer
from flow.runtime.orchestrator.leases import Leases
from flow.runtime.orchestrator.spreading import fair_share, search_order, surplus

__all__ = ["Lifeline", "LifelineHost"]

_log = logging.getLogger("flow.lifeline")

LEASE_MS: Final = 15_000
RENEW_S: Final = 5.0
RETRY_S: Final = 1.0
"""After so many seconds, more or less, a store that was away is asked again."""
SPARE_S: Final = 3.0
"""So many seconds before a lease can run out nothing is done under it any more."""
PATIENCE: Final = 3
"""After so many renewals in which nothing changed, partitions that nobody takes are looked for."""
PROBES: Final = 16
"""So many partitions are looked at for that with each renewal."""
FOREVER_MS: Final = 1_000 * 365 * 86_400_000


class LifelineHost(Protocol):
    """Who has to know how the leases stand."""

    def taken(self, partition: int) -> None:
        """A partition is ours from now on; it has to be recovered."""
        ...

    def lost(self, partitions: Sequence[int]) -> None:
        """Partitions are ours no longer: everything of them has to be forgotten."""
        ...

    def unwanted(self, partitions: Sequence[int]) -> None:
        """Partitions are to be handed over; `give_back` has to follow."""
        ...

    def wanting(self) -> None:
        """We have less than our share, and found nothing that is free."""
        ...

    def renewed(self, renewal: Renewal, asked_s: float) -> None:
        """The store has answered a renewal that was asked for at a (monotonic) time."""
        ...

    def troubled(self, error: StoreUnavailable | None) -> float:
        """Note that the store could not be asked, or could (None); return a random number."""
        ...


class Lifeline:
    """Holds the leases of one process.

    Args:
        store: Who grants them.
        clock: The time.
        owner: Who holds them; unique for each start of a process.
        partitions: How many there are.
        leases: What is held.
        host: Who has to know.

    Attributes:
        members: The owners that were there at the last renewal.
        owner: Who holds the leases.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owner: str,
        partitions: int,
        leases: Leases,
        host: LifelineHost,
    ) -> None:
        """Begin without a lease."""
        self.members: tuple[str, ...] = ()
        self.owner = owner
        self._store = store
        self._ttl_ms = FOREVER_MS if store.exclusive else LEASE_MS
        self._clock = clock
        self._partitions = partitions
        self._leases = leases
        self._host = host
        self._settled: tuple[str, ...] = ()
        self._calm = 0
        self._next_probe = 0
        self._free: frozenset[int] | None = None
        self._has_left = False
        self._is_asked = False
        self._alarm: Timer | None = None
        self._look = asyncio.Event()
        # Two who change the leases at the same time would take each other's for lost.
        self._lock = asyncio.Lock()

    # -------------------------------------------------------------------------- taking

    async def join(self) -> None:
        """Become a member, and take our share of what is free.

        Raises:
            StoreUnavailable: The store cannot be asked.
        """
        async with self._lock:
            await self._cycle()

    async def take_again(self) -> None:
        """Take the partitions that are held and not open once more, with a new epoch.

        After it nothing that was sent to the store under the old epoch can still be written. Those
        that are open were taken again already, since nobody knew what was written of them.

        Raises:
            StoreUnavailable: The store cannot be asked.
        """
        async with self._lock:
            for partition in list(self._leases.present):
                if not self._leases.term(partition) and not await self._take(partition):
                    self._lose([partition])

    async def _take(self, partition: int) -> bool:
        asked = self._clock.monotonic()
        lease = await self._store.acquire(partition, self.owner, self._ttl_ms)
        if lease is not None:
            self._leases.put(lease, self._end_of(asked))
            self._set_alarm()
        return lease is not None

    async def _take_free(self, partitions: Iterable[int], limit: int) -> int:
        """Take what is free of some partitions, at most so many; return how many it were.

        Those that somebody held at the last renewal, a moment ago, are not asked for.
        """
        free, taken = self._free, 0
        for partition in partitions:
            if taken == limit:
                break
            is_held = partition in self._leases.present
            if is_held or (free is not None and partition not in free):
                continue
            if await self._take(partition):
                taken += 1
                self._host.taken(partition)
        return taken

    # ------------------------------------------------------------------------- renewing

    async def run(self) -> None:
        """Renew the leases until cancelled; return at once if they need no renewal."""
        if self._store.exclusive and len(self._leases) == self._partitions:
            return
        pause = RENEW_S
        while not self._has_left:
            with cancel_after(self._clock, pause):
                await self._look.wait()
            self._look.clear()
            pause = await self._try()

    async def _try(self) -> float:
        """Renew, and return after how many seconds it is to be done again."""
        try:
            async with self._lock:
                await self._cycle()
        except StoreUnavailable as error:
            _log.debug("the leases could not be renewed: %s", error)
            return RETRY_S * (0.5 + self._host.troubled(error))
        self._host.troubled(None)
        return RENEW_S

    def look(self, *, is_wanted: bool = False) -> None:
        """Renew now: somebody has joined, left, or freed partitions.

        Args:
            is_wanted: Whether somebody wants partitions and finds none.
        """
        if is_wanted:
            self._settled = ()
            self._is_asked = True
        self._look.set()

    async def _cycle(self) -> None:
        if self._has_left:
            return
        is_asked, self._is_asked = self._is_asked, False
        if not self._store.exclusive:
            await self._renew()
        share = fair_share(self.owner, self.members, self._partitions)
        held = [each for each in self._leases.present if each not in self._leases.leaving]
        if len(held) < share:
            is_short = await self._fill(share - len(held))
            if is_short and not is_asked and not self._store.exclusive:
                self._host.wanting()
        elif self._settled != self.members:
            self._settled = self.members
            self._calm = 0
            given = surplus(held, share)
            self._leases.leaving.update(given)
            if given:
                _log.info("giving back partitions %s", given)
                self._host.unwanted(given)
        else:
            await self._probe()

    async def _renew(self) -> None:
        asked = self._clock.monotonic()
        leases = tuple(self._leases.present.values())
        renewal = await self._store.renew(self.owner, leases, self._ttl_ms)
        self._free = renewal.free
        # What was let go while the store was asked is not what it speaks of.
        standing = [lease for lease in leases if lease.partition in renewal.held]
        self._leases.extend(standing, self._end_of(asked))
        self._set_alarm()
        lost = [
            lease.partition
            for lease in leases
            if lease.partition not in renewal.held and self._leases.has(lease)
        ]
        if self.members != renewal.members:
            self.members = renewal.members
            self._calm = 0
        self._host.renewed(renewal, asked)
        if lost:
            _log.warning("the leases of partitions %s are lost", lost)
            self._lose(lost)

    async def _fill(self, missing: int) -> bool:
        """Take what is free, at most so many; return whether it was less."""
        self._settled = self.members
        self._calm = 0
        order = search_order(self.owner, self.members, self._partitions)
        return await self._take_free(order, missing) < missing

    async def _probe(self) -> None:
        """Look for partitions that stay free because a member does not take them."""
        self._calm += 1
        if self._calm < PATIENCE or len(self._leases) == self._partitions:
            return
        first, self._next_probe = self._next_probe, self._next_probe + PROBES
        some = [(first + each) % self._partitions for each in range(min(PROBES, self._partitions))]
        await self._take_free(some, self._partitions)

    # ------------------------------------------------------------------------ letting go

    async def give_back(self, partitions: Iterable[int]) -> None:
        """Give back the leases of partitions that are not decided about any more.

        Args:
            partitions: Which.

        Raises:
            StoreUnavailable: The store cannot be asked; they run out by themselves.
        """
        async with self._lock:
            present = self._leases.present
            leases = [present[each] for each in partitions if each in present]
            self._leases.drop([lease.partition for lease in leases])
            if leases:
                await self._store.release(leases)

    async def leave(self) -> None:
        """Give everything back, and be a member no more.

        Raises:
            StoreUnavailable: The store cannot be asked; the leases run out by themselves.
        """
        self._has_left = True
        self._look.set()
        async with self._lock:
            leases = tuple(self._leases.present.values())
            self.stop()
            await self._store.release(leases)
            if not self._store.exclusive:
                await self._store.leave(self.owner)

    async def note_incarnation(self, partition: int, incarnation: str) -> None:
        """Note that everything of a partition was sent to an incarnation of the broker.

        Args:
            partition: Which.
            incarnation: The incarnation's id.

        Raises:
            StoreUnavailable: The store cannot be asked.
        """
        lease = self._leases.present.get(partition)
        if lease is not None:
            await self._store.note_incarnation([lease], incarnation)
            self._leases.note(lease, incarnation)

    def stop(self) -> None:
        """Hold nothing more, and ring no more alarm: the process ends."""
        self._has_left = True
        self._leases.drop(list(self._leases.present))
        self._set_alarm()

    def _lose(self, partitions: Sequence[int]) -> None:
        self._leases.drop(partitions)
        self._host.lost(partitions)

    # ------------------------------------------------------------------------ running out

    def _end_of(self, asked_s: float) -> float:
        return inf if self._store.exclusive else asked_s + LEASE_MS / 1000 - SPARE_S

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        first = self._leases.first_end
        if first < inf:
            self._alarm = self._clock.call_at(first, self._run_out)

    def _run_out(self) -> None:
        self._alarm = None
        gone = self._leases.ended()
        if gone:
            _log.error("the leases of partitions %s could not be renewed in time", gone)
            self._lose(gone)
        self._set_alarm()
