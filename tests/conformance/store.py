"""What every store must do: names, leases, and commits. `store_queries.py` has the reads.

An adapter is held to it by a module of tests with a fixture `harness` and a fixture `store`, and a
subclass of each suite. Nothing here looks behind the port.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from flow.errors import ConfigurationError, StoreUnavailable
from flow.names import BODY_LIMIT
from flow.ports import (
    Commit,
    CommitResult,
    DefinitionRecord,
    Due,
    ExecutionSummary,
    ExecutionWrite,
    Lease,
    Namespace,
    OutboxRow,
    Store,
    StoredExecution,
)
from flow.status import Status

NAMESPACE = Namespace("suite", 4)
TTL_MS = 15_000
NOTHING_LEFT_OUT = CommitResult()


class StoreHarness(Protocol):
    """One set of data, the stores that work on it, and the clock that leases run out by."""

    def new(self) -> Store:
        """Return another store on the same data, not yet open."""
        ...

    async def elapse(self, milliseconds: int) -> None:
        """Let time pass for leases, without waiting."""
        ...


def row(id: str, partition: int = 0, created_ms: int = 1_000) -> ExecutionSummary:
    """Return the row of a running execution."""
    return ExecutionSummary(
        id=id,
        partition=partition,
        workflow="checkout",
        definition="d1",
        status=Status.RUNNING,
        created_ms=created_ms,
        updated_ms=created_ms,
    )


def write(summary: ExecutionSummary, seq: int = 1, record: bytes = b"{}") -> ExecutionWrite:
    """Return a write of a record, which is a snapshot if it is the first."""
    return ExecutionWrite(summary, seq, record, is_snapshot=seq == 1)


def waiting(number: int, execution: str = "a", partition: int = 0) -> OutboxRow:
    """Return an outbox row."""
    return OutboxRow(partition, number, execution, f"command {number}".encode())


async def take(store: Store, *partitions: int, owner: str = "one") -> tuple[Lease, ...]:
    """Acquire partitions that must be free."""
    leases = [await store.acquire(partition, owner, TTL_MS) for partition in partitions]
    assert None not in leases
    return tuple(lease for lease in leases if lease)


async def put(store: Store, leases: tuple[Lease, ...], *writes: ExecutionWrite) -> None:
    """Commit writes that nothing must stand against."""
    assert await store.commit(Commit(leases, writes)) == NOTHING_LEFT_OUT


async def ids_of(store: Store, *ids: str) -> set[str]:
    """Return those of the ids that there are executions of."""
    return set(await store.load(ids))


async def load_one(store: Store, id: str) -> StoredExecution:
    """Load an execution that has to be there."""
    loaded = (await store.load([id]))[id]
    assert isinstance(loaded, StoredExecution)
    return loaded


class NamespaceSuite:
    """Opening, closing, and what stays."""

    async def test_wish_becomes_namespace(self, harness: StoreHarness) -> None:
        """A store that is empty takes the namespace that is wished for."""
        store = harness.new()
        assert await store.open(NAMESPACE) == NAMESPACE
        await store.close()

    async def test_stored_partitions_win(self, harness: StoreHarness, store: Store) -> None:
        """The number of partitions is fixed when the namespace is created."""
        await store.close()
        again = harness.new()
        assert await again.open(replace(NAMESPACE, partitions=9)) == NAMESPACE
        with pytest.raises(ConfigurationError):
            await again.acquire(NAMESPACE.partitions, "one", TTL_MS)
        await again.close()

    async def test_closed_store_refuses(self, harness: StoreHarness) -> None:
        """A store that is not open says so, before it was opened and after it was closed."""
        store = harness.new()
        with pytest.raises(StoreUnavailable):
            await store.load(["a"])
        await store.open(NAMESPACE)
        await store.close()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.load(["a"])
        with pytest.raises(StoreUnavailable):
            await store.acquire(0, "one", TTL_MS)

    async def test_everything_stays(self, harness: StoreHarness, store: Store) -> None:
        """What was committed is there when the store is opened again."""
        leases = await take(store, 0)
        labelled = row("a")._replace(labels={"team": "red"}, wake_ms=5, incident="look")
        record = DefinitionRecord("checkout", "d1", "v1", b"{}", 7)
        await store.commit(Commit(leases, (write(labelled, 1, b"one"),), (waiting(1),)))
        await store.save_definition(record)
        await store.incarnate("", "first")
        await store.close()

        again = harness.new()
        await again.open(NAMESPACE)
        loaded = await load_one(again, "a")
        assert (loaded.summary, loaded.seq, loaded.records) == (labelled, 1, (b"one",))
        assert await again.outbox(0, 0, 10) == [waiting(1)]
        assert await again.definitions() == [record]
        assert await again.incarnate("", "second") == "first"
        assert await again.commit(Commit(leases, (write(labelled, 2),))) == NOTHING_LEFT_OUT
        assert [lease.epoch for lease in await take(again, 0)] == [leases[0].epoch + 1]
        await again.close()


class OneNamespaceSuite:
    """A store whose data belong to one namespace."""

    async def test_other_name_is_refused(self, harness: StoreHarness, store: Store) -> None:
        """The data of one namespace are not opened as another."""
        await store.close()
        stranger = harness.new()
        with pytest.raises(ConfigurationError, match=r"'suite'.*'other'"):
            await stranger.open(Namespace("other", 4))
        again = harness.new()
        assert await again.open(NAMESPACE) == NAMESPACE
        await again.close()


class ManyNamespacesSuite:
    """A store that holds any number of namespaces."""

    @pytest.mark.parametrize("name", ["other", "Suite", "suite.", "public", "x" * 200])
    async def test_other_name_is_apart(
        self, harness: StoreHarness, store: Store, name: str
    ) -> None:
        """Another namespace has data of its own, whatever the two are called."""
        await put(store, await take(store, 0), write(row("a")))
        stranger = harness.new()
        assert await stranger.open(Namespace(name, 2)) == Namespace(name, 2)
        assert await ids_of(stranger, "a") == set()
        await put(stranger, await take(stranger, 0, owner="two"), write(row("a")))
        await stranger.close()


class LeaseSuite:
    """Who may write to a partition."""

    async def test_lease_is_exclusive(self, store: Store) -> None:
        """While a lease lasts, nobody else gets the partition, and others stay free."""
        (first,) = await take(store, 0)
        assert first == Lease(0, "one", 1)
        assert await store.acquire(0, "two", TTL_MS) is None
        assert await store.acquire(1, "two", TTL_MS) == Lease(1, "two", 1)

    async def test_epoch_grows_for_same_owner(self, store: Store) -> None:
        """The holder may acquire again, and what it wrote under is stale from then on."""
        first = await take(store, 0)
        (second,) = await take(store, 0)
        assert second.epoch == first[0].epoch + 1
        assert (await store.commit(Commit(first, (write(row("a")),)))).lost == {0}

    async def test_expired_lease_is_taken(self, harness: StoreHarness, store: Store) -> None:
        """A lease that has run out can be taken, with a greater epoch."""
        (first,) = await take(store, 0)
        await harness.elapse(TTL_MS - 1_000)
        assert await store.acquire(0, "two", TTL_MS) is None
        await harness.elapse(1_000)
        (second,) = await take(store, 0, owner="two")
        assert second.epoch == first.epoch + 1

    async def test_renewal_extends(self, harness: StoreHarness, store: Store) -> None:
        """A renewed lease lasts for its time from the renewal on."""
        leases = await take(store, 0, 1)
        await harness.elapse(TTL_MS - 1_000)
        renewal = await store.renew("one", leases[:1], TTL_MS)
        assert renewal.held == {0}
        await harness.elapse(TTL_MS - 1_000)
        assert await store.acquire(0, "two", TTL_MS) is None
        assert await store.acquire(1, "two", TTL_MS) is not None

    async def test_renewal_tells_what_is_lost(self, harness: StoreHarness, store: Store) -> None:
        """A renewal holds what still stands, and gives nothing back that was taken."""
        leases = await take(store, 0, 1)
        await harness.elapse(TTL_MS)
        (taken,) = await take(store, 1, owner="two")
        assert (await store.renew("one", leases, TTL_MS)).held == {0}
        assert await store.acquire(0, "two", TTL_MS) is None
        assert (await store.renew("two", [taken], TTL_MS)).held == {1}

    async def test_renewal_tells_the_time(self, harness: StoreHarness, store: Store) -> None:
        """A renewal answers with the clock that leases run out by, which does not go back."""
        leases = await take(store, 0)
        first = await store.renew("one", leases, TTL_MS)
        second = await store.renew("one", leases, TTL_MS)
        assert 0 < first.now_ms <= second.now_ms

    async def test_stale_epoch_is_not_renewed(self, store: Store) -> None:
        """An owner cannot renew with an epoch that it has replaced itself."""
        old = await take(store, 0)
        await take(store, 0)
        assert (await store.renew("one", old, TTL_MS)).held == frozenset()

    async def test_release_frees_at_once(self, store: Store) -> None:
        """A released partition can be taken without waiting, and not be written to any more."""
        old = await take(store, 0)
        await store.release(old)
        assert (await store.commit(Commit(old, (write(row("a")),)))).lost == {0}
        assert (await store.renew("one", old, TTL_MS)).held == frozenset()
        (new,) = await take(store, 0, owner="two")
        assert new.epoch == old[0].epoch + 1

    async def test_stale_release_frees_nothing(self, harness: StoreHarness, store: Store) -> None:
        """Who has lost a partition cannot release it for its new owner."""
        old = await take(store, 0)
        await harness.elapse(TTL_MS)
        new = await take(store, 0, owner="two")
        await store.release(old)
        assert await store.acquire(0, "one", TTL_MS) is None
        await put(store, new, write(row("a")))

    async def test_stale_lease_beside_current_one(self, store: Store) -> None:
        """A stale lease among those that are released does not take its epoch back."""
        old = await take(store, 0)
        new = await take(store, 0)
        await store.release([*new, *old])
        (newest,) = await take(store, 0)
        assert newest.epoch == new[0].epoch + 1

    async def test_epoch_never_repeats(self, harness: StoreHarness, store: Store) -> None:
        """However a partition changes hands, its epoch grows."""
        epochs: list[int] = []
        for owner in ("one", "two", "two", "one"):
            leases = await take(store, 0, owner=owner)
            epochs.append(leases[0].epoch)
            if owner == "one":
                await store.release(leases)
            else:
                await harness.elapse(TTL_MS)
        assert epochs == [1, 2, 3, 4]

    async def test_two_stores_see_one_truth(self, harness: StoreHarness, store: Store) -> None:
        """A second store on the same data sees the first one's leases and commits."""
        if store.exclusive:
            pytest.skip("this store belongs to one process")
        other = harness.new()
        await other.open(NAMESPACE)
        old = await take(store, 0)
        await put(store, old, write(row("a")))
        assert await ids_of(other, "a") == {"a"}
        assert await other.acquire(0, "two", TTL_MS) is None
        await harness.elapse(TTL_MS)
        new = await take(other, 0, owner="two")
        assert (await store.commit(Commit(old, (write(row("b")),)))).lost == {0}
        await put(other, new, write(row("b")))
        assert await ids_of(store, "a", "b") == {"a", "b"}
        await other.close()


class FenceSuite:
    """What becomes of a commit whose leases are not all current."""

    async def test_stale_epoch_writes_nothing(self, harness: StoreHarness, store: Store) -> None:
        """A zombie's commit leaves no trace: no row, no record, no outbox row, no delete."""
        old = await take(store, 0)
        await store.commit(Commit(old, (write(row("a")),), (waiting(1),)))
        await harness.elapse(TTL_MS)
        await take(store, 0, owner="two")
        zombie = Commit(old, (write(row("b")),), (waiting(2),), ((0, 1),), ("a",), (("a", 5),))
        assert await store.commit(zombie) == CommitResult(lost=frozenset({0}))
        assert await ids_of(store, "a", "b") == {"a"}
        assert (await load_one(store, "a")).summary == row("a")
        assert await store.outbox(0, 0, 10) == [waiting(1)]

    async def test_stale_owner_is_fenced(self, store: Store) -> None:
        """The right epoch with another owner's name is no lease."""
        (lease,) = await take(store, 0)
        forged = (replace(lease, owner="two"),)
        assert (await store.commit(Commit(forged, (write(row("a")),)))).lost == {0}

    async def test_lost_partition_is_left_out(self, store: Store) -> None:
        """When one of two partitions is lost, all of the other one stands."""
        old = await take(store, 0)
        current = await take(store, 0, 1)
        mixed = Commit(
            (old[0], current[1]),
            (write(row("lost", 0)), write(row("stands", 1))),
            (waiting(1, "lost", 0), waiting(1, "stands", 1)),
        )
        assert await store.commit(mixed) == CommitResult(lost=frozenset({0}))
        assert await ids_of(store, "lost", "stands") == {"stands"}
        assert await store.outbox(0, 0, 10) == []
        assert await store.outbox(1, 0, 10) == [waiting(1, "stands", 1)]

    async def test_rows_need_a_lease(self, store: Store) -> None:
        """Rows of a partition that no lease is given for are left out and reported."""
        leases = await take(store, 0)
        await put(store, leases, write(row("mine", 0)))
        other = await take(store, 1)
        await put(store, other, write(row("yours", 1)))
        stray = Commit(leases, (write(row("stray", 2)),), (), ((3, 1),), ("yours",))
        assert await store.commit(stray) == CommitResult(lost=frozenset({1, 2, 3}))
        assert await ids_of(store, "mine", "yours", "stray") == {"mine", "yours"}
        wakes = Commit(leases, wakes=(("yours", 5), ("mine", 5), ("unknown", 5)))
        assert await store.commit(wakes) == CommitResult(lost=frozenset({1}))
        assert (await store.due(0, 5, 9)).executions == ("mine",)
        assert (await store.due(1, 5, 9)).executions == ()

    async def test_idle_lost_lease_is_reported(self, store: Store) -> None:
        """A lease that is not current is reported even when nothing is written under it."""
        old = await take(store, 0)
        await take(store, 0)
        assert await store.commit(Commit(old)) == CommitResult(lost=frozenset({0}))

    async def test_expired_lease_still_writes(self, harness: StoreHarness, store: Store) -> None:
        """Time alone fences nobody, because safety rests on the epoch."""
        leases = await take(store, 0)
        await harness.elapse(TTL_MS * 2)
        await put(store, leases, write(row("a")))
        assert (await store.renew("one", leases, TTL_MS)).held == {0}


class CommitSuite:
    """What a commit writes, and when it writes nothing."""

    async def test_row_is_replaced(self, store: Store) -> None:
        """A later write replaces every column of the row, and adds its record."""
        leases = await take(store, 0)
        first = row("a")._replace(labels={"team": "red", "size": "big"}, wake_ms=9)
        last = first._replace(
            workflow="refund",
            definition="d2",
            status=Status.FAILURE,
            updated_ms=2_000,
            ended_ms=3_000,
            wake_ms=None,
            incident="no worker",
            labels={"team": "blue"},
        )
        await put(store, leases, write(first, 1, b"one"))
        assert (await load_one(store, "a")).summary == first
        await put(store, leases, write(last, 2, b"two"))
        loaded = await load_one(store, "a")
        assert (loaded.summary, loaded.seq, loaded.records) == (last, 2, (b"one", b"two"))

    @pytest.mark.parametrize("seq", [1, 2, 4])
    async def test_conflict_writes_nothing(self, store: Store, seq: int) -> None:
        """A record that is there already, or not the next, rolls back the whole commit."""
        leases = await take(store, 0, 1)
        await put(store, leases, write(row("a")))
        await put(store, leases, write(row("a"), 2))
        wrong = write(row("a")._replace(incident="zombie"), seq)
        bad = Commit(leases, (write(row("b", 1)), wrong), (waiting(1),), (), ("a",))
        assert await store.commit(bad) == CommitResult(conflicts=frozenset({"a"}))
        assert (await store.load(["a", "b"])).keys() == {"a"}
        assert (await load_one(store, "a")).seq == 2
        assert (await load_one(store, "a")).summary == row("a")
        assert await store.outbox(0, 0, 10) == []

    async def test_all_conflicts_are_named(self, store: Store) -> None:
        """Every execution that is in conflict is reported, and no other."""
        leases = await take(store, 0)
        await put(store, leases, write(row("a")), write(row("b")), write(row("c")))
        writes = (write(row("a")), write(row("b"), 2), write(row("c"), 3), write(row("new"), 2))
        result = await store.commit(Commit(leases, writes))
        assert result.conflicts == {"a", "c", "new"}
        assert (await load_one(store, "b")).seq == 1

    async def test_one_write_for_each(self, store: Store) -> None:
        """Two writes for one execution in one commit are a conflict."""
        leases = await take(store, 0)
        for second in (1, 2):
            twice = Commit(leases, (write(row("a"), 1), write(row("a"), second)))
            assert (await store.commit(twice)).conflicts == {"a"}
        assert await ids_of(store, "a") == set()

    async def test_lost_rows_do_not_conflict(self, store: Store) -> None:
        """What a fence leaves out cannot be in conflict."""
        await put(store, await take(store, 0), write(row("a")))
        result = await store.commit(Commit((Lease(0, "two", 1),), (write(row("a")),)))
        assert result == CommitResult(lost=frozenset({0}))

    async def test_outbox_is_added_and_settled(self, store: Store) -> None:
        """Outbox rows stay until they are settled; settling what is gone changes nothing."""
        leases = await take(store, 0, 1)
        rows = (waiting(2), waiting(1), waiting(3), waiting(2, "b", 1))
        await store.commit(Commit(leases, outbox=rows))
        result = await store.commit(Commit(leases, settled=((0, 2), (0, 99)), outbox=(waiting(4),)))
        assert result == NOTHING_LEFT_OUT
        assert await store.outbox(0, 0, 10) == [waiting(1), waiting(3), waiting(4)]
        assert await store.outbox(1, 0, 10) == [waiting(2, "b", 1)]

    async def test_taken_number_writes_nothing(self, store: Store) -> None:
        """An outbox row with a number that is taken fails the commit, and none of it is written."""
        leases = await take(store, 0)
        await store.commit(Commit(leases, outbox=(waiting(1),)))
        with pytest.raises(StoreUnavailable):
            await store.commit(Commit(leases, (write(row("a")),), (waiting(2), waiting(1))))
        assert await ids_of(store, "a") == set()
        assert await store.outbox(0, 0, 10) == [waiting(1)]

    async def test_delete_leaves_nothing(self, store: Store) -> None:
        """A deleted execution is gone from everywhere, and its id can begin anew."""
        leases = await take(store, 0, 1)
        doomed = row("a")._replace(labels={"team": "red"}, wake_ms=5, incident="look")
        writes = (write(doomed), write(row("b")._replace(wake_ms=11)), write(row("c", 1)))
        rows = (waiting(1, "a"), waiting(2, "b"), waiting(1, "c", 1))
        await store.commit(Commit(leases, writes, rows))
        await store.commit(Commit(leases, deletes=("a", "c", "unknown")))
        assert await ids_of(store, "a", "b", "c") == {"b"}
        assert await store.history("a", 0, 10) == []
        assert await store.outbox(0, 0, 10) == [waiting(2, "b")]
        assert await store.outbox(1, 0, 10) == []
        assert await store.active(0, 11, "", 10) == ["b"]
        assert await store.due(0, 10, 10) == Due((), 11)
        assert await store.due(1, 10, 10) == Due((), None)
        await put(store, leases, write(row("a"), 1, b"anew"))
        assert (await load_one(store, "a")).records == (b"anew",)

    async def test_write_and_delete_together(self, store: Store) -> None:
        """A commit may end an execution and delete it."""
        leases = await take(store, 0)
        last = row("a")._replace(status=Status.SUCCESS, ended_ms=9)
        await put(store, leases, write(row("a")))
        result = await store.commit(Commit(leases, (write(last, 2),), (waiting(1),), (), ("a",)))
        assert result == NOTHING_LEFT_OUT
        assert await ids_of(store, "a") == set()
        assert await store.outbox(0, 0, 10) == []

    async def test_many_executions(self, store: Store) -> None:
        """One commit may write for thousands of executions, new and old ones."""
        leases = await take(store, 0, 1, 2, 3)
        ids = [f"execution-{number}" for number in range(2_000)]
        rows = [row(each, number % 4) for number, each in enumerate(ids)]
        await put(store, leases, *(write(each) for each in rows[:1_500]))
        old = (write(each, 2, b"two") for each in rows[:1_500])
        await put(store, leases, *old, *(write(each) for each in rows[1_500:]))
        loaded = await store.load(ids)
        stored = [each for each in loaded.values() if isinstance(each, StoredExecution)]
        seqs = {each.summary.id: each.seq for each in stored}
        assert [seqs[each] for each in ids] == [2] * 1_500 + [1] * 500

    async def test_large_and_strange_values(self, store: Store) -> None:
        """Large records, bytes that are no text, and any alphabet come back as they were."""
        leases = await take(store, 0)
        texts: Sequence[str] = ("grüße", "日本語", "🚀", "a'b\"c;--", "\\", "new\nline", " ")
        strange = row("a")._replace(incident="".join(texts), labels={each: each for each in texts})
        record = bytes(range(256)) * (BODY_LIMIT // 256)
        command = OutboxRow(0, 1, "a", record)
        await store.commit(Commit(leases, (write(strange, 1, record),), (command,)))
        loaded = await load_one(store, "a")
        assert (loaded.summary, loaded.records) == (strange, (record,))
        assert await store.outbox(0, 0, 1) == [command]
        assert [(each.record, each.is_snapshot) for each in await store.history("a", 0, 9)] == [
            (record, True)
        ]
