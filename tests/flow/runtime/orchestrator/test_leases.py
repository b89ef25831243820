"""Tests of `orchestrator.leases`: how far a process may act upon its partitions."""

from __future__ import annotations

from math import inf

from flow.ports import Lease
from flow.runtime.orchestrator.leases import Leases
from tests.flow.runtime.clocks import ManualClock


async def test_a_lease_is_held_until_it_ends() -> None:
    """A partition may be acted upon until its time is over, unless it is extended."""
    clock = ManualClock()
    leases = Leases(clock)
    leases.put(Lease(1, "a", 1), 12.0)
    leases.put(Lease(2, "a", 1), 12.0)
    assert (leases.holds(1), leases.holds(3), leases.first_end) == (True, False, 12.0)
    leases.extend([Lease(2, "a", 1)], 17.0)
    await clock.advance(12)
    assert leases.ended() == [1]
    assert (leases.holds(1), leases.holds(2)) == (False, True)
    leases.drop([1, 2])
    assert (len(leases), leases.first_end, leases.ended()) == (0, inf, [])


async def test_a_partition_is_open_after_it_was_recovered() -> None:
    """It is decided about once it was opened and while its lease stands, in terms."""
    clock = ManualClock()
    leases = Leases(clock)
    leases.put(Lease(1, "a", 1), 12.0)
    assert (leases.is_open(1), leases.all_open, leases.term(1)) == (False, False, 0)
    leases.open(1)
    first = leases.term(1)
    assert (leases.is_open(1), leases.all_open) == (True, True)
    leases.close([1])
    assert (leases.is_open(1), leases.holds(1)) == (False, True)
    leases.open(1)
    assert leases.term(1) > first
    await clock.advance(12)
    assert not leases.is_open(1)


def test_a_former_lease_changes_nothing() -> None:
    """What is said of a lease that was taken anew meanwhile is not true of the new one."""
    leases = Leases(ManualClock())
    old, new = Lease(1, "a", 1), Lease(1, "a", 2)
    leases.put(new, 12.0)
    leases.extend([old], 99.0)
    leases.note(old, "broker")
    assert (leases.has(old), leases.has(new)) == (False, True)
    assert leases.first_end == 12.0
    assert leases.present[1].incarnation == ""
    leases.note(new, "broker")
    assert leases.present[1].incarnation == "broker"
    assert leases.has(new)


def test_who_is_dropped_leaves_no_more() -> None:
    """A partition that was to be handed over and is lost before is not being handed over."""
    leases = Leases(ManualClock())
    leases.put(Lease(1, "a", 1), 12.0)
    leases.leaving.add(1)
    leases.drop([1])
    assert leases.leaving == set()


def test_outbox_rows_are_numbered() -> None:
    """Numbers grow within a partition, behind those that are there, and survive the lease."""
    leases = Leases(ManualClock())
    assert [leases.next_number(1), leases.next_number(1), leases.next_number(2)] == [1, 2, 1]
    leases.numbered(1, 10)
    leases.numbered(1, 3)
    leases.drop([1])
    assert leases.next_number(1) == 11


async def test_what_has_run_out_is_not_extended() -> None:
    """A lease whose time was over for a moment was let go meanwhile, and stays so."""
    clock = ManualClock()
    leases = Leases(clock)
    lease = Lease(1, "a", 1)
    leases.put(lease, 12.0)
    await clock.advance(12)
    leases.extend([lease], 17.0)
    assert (leases.holds(1), leases.ended()) == (False, [1])


def test_no_two_owners_give_a_row_the_same_number() -> None:
    """What one owner settles too late is never a row of the next one."""
    former, next_one = Leases(ManualClock()), Leases(ManualClock())
    former.put(Lease(1, "a", 4), 12.0)
    next_one.put(Lease(1, "b", 5), 12.0)
    settled_late = {former.next_number(1) for _ in range(1_000)}
    assert settled_late.isdisjoint({next_one.next_number(1) for _ in range(1_000)})
    former.put(Lease(1, "a", 6), 12.0)
    assert former.next_number(1) > next_one.next_number(1)
