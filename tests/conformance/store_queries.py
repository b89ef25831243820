"""What every store must answer: loading, paging, what is due, lists, and definitions."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from flow.errors import UnknownExecution
from flow.ports import (
    Commit,
    CommitResult,
    DefinitionRecord,
    Due,
    ExecutionQuery,
    ExecutionSummary,
    ExecutionWrite,
    JournalRecord,
    StepRecord,
    Store,
)
from flow.status import Status
from tests.conformance.store import (
    NAMESPACE,
    StoreHarness,
    load_one,
    put,
    row,
    take,
    waiting,
    write,
)


async def found(store: Store, query: ExecutionQuery) -> list[str]:
    """Return the ids that a list answers."""
    return [summary.id for summary in await store.list(query)]


class LoadSuite:
    """Loading executions, their histories, and what is left of a partition."""

    async def test_unknown_is_left_out(self, store: Store) -> None:
        """Loading answers for the executions that exist."""
        await put(store, await take(store, 0), write(row("a")))
        assert (await store.load(["a", "b"])).keys() == {"a"}
        assert await store.load([]) == {}

    async def test_load_begins_at_last_snapshot(self, store: Store) -> None:
        """Records before the last snapshot are not loaded, and stay in the history."""
        leases = await take(store, 0)
        for seq in range(1, 7):
            record = ExecutionWrite(row("a"), seq, b"%d" % seq, is_snapshot=seq in {1, 3, 5})
            await put(store, leases, record, write(row("b"), seq, b"b%d" % seq))
        loaded = await load_one(store, "a")
        assert (loaded.seq, loaded.records) == (6, (b"5", b"6"))
        assert (await load_one(store, "b")).records == (b"b1", b"b2", b"b3", b"b4", b"b5", b"b6")

    async def test_history_is_paged(self, store: Store) -> None:
        """History comes in pages, oldest first, and tells which records are snapshots."""
        leases = await take(store, 0)
        for seq in range(1, 6):
            await put(store, leases, write(row("a"), seq, b"%d" % seq))
        records = [JournalRecord(seq, b"%d" % seq, seq == 1) for seq in range(1, 6)]
        assert await store.history("a", 0, 2) == records[:2]
        assert await store.history("a", 2, 2) == records[2:4]
        assert await store.history("a", 4, 2) == records[4:]
        assert await store.history("a", 5, 2) == []
        assert await store.history("unknown", 0, 2) == []

    async def test_outbox_is_paged(self, store: Store) -> None:
        """Outbox rows come in pages in number order, however they were added."""
        leases = await take(store, 0)
        for number in (5, 1, 4, 2, 3):
            await store.commit(Commit(leases, outbox=(waiting(number),)))
        assert await store.outbox(0, 0, 2) == [waiting(1), waiting(2)]
        assert await store.outbox(0, 2, 9) == [waiting(3), waiting(4), waiting(5)]
        assert await store.outbox(0, 5, 9) == []
        assert await store.outbox(1, 0, 9) == []

    async def test_active_is_paged(self, store: Store) -> None:
        """Executions that have not ended come in pages in the order of their ids' code points."""
        leases = await take(store, 0, 1)
        ids = ["B", "a", "C", "b-2", "b-10", "0"]
        times = [9, 1, 2, 8, 5, 9]
        due = dict(zip(ids, times, strict=True))
        rows = [row(each)._replace(wake_ms=wake_ms) for each, wake_ms in due.items()]
        other = row("other", 1)._replace(wake_ms=1)
        await put(store, leases, *(write(each) for each in rows), write(other))
        ended = row("a")._replace(status=Status.SUCCESS, ended_ms=2_000, wake_ms=1)
        await put(store, leases, write(ended, 2))
        assert await store.active(0, 9, "", 3) == ["0", "B", "C"]
        assert await store.active(0, 9, "C", 3) == ["b-10", "b-2"]
        assert await store.active(0, 9, "b-2", 3) == []
        assert await store.active(1, 9, "", 3) == ["other"]

    async def test_active_is_what_wakes_soon(self, store: Store) -> None:
        """What wakes later than is asked for, or not at all, is no part of the pages."""
        leases = await take(store, 0)
        times = {"a": 30, "b": 10, "c": 20, "d": None, "e": 21}
        rows = [row(each)._replace(wake_ms=wake_ms) for each, wake_ms in times.items()]
        await put(store, leases, *(write(each) for each in rows))
        assert await store.active(0, 20, "", 9) == ["b", "c"]
        assert await store.active(0, 30, "a", 2) == ["b", "c"]
        assert await store.active(0, 9, "", 9) == []
        await store.commit(Commit(leases, wakes=(("d", 9), ("b", None))))
        assert await store.active(0, 20, "", 9) == ["c", "d"]

    async def test_revived_execution_is_active(self, store: Store) -> None:
        """An execution that goes on after its end is active again."""
        leases = await take(store, 0)
        await put(store, leases, write(row("a")._replace(status=Status.FAILURE, ended_ms=5)))
        assert await store.active(0, 9, "", 9) == []
        await put(store, leases, write(row("a")._replace(wake_ms=9), 2))
        assert await store.active(0, 9, "", 9) == ["a"]


class DueSuite:
    """What a partition has to wake."""

    async def test_due_is_in_wake_order(self, store: Store) -> None:
        """The most overdue comes first, up to the limit; then it says when the next one is."""
        leases = await take(store, 0, 1)
        times = {"a": 30, "b": 10, "c": 20, "d": 40, "e": None}
        rows = [row(each)._replace(wake_ms=wake_ms) for each, wake_ms in times.items()]
        other = row("other", 1)._replace(wake_ms=5)
        await put(store, leases, *(write(each) for each in rows), write(other))
        assert await store.due(0, 30, 10) == Due(("b", "c", "a"), 40)
        assert await store.due(0, 30, 2) == Due(("b", "c"), 30)
        assert await store.due(0, 9, 10) == Due((), 10)
        assert await store.due(0, 10, 10) == Due(("b",), 20)
        assert await store.due(0, 99, 10) == Due(("b", "c", "a", "d"), None)
        assert await store.due(0, 99, 4) == Due(("b", "c", "a", "d"), None)
        assert await store.due(2, 99, 10) == Due((), None)

    async def test_equal_times_are_all_found(self, store: Store) -> None:
        """Of executions that wake at the same time, a limit hides none for good."""
        leases = await take(store, 0)
        rows = [row(each)._replace(wake_ms=10) for each in ("a", "b", "c")]
        await put(store, leases, *(write(each) for each in rows))
        assert (await store.due(0, 10, 2)).next_ms == 10
        everything = await store.due(0, 10, 3)
        assert (set(everything.executions), everything.next_ms) == ({"a", "b", "c"}, None)

    async def test_waking_moves(self, store: Store) -> None:
        """A new time replaces the old one, and none takes the execution off the list."""
        leases = await take(store, 0)
        await put(store, leases, write(row("a")._replace(wake_ms=10)))
        await put(store, leases, write(row("a")._replace(wake_ms=50), 2))
        assert await store.due(0, 20, 9) == Due((), 50)
        await put(store, leases, write(row("a"), 3))
        assert await store.due(0, 99, 9) == Due((), None)

    async def test_waking_alone(self, store: Store) -> None:
        """A new time can be written by itself: no record comes with it, and no other column."""
        leases = await take(store, 0)
        await put(store, leases, write(row("a")), write(row("b")._replace(wake_ms=10)))
        wakes = (("a", 20), ("b", None), ("unknown", 5))
        assert await store.commit(Commit(leases, wakes=wakes)) == CommitResult()
        assert await store.due(0, 99, 9) == Due(("a",), None)
        loaded = await load_one(store, "a")
        assert loaded.summary == row("a")._replace(wake_ms=20)
        assert loaded.seq == 1
        assert (await load_one(store, "b")).summary == row("b")


class ListSuite:
    """Lists for people: newest first, filtered, in pages."""

    async def fill(self, store: Store) -> None:
        """Write six executions: e is the newest but for f, which is as new and came later."""
        leases = await take(store, 0, 1)
        rows: list[ExecutionSummary] = [
            row("a", 0, 1)._replace(labels={"team": "red", "size": "big"}),
            row("b", 1, 4)._replace(status=Status.FAILURE, ended_ms=9, incident="look"),
            row("c", 0, 3)._replace(workflow="refund", labels={"team": "red"}),
            row("d", 1, 2)._replace(status=Status.SUCCESS, ended_ms=9, labels={"team": "blue"}),
            row("e", 0, 5)._replace(workflow="refund", incident="look", labels={"size": "big"}),
            row("f", 1, 5)._replace(status=Status.FAILURE, ended_ms=9, labels={"team": "red"}),
        ]
        for each in rows:
            await put(store, leases, write(each))

    async def test_newest_first(self, store: Store) -> None:
        """A list without filters has everything, newest first, later insertions before earlier."""
        await self.fill(store)
        assert await found(store, ExecutionQuery()) == ["f", "e", "b", "c", "d", "a"]

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            (ExecutionQuery(statuses=(Status.FAILURE,)), "fb"),
            (ExecutionQuery(statuses=(Status.FAILURE, Status.SUCCESS)), "fbd"),
            (ExecutionQuery(statuses=(Status.SUCCESS, Status.SUCCESS)), "d"),
            (ExecutionQuery(statuses=(Status.ABORTED,)), ""),
            (ExecutionQuery(workflow="refund"), "ec"),
            (ExecutionQuery(workflow="checkout", statuses=(Status.RUNNING,)), "a"),
            (ExecutionQuery(workflow="unknown"), ""),
            (ExecutionQuery(incidents=True), "eb"),
            (ExecutionQuery(incidents=True, workflow="refund"), "e"),
            (ExecutionQuery(incidents=True, statuses=(Status.FAILURE,)), "b"),
            (ExecutionQuery(labels={"team": "red"}), "fca"),
            (ExecutionQuery(labels={"team": "red", "size": "big"}), "a"),
            (ExecutionQuery(labels={"size": "big", "team": "blue"}), ""),
            (ExecutionQuery(labels={"team": "big"}), ""),
            (ExecutionQuery(labels={"team": "red"}, workflow="refund"), "c"),
            (ExecutionQuery(labels={"team": "red"}, statuses=(Status.FAILURE,)), "f"),
            (ExecutionQuery(labels={"size": "big"}, incidents=True), "e"),
            (ExecutionQuery(partition=1), "fbd"),
            (ExecutionQuery(partition=3), ""),
            (ExecutionQuery(partition=0, workflow="refund"), "ec"),
            (ExecutionQuery(partition=1, workflow="refund"), ""),
            (ExecutionQuery(partition=1, statuses=(Status.FAILURE, Status.RUNNING)), "fb"),
            (ExecutionQuery(partition=0, labels={"team": "red"}), "ca"),
            (ExecutionQuery(partition=1, incidents=True), "b"),
        ],
    )
    async def test_filters(self, store: Store, query: ExecutionQuery, ids: str) -> None:
        """Every filter, and every two of them together, select what they name."""
        await self.fill(store)
        assert await found(store, query) == list(ids)
        assert await found(store, replace(query, limit=1)) == list(ids)[:1]

    @pytest.mark.parametrize(
        "query",
        [
            ExecutionQuery(),
            ExecutionQuery(statuses=(Status.RUNNING, Status.FAILURE)),
            ExecutionQuery(workflow="refund"),
            ExecutionQuery(incidents=True),
            ExecutionQuery(labels={"team": "red"}),
            ExecutionQuery(partition=0),
        ],
    )
    async def test_pages_make_the_whole(self, store: Store, query: ExecutionQuery) -> None:
        """Pages of any size, one after another, are the list without gaps and repetitions."""
        await self.fill(store)
        whole = await found(store, query)
        for limit in (1, 2, 3):
            pages: list[str] = []
            page = await found(store, replace(query, limit=limit))
            while page:
                pages += page
                page = await found(store, replace(query, limit=limit, before=page[-1]))
            assert pages == whole

    async def test_unknown_mark_is_refused(self, store: Store) -> None:
        """A page after an execution that is not there is an error, not the end of the list."""
        await self.fill(store)
        with pytest.raises(UnknownExecution):
            await store.list(ExecutionQuery(before="gone"))

    async def test_list_follows_changes(self, store: Store) -> None:
        """Filters see the rows as they are now, and not as they were."""
        leases = await take(store, 0)
        first = row("a")._replace(labels={"team": "red"}, incident="look")
        await put(store, leases, write(first))
        last = row("a")._replace(status=Status.SUCCESS, ended_ms=9, labels={"team": "blue"})
        await put(store, leases, write(last, 2))
        assert await found(store, ExecutionQuery(labels={"team": "red"})) == []
        assert await found(store, ExecutionQuery(statuses=(Status.RUNNING,))) == []
        assert await found(store, ExecutionQuery(incidents=True)) == []
        assert await store.list(ExecutionQuery(labels={"team": "blue"})) == [last]


class DefinitionSuite:
    """Definitions of workflows, and the broker's incarnation."""

    async def test_newest_is_current(self, store: Store) -> None:
        """The definition that was saved last is the current one, and older ones are kept."""
        old = DefinitionRecord("checkout", "h1", "v1", b'{"v":1}', 1)
        new = DefinitionRecord("checkout", "h2", "v2", b'{"v":2}', 2)
        other = DefinitionRecord("a-first", "h3", "", b"\x00\xff", 3)
        for record in (old, new, other):
            await store.save_definition(record)
        assert await store.definitions() == [other, new]
        assert await store.definitions(id="checkout") == [new]
        assert await store.definitions(hash="h1") == [old]
        assert await store.definitions(id="unknown") == []
        assert await store.definitions(hash="unknown") == []

    async def test_saving_again_is_harmless(self, store: Store) -> None:
        """Saving a definition again makes it current, and keeps what was saved first."""
        old = DefinitionRecord("checkout", "h1", "", b"1", 1)
        new = DefinitionRecord("checkout", "h2", "", b"2", 2)
        for record in (old, new, replace(old, saved_ms=3)):
            await store.save_definition(record)
        assert await store.definitions(id="checkout") == [old]
        assert await store.definitions(hash="h2") == [new]

    async def test_removed_definition_is_kept(self, store: Store) -> None:
        """A removed workflow has no current definition; its versions are found by hash."""
        record = DefinitionRecord("checkout", "h1", "", b"1", 1)
        await store.save_definition(record)
        running = row("a")._replace(definition="h1")
        await put(store, await take(store, 0), write(running))
        assert await store.remove_definition("checkout") is True
        assert await store.remove_definition("checkout") is False
        assert await store.definitions() == []
        assert await store.definitions(id="checkout") == []
        assert await store.definitions(hash="h1") == [record]

    async def test_incarnation_is_swapped_once(self, store: Store) -> None:
        """Who expects the incarnation that stands replaces it; others learn what stands."""
        assert await store.incarnate("", "first") == "first"
        assert await store.incarnate("", "late") == "first"
        assert await store.incarnate("first", "second") == "second"
        assert await store.incarnate("first", "third") == "second"
        assert await store.incarnate("second", "second") == "second"


class CatalogueSuite:
    """Steps, pauses, and the revision that tells when a copy of them is an old one."""

    async def test_steps_are_kept_by_id(self, store: Store) -> None:
        """Announced steps come back as they were, in the order of their ids."""
        records = [
            step("ship"),
            step("Charge", body=b"\x00\xff"),
            step("hold", service="inventory"),
        ]
        assert [await store.save_step(each) for each in records] == records
        assert await store.steps() == [records[1], records[2], records[0]]

    async def test_service_replaces_its_step(self, store: Store) -> None:
        """A service that announces another declaration of its step replaces it."""
        old, new = step("ship"), replace(step("ship"), hash="h2", body=b"2", announced_ms=9)
        await store.save_step(old)
        assert await store.save_step(new) == new
        assert await store.steps() == [new]

    async def test_same_step_stays_as_it_was(self, store: Store) -> None:
        """Announcing the same once more keeps the time of the first announcement."""
        first = step("ship")
        await store.save_step(first)
        revision = await store.revision()
        assert await store.save_step(replace(first, announced_ms=99)) == first
        assert await store.steps() == [first]
        assert await store.revision() == revision

    @pytest.mark.parametrize("hash", ["h1", "h2"])
    async def test_first_service_stands(self, store: Store, hash: str) -> None:
        """A step that another service has announced stands, whether it is the same or not."""
        first = step("ship")
        await store.save_step(first)
        revision = await store.revision()
        other = replace(first, service="billing", hash=hash, body=b"other")
        assert await store.save_step(other) == first
        assert await store.steps() == [first]
        assert await store.revision() == revision

    async def test_removed_step_is_gone(self, store: Store) -> None:
        """A removed step may be announced by another service."""
        await store.save_step(step("ship"))
        assert await store.remove_step("ship") is True
        assert await store.remove_step("ship") is False
        assert await store.steps() == []
        other = step("ship", service="billing")
        assert await store.save_step(other) == other

    async def test_pauses_come_and_go(self, store: Store) -> None:
        """A pause is there with its command until it is ended; the last command counts."""
        await store.pause("checkout", "c1")
        await store.pause("refund", "c2")
        assert await store.pauses() == {"checkout": "c1", "refund": "c2"}
        await store.pause("checkout", "c3")
        await store.pause("refund", "")
        await store.pause("unknown", "")
        assert await store.pauses() == {"checkout": "c3"}

    async def test_revision_changes_with_changes(self, store: Store) -> None:
        """Each change of definitions, steps and pauses changes the revision, and nothing else."""
        record = DefinitionRecord("checkout", "h1", "", b"1", 1)
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: store.save_definition(record),
            lambda: store.save_definition(replace(record, hash="h2")),
            lambda: store.save_definition(record),
            lambda: store.remove_definition("checkout"),
            lambda: store.save_step(step("ship")),
            lambda: store.save_step(replace(step("ship"), hash="h2")),
            lambda: store.remove_step("ship"),
            lambda: store.pause("checkout", "c1"),
            lambda: store.pause("checkout", "c2"),
            lambda: store.pause("checkout", ""),
        ]
        seen = [await store.revision()]
        for change in changes:
            await change()
            seen.append(await store.revision())
            await store.pause("unknown", "")
            await store.remove_definition("unknown")
            await store.remove_step("unknown")
            await store.incarnate("unknown", "x")
            assert await store.revision() == seen[-1]
            assert (await store.renew("one", (), 1_000)).revision == seen[-1]
        assert len(set(seen)) == len(changes) + 1

    async def test_catalogue_stays(self, harness: StoreHarness, store: Store) -> None:
        """Steps, pauses and the revision are there when the store is opened again."""
        await store.save_step(step("ship"))
        await store.pause("checkout", "c1")
        revision = await store.revision()
        await store.close()
        again = harness.new()
        await again.open(NAMESPACE)
        assert await again.steps() == [step("ship")]
        assert await again.pauses() == {"checkout": "c1"}
        assert await again.revision() == revision
        await again.close()


def step(id: str, service: str = "shop", body: bytes = b"{}") -> StepRecord:
    """Return a step of the catalogue."""
    return StepRecord(id, service, "h1", body, 1)
