"""Commits that something happens to in the middle; what they write is conformance."""

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from flow.errors import InvalidInput, StoreUnavailable
from flow.ports import Commit, CommitResult, Lease
from flow.status import Status
from store.postgres import PostgresStore, commits, store as store_module
from store.postgres.statements import QUERIES
from store.recent import Recent
from tests.conformance.store import (
    NAMESPACE,
    TTL_MS,
    ids_of,
    load_one,
    put,
    row,
    take,
    waiting,
    write,
)
from tests.servers.proxy import proxied
from tests.store.postgres.conftest import Sql, answered, blocked, commit_in_flight, pids


async def test_commit_is_one_statement(store: PostgresStore) -> None:
    """However much a commit writes, it is one statement and so one round trip."""
    leases = await take(store, 0, 1)
    first = row("a")._replace(labels={"team": "red"}, wake_ms=5)
    await put(store, leases, write(first), write(row("c", 1)))
    assert store._sessions
    connection = store._sessions.committing._connection
    assert connection
    queries: list[str] = []
    last = first._replace(status=Status.SUCCESS, ended_ms=9, labels={"team": "blue"})
    with connection.query_logger(lambda record: queries.append(record.query)):
        await store.commit(
            Commit(
                leases,
                (write(last, 2), write(row("b"))),
                (waiting(1), waiting(2, "b"), waiting(1, "c", 1)),
                ((0, 7),),
                (),
                (("c", 8),),
            )
        )
        # The driver tells in the next round of the event loop.
        await asyncio.sleep(0)
    assert len(queries) == 1
    assert (await load_one(store, "c")).summary.wake_ms == 8


async def test_progress_stays_on_its_page(store: PostgresStore, sql: Sql) -> None:
    """A commit that moves no wake time and changes no fact writes no index of a row."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    for seq in range(2, 12):
        await put(store, leases, write(row("a")._replace(updated_ms=seq), seq))
    await store.close()
    counts = await sql.fetchrow(
        "SELECT pg_stat_force_next_flush(), sum(n_tup_upd) AS updates, sum(n_tup_hot_upd) AS hot "
        "FROM pg_stat_user_tables WHERE relname IN ('progress', 'execution')"
    )
    assert counts
    assert (counts["updates"], counts["hot"]) == (10, 10)


async def test_going_on_is_a_small_statement(store: PostgresStore) -> None:
    """Of executions that this store has written only what changes is written, and it is whole."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")), write(row("b")))
    assert store._sessions
    connection = store._sessions.committing._connection
    assert connection
    queries: list[str] = []
    later = row("a")._replace(updated_ms=7, wake_ms=9)
    with connection.query_logger(lambda record: queries.append(record.query)):
        await put(store, leases, write(later, 2), write(row("b"), 2))
        # The driver tells in the next round of the event loop.
        await asyncio.sleep(0)
    assert queries == [QUERIES["go_on"]]
    found = await load_one(store, "a")
    assert (found.summary, found.seq) == (later, 2)


async def test_what_others_wrote_is_overwritten(store: PostgresStore, other: PostgresStore) -> None:
    """A row that somebody else has changed meanwhile is not taken for the one of before."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    await store.release(leases)
    theirs = await take(other, 0)
    await put(other, theirs, write(row("a")._replace(incident="look"), 2))
    await other.release(theirs)
    await put(store, await take(store, 0), write(row("a"), 3))
    assert (await load_one(store, "a")).summary.incident == ""


async def test_going_on_with_what_is_gone(
    store: PostgresStore, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody has deleted is a conflict, although it was there a moment ago."""
    monkeypatch.setattr(commits, "_PAUSES_S", (0.0, 0.0, 0.0))
    leases = await take(store, 0)
    await put(store, leases, write(row("a")), write(row("b")))
    await sql.execute("DELETE FROM progress USING execution WHERE number = execution AND id = 'a'")
    await sql.execute("DELETE FROM execution WHERE id = 'a'")
    writes = (write(row("a"), 2), write(row("b"), 2))
    assert await store.commit(Commit(leases, writes)) == CommitResult(conflicts=frozenset({"a"}))
    assert (await load_one(store, "b")).seq == 1


async def test_conflict_stops_who_only_goes_on(store: PostgresStore) -> None:
    """If one execution of a commit is in conflict, then none goes on."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    commit = Commit(leases, (write(row("a"), 2), write(row("b"), 2)))
    assert await store.commit(commit) == CommitResult(conflicts=frozenset({"b"}))
    assert (await load_one(store, "a")).seq == 1


async def test_lost_partition_does_not_go_on(store: PostgresStore) -> None:
    """Of executions that only go on, those of lost partitions are left out, and no others."""
    mine, lost = await take(store, 0, 1)
    await put(store, (mine, lost), write(row("a")), write(row("b", 1)))
    forged = (mine, replace(lost, epoch=lost.epoch + 1))
    commit = Commit(forged, (write(row("a"), 2), write(row("b", 1), 2)))
    assert await store.commit(commit) == CommitResult(lost=frozenset({1}))
    assert ((await load_one(store, "a")).seq, (await load_one(store, "b")).seq) == (2, 1)
    await put(store, (mine, lost), write(row("a"), 3), write(row("b", 1), 2))


async def test_backend_killed_before_the_commit(store: PostgresStore, sql: Sql, watch: Sql) -> None:
    """A backend that dies while it writes leaves nothing; the store says that it does not know."""
    leases = await take(store, 0)
    held = asyncio.Event()

    async def kill() -> None:
        async with sql.transaction():
            await sql.execute("SELECT FROM partition WHERE id = 0 FOR UPDATE")
            held.set()
            await blocked(watch)
            for pid in await pids(watch, "A whole group commit"):
                await watch.execute("SELECT pg_terminate_backend($1)", pid)

    async def commit() -> None:
        await held.wait()
        with pytest.raises(StoreUnavailable, match="terminating connection"):
            await store.commit(Commit(leases, (write(row("a")),)))

    await asyncio.gather(kill(), commit())
    assert await ids_of(store, "a") == set()
    await put(store, leases, write(row("a")))


async def test_answer_lost_after_the_commit(
    database_url: str, store: PostgresStore, watch: Sql
) -> None:
    """A commit whose answer is lost is not known to have happened, and has."""
    leases = await take(store, 0)
    async with proxied(database_url) as proxy:
        far = PostgresStore(proxy.url)
        await far.open(NAMESPACE)
        await put(far, leases, write(row("a")))

        async def cut() -> None:
            await answered(watch, "SELECT count(*) FROM execution WHERE id = 'b'")
            proxy.cut()

        proxy.is_deaf = True
        outcome, _ = await asyncio.gather(
            far.commit(Commit(leases, (write(row("b")),))), cut(), return_exceptions=True
        )
        assert isinstance(outcome, StoreUnavailable)
        proxy.is_deaf = False
        (again,) = await take(far, 0)
        assert (await load_one(far, "b")).seq == 1
        await put(far, (again,), write(row("b"), 2))
        await far.close()


async def test_silent_server_is_given_up(
    database_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer is given up after the deadline, with its connection."""
    leases = await take(store, 0)
    async with proxied(database_url) as proxy:
        far = PostgresStore(proxy.url)
        await far.open(NAMESPACE)
        await put(far, leases, write(row("a")))
        assert far._sessions
        used = far._sessions.committing._connection
        assert used
        monkeypatch.setattr(store_module, "COMMIT_S", 0.2)
        proxy.is_deaf = True
        with pytest.raises(StoreUnavailable, match=r"not answered within 0\.2 s"):
            await far.commit(Commit(leases, (write(row("b")),)))
        assert used.is_closed()
        proxy.is_deaf = False
        monkeypatch.undo()
        (again,) = await take(far, 0)
        await put(far, (again,), write(row("c")))
        await far.close()


async def test_cancelled_commit_throws_its_connection_away(
    store: PostgresStore, sql: Sql, watch: Sql
) -> None:
    """Whoever stops waiting for a commit never shares a connection with what it has asked."""
    (lease,) = await take(store, 0)
    await put(store, (lease,), write(row("a")))
    assert store._sessions
    used = store._sessions.committing._connection
    assert used
    async with sql.transaction():
        await sql.execute("SELECT FROM partition WHERE id = 0 FOR UPDATE")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.commit(Commit((lease,), (write(row("b")),))), 0.2)
    assert used.is_closed()
    (again,) = await take(store, 0)
    loaded = await ids_of(store, "b")
    await put(store, (again,), write(row("b"), 1 + len(loaded)))


POISON: list[tuple[str, dict[str, Any]]] = [
    ("NUL in a text", {"incident": "a\0b"}),
    ("half a surrogate pair", {"incident": "\ud800"}),
    ("NUL in a label", {"labels": {"team": "a\0b"}}),
    ("half a pair in a label", {"labels": {"team": "\udfff"}}),
    ("a time beyond bigint", {"wake_ms": 2**63}),
    ("a label too large for an index", {"labels": {"team": "".join(map(chr, range(256, 9_000)))}}),
    ("a partition beyond integer", {"partition": 2**40}),
]


@pytest.mark.parametrize(("what", "change"), POISON, ids=[what for what, _ in POISON])
async def test_poisoned_row_is_invalid_input(
    store: PostgresStore, what: str, change: dict[str, Any]
) -> None:
    """A value that PostgreSQL cannot store is told apart from a failure; nothing is written."""
    leases = await take(store, 0)
    poisoned = row("bad")._replace(**change)
    with pytest.raises(InvalidInput) as caught:
        await store.commit(Commit(leases, (write(row("good")), write(poisoned)), (waiting(1),)))
    assert "good" not in str(caught.value)
    assert await ids_of(store, "good", "bad") == set()
    await put(store, leases, write(row("good")))


async def test_pruned_meanwhile_is_a_conflict(store: PostgresStore, sql: Sql, watch: Sql) -> None:
    """A commit for an execution that is pruned at the same moment writes nothing, and says so."""
    leases = await take(store, 0)
    ended = row("a")._replace(status=Status.FAILURE, ended_ms=5)
    await put(store, leases, write(ended))
    locked = asyncio.Event()

    async def prune() -> None:
        async with sql.transaction():
            await sql.execute("SELECT FROM progress FOR UPDATE")
            locked.set()
            await blocked(watch)
            await sql.execute("INSERT INTO tombstone VALUES ('a', 0, 'w', 'FAILURE', 5, '')")
            for table in ("journal", "progress", "execution"):
                await sql.execute(f"DELETE FROM {table}")

    async def commit() -> CommitResult:
        await locked.wait()
        return await store.commit(Commit(leases, (write(row("a"), 2), write(row("b")))))

    _, result = await asyncio.gather(prune(), commit())
    assert result == CommitResult(conflicts=frozenset({"a"}))
    assert await sql.fetchval("SELECT count(*) FROM journal") == 0
    assert await ids_of(store, "b") == set()


class Faulty:
    """Stands in for writing: fails with what is given, one after another, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = [*errors]
        self.calls = 0

    async def write(self, connection: object, recent: Recent, commit: Commit) -> CommitResult:
        """Fail or succeed."""
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return CommitResult()


@pytest.mark.parametrize(
    "error", [asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError]
)
async def test_refused_commit_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: type[asyncpg.PostgresError]
) -> None:
    """What the server has surely not written is written by a later try."""
    faulty = Faulty(error("no"), error("no"))
    monkeypatch.setattr(commits, "_write", faulty.write)
    monkeypatch.setattr(commits, "_PAUSES_S", (0.0, 0.0, 0.0))
    connection: Any = None
    assert await commits.commit(connection, Recent(), Commit(())) == CommitResult()
    assert faulty.calls == 3


async def test_trying_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries the error goes to the caller, and other errors do at once."""
    monkeypatch.setattr(commits, "_PAUSES_S", (0.0, 0.0, 0.0))
    connection: Any = None
    stubborn = Faulty(*(asyncpg.DeadlockDetectedError("no") for _ in range(9)))
    monkeypatch.setattr(commits, "_write", stubborn.write)
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await commits.commit(connection, Recent(), Commit(()))
    assert stubborn.calls == 4
    broken = Faulty(asyncpg.UndefinedTableError("no"))
    monkeypatch.setattr(commits, "_write", broken.write)
    with pytest.raises(asyncpg.UndefinedTableError):
        await commits.commit(connection, Recent(), Commit(()))
    assert broken.calls == 1


async def test_parts_are_one_transaction(store: PostgresStore, sql: Sql) -> None:
    """A commit in several statements is undone as a whole when one of them fails."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    await sql.execute("ALTER TABLE label RENAME TO hidden")
    commit = Commit(leases, (write(row("b")),), (waiting(1),), ((0, 1),), ("a",))
    with pytest.raises(StoreUnavailable):
        await store.commit(commit)
    await sql.execute("ALTER TABLE hidden RENAME TO label")
    assert await ids_of(store, "a", "b") == {"a"}
    assert await store.commit(commit) == CommitResult()
    assert await ids_of(store, "a", "b") == {"b"}


async def test_row_named_twice(store: PostgresStore) -> None:
    """What is written and woken, or queued and settled, in one commit ends as the last of them."""
    leases = await take(store, 0)
    commit = Commit(
        leases,
        (write(row("a")),),
        (waiting(1), waiting(2)),
        ((0, 1),),
        (),
        (("a", 5), ("a", 7)),
    )
    assert await store.commit(commit) == CommitResult()
    assert (await load_one(store, "a")).summary.wake_ms == 7
    assert await store.outbox(0, 0, 9) == [waiting(2)]


async def test_zombie_in_flight_and_new_owner(
    store: PostgresStore, other: PostgresStore, sql: Sql, watch: Sql
) -> None:
    """What a zombie commits after the takeover is lost, however the two interleave."""
    (old,) = await take(store, 0)
    async with commit_in_flight(sql, old, "mine"):
        await sql.execute("UPDATE lease SET expires = '-infinity'")
    assert await other.acquire(0, "two", TTL_MS) == Lease(0, "two", 2)
    assert (await store.commit(Commit((old,), (write(row("b")),)))).lost == {0}
    assert await ids_of(other, "mine", "b") == {"mine"}
