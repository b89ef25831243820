"""What every store must do with what is old: tombstones; and what it tells about itself."""

from collections.abc import Iterable

import pytest

from flow.errors import StoreUnavailable
from flow.ports import (
    Commit,
    CommitResult,
    ExecutionQuery,
    ExecutionSummary,
    Finding,
    Lease,
    Pruned,
    Store,
    Tombstone,
)
from flow.status import Status
from tests.conformance.store import NAMESPACE, StoreHarness, ids_of, put, row, take, waiting, write

NEVER = -1


def ended(id: str, at: int, partition: int = 0) -> ExecutionSummary:
    """Return the row of an execution that has ended."""
    return row(id, partition)._replace(
        status=Status.FAILURE, ended_ms=at, fingerprint=f"started as {id}"
    )


def tombstone(id: str, at: int) -> Tombstone:
    """Return what is left of such an execution."""
    return Tombstone(id, "checkout", Status.FAILURE, at, f"started as {id}")


async def fill(store: Store, rows: Iterable[ExecutionSummary]) -> tuple[Lease, ...]:
    """Write executions, and return the leases that they were written under."""
    leases = await take(store, 0, 1)
    await put(store, leases, *(write(each) for each in rows))
    return leases


class PruningSuite:
    """Old executions become tombstones, and old tombstones are forgotten."""

    async def test_old_executions_become_tombstones(self, store: Store) -> None:
        """What ended before a time is gone but for its tombstone; the rest stays."""
        labelled = ended("a", 10, 1)._replace(labels={"team": "red"}, incident="look")
        await fill(store, [labelled, ended("b", 20), ended("c", 30), row("runs")])
        assert await store.prune(30, NEVER, 10) == Pruned(2, 0, has_more=False)
        loaded = await store.load(["a", "b", "c", "runs", "unknown"])
        assert set(loaded) == {"a", "b", "c", "runs"}
        assert (loaded["a"], loaded["b"]) == (tombstone("a", 10), tombstone("b", 20))
        assert await store.history("a", 0, 10) == []
        assert [each.id for each in await store.list(ExecutionQuery())] == ["runs", "c"]
        assert await store.list(ExecutionQuery(labels={"team": "red"})) == []
        assert await store.list(ExecutionQuery(incidents=True)) == []

    async def test_pruning_is_paged(self, store: Store) -> None:
        """A call does no more than its limit, the oldest first, and says whether there is more."""
        await fill(store, [ended(f"e{at}", at) for at in (50, 10, 40, 20, 30)])
        assert await store.prune(99, NEVER, 2) == Pruned(2, 0, has_more=True)
        ids = [f"e{at}" for at in (10, 20, 30, 40, 50)]
        live = [each for each in ids if await _is_live(store, each)]
        assert live == ["e30", "e40", "e50"]
        assert await store.prune(99, NEVER, 2) == Pruned(2, 0, has_more=True)
        assert await store.prune(99, NEVER, 2) == Pruned(1, 0, has_more=False)
        assert await store.prune(99, NEVER, 2) == Pruned(0, 0, has_more=False)

    async def test_tombstones_are_forgotten(self, store: Store) -> None:
        """Tombstones go after their time, in pages too, and their ids can begin anew."""
        leases = await fill(store, [ended(f"e{at}", at) for at in (10, 20, 30)])
        await store.prune(99, NEVER, 10)
        assert await store.prune(99, 30, 1) == Pruned(0, 1, has_more=True)
        assert await ids_of(store, "e10", "e20", "e30") == {"e20", "e30"}
        assert await store.prune(99, 30, 1) == Pruned(0, 1, has_more=False)
        assert await ids_of(store, "e10", "e20", "e30") == {"e30"}
        await put(store, leases, write(row("e10")))

    async def test_pruned_execution_cannot_begin(self, store: Store) -> None:
        """A start with the id of a pruned execution is a conflict, and nothing is written."""
        leases = await fill(store, [ended("a", 10)])
        await store.prune(99, NEVER, 10)
        for seq in (1, 2):
            again = Commit(leases, (write(row("b")), write(row("a"), seq)), (waiting(1),))
            assert await store.commit(again) == CommitResult(conflicts=frozenset({"a"}))
        assert await store.load(["a", "b"]) == {"a": tombstone("a", 10)}
        assert await store.outbox(0, 0, 10) == []

    async def test_lost_start_of_a_pruned_one(self, store: Store) -> None:
        """A start that the fence leaves out cannot be in conflict with a tombstone."""
        await fill(store, [ended("a", 10)])
        await store.prune(99, NEVER, 10)
        result = await store.commit(Commit((Lease(0, "zombie", 1),), (write(row("a")),)))
        assert result == CommitResult(lost=frozenset({0}))

    async def test_what_has_messages_out_stays(self, store: Store) -> None:
        """An execution is not pruned before the outbox has nothing of it any more."""
        leases = await fill(store, [ended("a", 10), ended("b", 20)])
        await store.commit(Commit(leases, outbox=(waiting(1, "a"),)))
        assert await store.prune(99, NEVER, 10) == Pruned(1, 0, has_more=False)
        assert await _is_live(store, "a")
        await store.commit(Commit(leases, settled=((0, 1),)))
        assert await store.prune(99, NEVER, 10) == Pruned(1, 0, has_more=False)

    async def test_revived_execution_stays(self, store: Store) -> None:
        """An execution that goes on after its end is not old."""
        leases = await fill(store, [ended("a", 10)])
        await put(store, leases, write(row("a"), 2))
        assert await store.prune(99, NEVER, 10) == Pruned(0, 0, has_more=False)

    async def test_deleting_leaves_no_tombstone(self, store: Store) -> None:
        """A delete leaves nothing, and takes the tombstone of a pruned execution away, fenced."""
        leases = await fill(store, [ended("a", 10), ended("b", 10), ended("c", 10, 1)])
        await put(store, leases)
        await store.commit(Commit(leases, deletes=("b",)))
        assert await store.load(["b"]) == {}
        await store.prune(99, NEVER, 10)
        result = await store.commit(Commit(leases[:1], deletes=("a", "c")))
        assert result == CommitResult(lost=frozenset({1}))
        assert await store.load(["a", "c"]) == {"c": tombstone("c", 10)}
        await put(store, leases, write(row("a")))

    async def test_tombstones_stay(self, harness: StoreHarness, store: Store) -> None:
        """Tombstones are there when the store is opened again."""
        await fill(store, [ended("a", 10)])
        await store.prune(99, NEVER, 10)
        await store.close()
        again = harness.new()
        await again.open(NAMESPACE)
        assert await again.load(["a"]) == {"a": tombstone("a", 10)}
        await again.close()

    async def test_fingerprint_is_kept(self, store: Store) -> None:
        """The fingerprint is loaded and listed with the row."""
        rows = [ended("a", 10)]
        await fill(store, rows)
        assert await store.list(ExecutionQuery()) == rows


class ExaminationSuite:
    """What a store tells about itself."""

    async def test_findings_are_for_people(self, store: Store) -> None:
        """There is something to read, about different subjects, and advice where it is not fine."""
        findings = await store.examine()
        assert findings
        assert len({finding.subject for finding in findings}) == len(findings)
        for finding in findings:
            assert isinstance(finding, Finding)
            assert finding.subject
            assert finding.detail
            assert bool(finding.advice) is (finding.level.value != "fine")

    async def test_closed_store_is_not_examined(self, harness: StoreHarness) -> None:
        """A store that is not open says so."""
        with pytest.raises(StoreUnavailable):
            await harness.new().examine()


async def _is_live(store: Store, id: str) -> bool:
    return not isinstance((await store.load([id])).get(id), Tombstone)
