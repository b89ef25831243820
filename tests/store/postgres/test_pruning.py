"""Pruning beside others who prune and write; what it does is conformance."""

import asyncio

from flow.ports import Pruned, StoredExecution
from flow.status import Status
from store.postgres import PostgresStore
from store.postgres.statements import QUERIES
from tests.conformance.store import put, row, take, write
from tests.store.postgres.conftest import Sql

TABLES = ("execution", "progress", "journal", "label", "tombstone", "outbox")


async def fill(store: PostgresStore, count: int) -> None:
    """Write executions that have ended."""
    leases = await take(store, 0, 1, 2, 3)
    rows = [
        row(f"e{number}", number % 4)._replace(
            status=Status.SUCCESS,
            ended_ms=number,
            labels={"team": "red"},
        )
        for number in range(count)
    ]
    await put(store, leases, *(write(each) for each in rows))


async def counts(sql: Sql) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_nothing_is_left_over(store: PostgresStore, sql: Sql) -> None:
    """After pruning in pages nothing is left but tombstones, and after forgetting nothing."""
    await fill(store, 25)
    done = [await store.prune(10**6, -1, 10) for _ in range(3)]
    assert [each.executions for each in done] == [10, 10, 5]
    assert [each.has_more for each in done] == [True, True, False]
    assert await counts(sql) == {**dict.fromkeys(TABLES, 0), "tombstone": 25}
    assert await store.prune(10**6, 10**6, 100) == Pruned(0, 25, has_more=False)
    assert await counts(sql) == dict.fromkeys(TABLES, 0)


async def test_several_prune_at_once(store: PostgresStore, other: PostgresStore, sql: Sql) -> None:
    """Of several who prune at once each takes what no other does."""
    await fill(store, 60)
    done = await asyncio.gather(
        *(each.prune(10**6, -1, 20) for each in (store, other, store, other))
    )
    rest = await store.prune(10**6, -1, 100)
    assert sum(each.executions for each in done) + rest.executions == 60
    assert await counts(sql) == {**dict.fromkeys(TABLES, 0), "tombstone": 60}


async def test_what_is_being_written_is_passed_over(store: PostgresStore, sql: Sql) -> None:
    """An execution that a commit has just locked is left for the next time, without waiting."""
    await fill(store, 3)
    async with sql.transaction():
        await sql.execute(
            "SELECT FROM progress JOIN execution ON number = execution WHERE id = 'e1' FOR UPDATE"
        )
        assert await store.prune(10**6, -1, 10) == Pruned(2, 0, has_more=True)
    assert isinstance((await store.load(["e1"]))["e1"], StoredExecution)
    assert await store.prune(10**6, -1, 10) == Pruned(1, 0, has_more=False)


async def test_message_that_comes_last_keeps_it(store: PostgresStore, sql: Sql, watch: Sql) -> None:
    """What gets a message to send after it was locked for pruning is not pruned."""
    await fill(store, 2)
    async with sql.transaction():
        locked = await sql.fetch(QUERIES["lock_ended"], 10**6, 10)
        await watch.execute("INSERT INTO outbox VALUES (0, 1, 'e1', '')")
        buried = await sql.fetchval(QUERIES["bury"], [each["number"] for each in locked])
    assert (len(locked), buried) == (2, 1)
    assert isinstance((await store.load(["e1"]))["e1"], StoredExecution)
