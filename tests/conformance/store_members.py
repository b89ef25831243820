"""What every store must know of its owners: who is there, and what they have sent to whom."""

from flow.ports import Commit, Lease, Store
from tests.conformance.store import TTL_MS, StoreHarness, put, row, take, write


async def members(store: Store, owner: str, ttl_ms: int = TTL_MS) -> tuple[str, ...]:
    """Let an owner renew, and return the members that it sees."""
    return (await store.renew(owner, (), ttl_ms)).members


class MemberSuite:
    """Who is there."""

    async def test_whoever_renews_is_a_member(self, store: Store) -> None:
        """An owner is a member from its first renewal on, with and without leases."""
        assert await members(store, "one") == ("one",)
        leases = await take(store, 0, owner="two")
        assert (await store.renew("two", leases, TTL_MS)).members == ("one", "two")
        assert await members(store, "one") == ("one", "two")

    async def test_members_are_in_order(self, store: Store) -> None:
        """Everybody sees the members in the same order, which is that of code points."""
        for owner in ("b", "a", "B", "é", "a-1", "a1"):
            await members(store, owner)
        assert await members(store, "b") == ("B", "a", "a-1", "a1", "b", "é")

    async def test_members_expire(self, harness: StoreHarness, store: Store) -> None:
        """A member that does not renew is none any more after its time."""
        await members(store, "one", 2_000)
        await members(store, "two", TTL_MS)
        await harness.elapse(1_000)
        assert await members(store, "two") == ("one", "two")
        await harness.elapse(1_000)
        assert await members(store, "two") == ("two",)
        assert await members(store, "one") == ("one", "two")

    async def test_late_member_counts_itself(self, harness: StoreHarness, store: Store) -> None:
        """Who renews too late is a member again by that, for itself and for others."""
        await members(store, "one")
        await harness.elapse(TTL_MS * 2)
        assert await members(store, "one") == ("one",)
        assert await members(store, "two") == ("one", "two")

    async def test_renewals_say_what_is_free(self, harness: StoreHarness, store: Store) -> None:
        """A renewal names the partitions that nobody else holds: new, given back or run out."""
        everything = (await store.renew("two", (), TTL_MS)).free
        leases = [*await take(store, 0), *await take(store, 1)]
        assert (await store.renew("two", (), TTL_MS)).free == everything - {0, 1}
        assert (await store.renew("one", leases, TTL_MS)).free == everything
        await store.release(leases[:1])
        assert (await store.renew("two", (), TTL_MS)).free == everything - {1}
        await harness.elapse(TTL_MS)
        assert (await store.renew("two", (), TTL_MS)).free == everything >= {0, 1}

    async def test_who_leaves_is_gone(self, store: Store) -> None:
        """Who leaves is no member, at once; leaving twice, or without having been one, is fine."""
        await members(store, "one")
        await members(store, "two")
        await store.leave("one")
        await store.leave("one")
        await store.leave("stranger")
        assert await members(store, "two") == ("two",)

    async def test_leaving_keeps_leases(self, store: Store) -> None:
        """To leave is not to release: leases stand until they are given back or run out."""
        leases = await take(store, 0)
        await members(store, "one")
        await store.leave("one")
        assert await store.acquire(0, "two", TTL_MS) is None
        await put(store, leases, write(row("a")))

    async def test_releasing_keeps_membership(self, store: Store) -> None:
        """Who gives its leases back is a member still, and may get others."""
        leases = await take(store, 0)
        await store.renew("one", leases, TTL_MS)
        await store.release(leases)
        assert await members(store, "two") == ("one", "two")


class IncarnationSuite:
    """Which incarnation of the broker a partition's attempts were sent to."""

    async def test_lease_tells_the_incarnation(self, harness: StoreHarness, store: Store) -> None:
        """What was noted under a lease comes with the next one, whoever takes it."""
        leases = await take(store, 0, 1)
        assert {lease.incarnation for lease in leases} == {""}
        await store.note_incarnation(leases[:1], "first")
        await harness.elapse(TTL_MS)
        assert await store.acquire(0, "two", TTL_MS) == Lease(0, "two", 2, "first")
        assert await store.acquire(1, "two", TTL_MS) == Lease(1, "two", 2, "")

    async def test_incarnation_survives_release(self, store: Store) -> None:
        """Giving a lease back does not forget what was noted."""
        leases = await take(store, 0)
        await store.note_incarnation(leases, "first")
        await store.note_incarnation(leases, "second")
        await store.release(leases)
        (lease,) = await take(store, 0, owner="two")
        assert lease.incarnation == "second"

    async def test_stale_lease_notes_nothing(self, harness: StoreHarness, store: Store) -> None:
        """Who has lost a partition cannot say what was sent for it; other leases still count."""
        old = await take(store, 0, 1)
        await harness.elapse(TTL_MS)
        await take(store, 0, owner="two")
        await store.note_incarnation(old, "zombie's")
        await store.note_incarnation([Lease(1, "two", 1)], "forged")
        (again,) = await take(store, 0, owner="two")
        assert again.incarnation == ""
        (mine,) = await take(store, 1)
        assert mine.incarnation == "zombie's"

    async def test_released_lease_notes_nothing(self, store: Store) -> None:
        """A lease that was given back does not stand any more."""
        leases = await take(store, 0)
        await store.release(leases)
        await store.note_incarnation(leases, "late")
        (lease,) = await take(store, 0)
        assert lease.incarnation == ""

    async def test_incarnation_is_no_part_of_the_fence(self, store: Store) -> None:
        """A lease stands whatever incarnation it carries: owner and epoch are what counts."""
        leases = await take(store, 0)
        await store.note_incarnation(leases, "first")
        await put(store, leases, write(row("a")))
        assert (await store.renew("one", leases, TTL_MS)).held == {0}
        assert (await store.commit(Commit(leases))).lost == frozenset()
