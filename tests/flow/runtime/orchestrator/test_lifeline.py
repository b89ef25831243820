"""Tests of `orchestrator.lifeline`: leases, and several processes on one store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Lease, Namespace, Renewal
from flow.runtime.orchestrator.leases import Leases
from flow.runtime.orchestrator.lifeline import Lifeline
from flow.runtime.tasks import TaskGroup
from flow.testing import VirtualClock
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import settle


class Process:
    """A lifeline on a shared database, which hands over whatever it is told to."""

    def __init__(self, clock: VirtualClock, database: MemoryDatabase | None, owner: str) -> None:
        self.clock = clock
        self.store = FickleStore(clock.now_ms, database)
        self.events: list[tuple[str, tuple[int, ...]]] = []
        self.others: list[Process] = []
        self.leases = Leases(clock)
        self.lifeline = Lifeline(self.store, clock, owner, 4, self.leases, self)
        self.troubles = 0
        self._tasks = TaskGroup()

    @property
    def held(self) -> set[int]:
        """The partitions that are held."""
        return {each for each in self.leases.present if self.leases.holds(each)}

    def run_in(self, tasks: TaskGroup) -> None:
        """Give partitions back in tasks of a group."""
        self._tasks = tasks

    async def open(self) -> None:
        """Open the store, and take a fair share."""
        await self.store.open(Namespace("shop", 4))
        await self.lifeline.join()

    def taken(self, partition: int) -> None:
        """Note it."""
        self.events.append(("taken", (partition,)))

    def lost(self, partitions: Sequence[int]) -> None:
        """Note it."""
        self.events.append(("lost", tuple(partitions)))

    def unwanted(self, partitions: Sequence[int]) -> None:
        """Give them back."""
        self.events.append(("unwanted", tuple(partitions)))
        self._tasks.start(self._give_back(partitions), "giving back")

    async def _give_back(self, partitions: Sequence[int]) -> None:
        await self.lifeline.give_back(partitions)
        for other in self.others:
            other.lifeline.look()

    def wanting(self) -> None:
        """Tell the others."""
        for other in self.others:
            other.lifeline.look(is_wanted=True)

    def renewed(self, renewal: Renewal, asked_s: float) -> None:
        """Not of interest."""

    def troubled(self, error: StoreUnavailable | None) -> float:
        """Count failures."""
        self.troubles += error is not None
        return 0.5


class FickleStore(MemoryStore):
    """A store whose renewals fail as often as a test says, and whose leases are out of reach."""

    faults = 0
    renewals = 0
    asked = 0
    closed: int | None = None
    hold: asyncio.Event | None = None

    async def acquire(self, partition: int, owner: str, ttl_ms: int) -> Lease | None:
        """Take a partition."""
        self.asked += 1
        if partition == self.closed:
            raise StoreUnavailable(self.url, "the test says so")
        return await super().acquire(partition, owner, ttl_ms)

    async def renew(self, owner: str, leases: Sequence[Lease], ttl_ms: int) -> Renewal:
        """Extend leases."""
        self.renewals += 1
        if self.faults:
            self.faults -= 1
            raise StoreUnavailable(self.url, "the test says so")
        renewal = await super().renew(owner, leases, ttl_ms)
        if self.hold is not None:
            await self.hold.wait()
        return renewal


async def pass_time(clock: VirtualClock, seconds: float) -> None:
    """Let time pass."""
    end = clock.monotonic() + seconds
    await settle()
    while (due := clock.next_s()) is not None and due <= end:
        clock.move_to(due)
        await settle()
    clock.move_to(end)
    await settle()


async def test_an_exclusive_store_needs_no_renewals() -> None:
    """With a store that nobody else can open all partitions are taken once, for good."""
    clock = VirtualClock()
    process = Process(clock, None, "a")
    await process.open()
    assert process.events == [("taken", (number,)) for number in range(4)]
    await process.lifeline.run()
    assert clock.waiting == 0
    assert process.store.renewals == 0


async def test_leases_are_renewed_while_they_are_held() -> None:
    """A lone process keeps all partitions for as long as it renews their leases."""
    clock = VirtualClock()
    one = Process(clock, MemoryDatabase(), "one")
    await one.open()
    async with TaskGroup() as tasks:
        tasks.start(one.lifeline.run(), "one")
        await pass_time(clock, 120)
        assert one.held == {0, 1, 2, 3}
        assert one.events == [("taken", (number,)) for number in range(4)]
        assert 23 <= one.store.renewals <= 26


async def test_the_newcomer_gets_its_share() -> None:
    """Whoever joins gets what the others have too much, and nobody gives more than that."""
    clock, database = VirtualClock(), MemoryDatabase()
    processes = [Process(clock, database, name) for name in ("one", "two", "three")]
    async with TaskGroup() as tasks:
        for each in processes:
            each.others = [other for other in processes if other is not each]
            each.run_in(tasks)
        for each in processes:
            await each.open()
            tasks.start(each.lifeline.run(), "lifeline")
            await pass_time(clock, 0.1)
        held = [each.held for each in processes]
        assert sorted(map(len, held)) == [1, 1, 2]
        assert {number for each in held for number in each} == {0, 1, 2, 3}
        given = [event for each in processes for event in each.events if event[0] == "unwanted"]
        assert sum(len(partitions) for _, partitions in given) == 3
        for each in processes:
            each.events.clear()
        await pass_time(clock, 120)
        assert [each.events for each in processes] == [[], [], []]


async def test_a_dead_owner_is_replaced() -> None:
    """What its owner renews no longer is taken over by another after the lease has run out."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, two = Process(clock, database, "one"), Process(clock, database, "two")
    await one.open()
    await two.open()
    assert (len(one.held), len(two.held)) == (4, 0)
    async with TaskGroup() as tasks:
        tasks.start(two.lifeline.run(), "two")
        await pass_time(clock, 14)
        assert two.held == set()
        # The first one has let go by itself before anybody could take it.
        assert one.events[-1] == ("lost", (0, 1, 2, 3))
        await pass_time(clock, 6)
        assert two.held == {0, 1, 2, 3}


async def test_what_others_hold_is_not_asked_for() -> None:
    """Who has less than its share asks for no partition that somebody else holds."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, two = Process(clock, database, "one"), Process(clock, database, "two")
    await one.open()
    await two.open()
    async with TaskGroup() as tasks:
        tasks.start(two.lifeline.run(), "two")
        await pass_time(clock, 14)
        assert (two.store.renewals, two.store.asked) == (3, 0)
        await pass_time(clock, 6)
        assert (len(two.held), two.store.asked) == (4, 4)


async def test_two_who_wait_for_the_same_leases_do_not_keep_each_other_awake() -> None:
    """Who wants partitions and is asked for some does not ask in turn, or that would never end."""
    clock, database = VirtualClock(), MemoryDatabase()
    gone, one, two = (Process(clock, database, name) for name in ("gone", "one", "two"))
    await gone.open()
    one.others, two.others = [two], [one]
    async with TaskGroup() as tasks:
        for each in (one, two):
            await each.open()
            tasks.start(each.lifeline.run(), "lifeline")
        await pass_time(clock, 12)
        assert one.store.renewals + two.store.renewals <= 12
        await pass_time(clock, 10)
        assert sorted(map(len, (one.held, two.held))) == [2, 2]


async def test_a_failed_renewal_is_tried_again() -> None:
    """One renewal that fails loses nothing, for the next one comes in time."""
    clock, database = VirtualClock(), MemoryDatabase()
    process = Process(clock, database, "one")
    await process.open()
    process.store.faults = 3
    async with TaskGroup() as tasks:
        tasks.start(process.lifeline.run(), "one")
        await pass_time(clock, 60)
        assert process.events == [("taken", (number,)) for number in range(4)]
        assert process.troubles == 3


async def test_what_cannot_be_renewed_is_let_go_before_it_ends() -> None:
    """Three seconds before a lease that was asked for then can run out, it is let go."""
    clock, database = VirtualClock(), MemoryDatabase()
    process = Process(clock, database, "one")
    await process.open()
    process.store.faults = 10**6
    async with TaskGroup() as tasks:
        tasks.start(process.lifeline.run(), "one")
        await pass_time(clock, 11.9)
        assert process.held == {0, 1, 2, 3}
        await pass_time(clock, 0.2)
        assert process.held == set()
        assert process.events[-1] == ("lost", (0, 1, 2, 3))
        process.store.faults = 0
        await pass_time(clock, 2)
        assert process.held == {0, 1, 2, 3}


async def test_a_slow_renewal_counts_from_when_it_was_asked_for() -> None:
    """An answer that comes late does not make a lease longer than the store thinks it is."""
    clock, database = VirtualClock(), MemoryDatabase()
    process = Process(clock, database, "one")
    await process.open()
    async with TaskGroup() as tasks:
        tasks.start(process.lifeline.run(), "one")
        await pass_time(clock, 4)
        process.store.hold = asyncio.Event()
        await pass_time(clock, 7)
        process.store.hold.set()
        await settle()
        # It was asked for at 5 s, answered at 11 s, and is over at 17 s.
        process.store.faults = 10**6
        assert process.leases.first_end == 17.0


async def test_what_is_given_back_is_free_at_once() -> None:
    """After it has left another process can take everything without waiting."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, two = Process(clock, database, "one"), Process(clock, database, "two")
    await one.open()
    await one.lifeline.leave()
    await two.open()
    assert (len(one.held), len(two.held)) == (0, 4)
    assert two.lifeline.members == ("two",)
    # Whoever has left takes part no more.
    await one.lifeline.join()
    await one.lifeline.run()
    assert one.held == set()


async def test_taking_again_makes_a_new_epoch() -> None:
    """After an unknown outcome leases are taken again; what is lost by then is given up."""
    clock, database = VirtualClock(), MemoryDatabase()
    one = Process(clock, database, "one")
    await one.open()
    epochs = [lease.epoch for lease in one.leases.present.values()]
    await one.lifeline.take_again()
    assert [lease.epoch for lease in one.leases.present.values()] == [n + 1 for n in epochs]
    for number in (1, 2):
        ownership = database.partition(number).ownership
        ownership.owner, ownership.epoch = "two", 99
    await one.lifeline.take_again()
    assert one.held == {0, 3}
    assert one.events[-2:] == [("lost", (1,)), ("lost", (2,))]


async def test_a_renewal_does_not_undo_what_came_after_it() -> None:
    """A lease that is taken anew while an older one is renewed is not taken for lost."""
    clock, database = VirtualClock(), MemoryDatabase()
    one = Process(clock, database, "one")
    await one.open()
    one.store.hold = asyncio.Event()
    async with TaskGroup() as tasks:
        tasks.start(one.lifeline.run(), "one")
        one.lifeline.look()
        await settle()
        tasks.start(one.lifeline.take_again(), "again")
        await settle()
        one.store.hold.set()
        await settle()
        assert one.held == {0, 1, 2, 3}
        assert ("lost", (0, 1, 2, 3)) not in one.events


async def test_what_was_taken_before_a_fault_is_told() -> None:
    """Partitions that were taken before the store failed are owned, and whoever cares is told."""
    clock, database = VirtualClock(), MemoryDatabase()
    process = Process(clock, database, "one")
    await process.store.open(Namespace("shop", 4))
    process.store.closed = 2
    with pytest.raises(StoreUnavailable):
        await process.lifeline.join()
    assert process.events == [("taken", (0,)), ("taken", (1,))]
    process.store.closed = None
    await process.lifeline.join()
    assert process.held == {0, 1, 2, 3}


async def test_what_a_member_leaves_lying_is_taken_in_the_end() -> None:
    """Partitions that a member should take and does not go to another after a while."""
    clock, database = VirtualClock(), MemoryDatabase()
    one, idle = Process(clock, database, "one"), Process(clock, database, "idle")
    await one.open()
    await idle.store.open(Namespace("shop", 4))
    async with TaskGroup() as tasks:
        one.run_in(tasks)
        tasks.start(one.lifeline.run(), "one")
        for _ in range(3):
            await idle.store.renew("idle", (), 15_000)
            await pass_time(clock, 5)
        assert one.held == {0, 1}
        for _ in range(3):
            await idle.store.renew("idle", (), 15_000)
            await pass_time(clock, 5)
        assert one.held == {0, 1, 2, 3}
        # The other one comes to itself, wants its share, and gets it.
        idle.others = [one]
        await idle.lifeline.join()
        tasks.start(idle.lifeline.run(), "idle")
        await pass_time(clock, 6)
        assert (len(one.held), len(idle.held)) == (2, 2)
