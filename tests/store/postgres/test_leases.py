"""Taking over from a process that may still be writing; what leases do is conformance."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Commit, Lease
from store.postgres import PostgresStore, sessions
from tests.conformance.store import TTL_MS, ids_of, put, row, take, write
from tests.store.postgres.conftest import FENCE, Sql, blocked, commit_in_flight, expire

ROOT = Path(__file__).parents[3]
OWNER = f"""
import asyncio, sys
import asyncpg
from store.postgres.sessions import SETTINGS

async def main():
    settings = {{**SETTINGS, "search_path": "flow_suite"}}
    connection = await asyncpg.connect(sys.argv[1], server_settings=settings)
    await connection.execute("BEGIN")
    assert await connection.fetch({FENCE!r}, 0, "one", 1)
    print("locked", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def stopped_owner(url: str) -> Generator[None]:
    """Have a process that holds the fence of partition 0, and has been stopped there."""
    command = [sys.executable, "-c", OWNER, url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "locked\n"
            os.kill(process.pid, signal.SIGSTOP)
            yield
        finally:
            process.kill()


async def test_takeover_sees_the_last_commit(
    store: PostgresStore, other: PostgresStore, sql: Sql, watch: Sql
) -> None:
    """A new owner waits for a commit that is in flight, and what it loads then has it."""
    (old,) = await take(store, 0)
    await expire(sql)
    in_flight = asyncio.Event()

    async def commit() -> None:
        async with commit_in_flight(sql, old, "late"):
            in_flight.set()
            await blocked(watch)
            assert await ids_of(other, "late") == set()

    async def take_over() -> set[str]:
        await in_flight.wait()
        assert await other.acquire(0, "two", TTL_MS) == Lease(0, "two", 2)
        return await ids_of(other, "late")

    _, found = await asyncio.gather(commit(), take_over())
    assert found == {"late"}


async def test_commit_that_waits_for_a_takeover_is_lost(
    store: PostgresStore, sql: Sql, watch: Sql
) -> None:
    """A commit whose partition changes hands while it waits writes nothing of it."""
    leases = await take(store, 0, 1)
    taking = asyncio.Event()

    async def take_over() -> None:
        async with sql.transaction():
            await sql.execute("UPDATE partition SET owner = 'two', epoch = 2 WHERE id = 0")
            taking.set()
            await blocked(watch)

    async def commit() -> frozenset[int]:
        await taking.wait()
        writes = (write(row("lost", 0)), write(row("stands", 1)))
        return (await store.commit(Commit(leases, writes))).lost

    _, lost = await asyncio.gather(take_over(), commit())
    assert lost == {0}
    assert await ids_of(store, "lost", "stands") == {"stands"}


async def test_stopped_owner_is_cut_off(store: PostgresStore, sql: Sql, database_url: str) -> None:
    """A process that stops in the middle of a transaction holds up a takeover for seconds only."""
    await take(store, 0)
    await expire(sql)
    loop = asyncio.get_running_loop()
    with stopped_owner(database_url):
        begun = loop.time()
        assert await store.acquire(0, "two", TTL_MS) == Lease(0, "two", 2)
        assert loop.time() - begun < sessions.LOCK_S


async def test_waiting_for_an_owner_is_bounded(
    store: PostgresStore, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that does not end makes a takeover fail after a while, and can be retried."""
    (old,) = await take(store, 0)
    await expire(sql)
    assert store._sessions
    monkeypatch.setattr(store._sessions.owning, "_settings", {"lock_timeout": "200ms"})
    await store._sessions.owning.run(lambda connection: connection.close())
    async with commit_in_flight(sql, old, "late"):
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await store.acquire(0, "two", TTL_MS)
    assert await store.acquire(0, "two", TTL_MS) == Lease(0, "two", 2)


async def test_renewed_lease_is_not_taken(
    store: PostgresStore, other: PostgresStore, sql: Sql, watch: Sql
) -> None:
    """A lease that is renewed while somebody waits to take it stays where it is."""
    (old,) = await take(store, 0)
    await expire(sql)
    in_flight = asyncio.Event()

    async def commit() -> None:
        async with commit_in_flight(sql, old, "a"):
            in_flight.set()
            await blocked(watch)
            assert (await store.renew("one", [old], TTL_MS)).held == {0}

    async def take_over() -> Lease | None:
        await in_flight.wait()
        return await other.acquire(0, "two", TTL_MS)

    _, taken = await asyncio.gather(commit(), take_over())
    assert taken is None
    await put(store, (old,), write(row("b")))


async def test_renewal_waits_for_no_commit(store: PostgresStore, sql: Sql) -> None:
    """While a commit is in flight, the leases are renewed and the incarnation is noted."""
    (lease,) = await take(store, 0)
    async with commit_in_flight(sql, lease, "a"):
        assert (await store.renew("one", [lease], TTL_MS)).held == {0}
        await store.note_incarnation([lease], "first")
    assert await store.acquire(0, "one", TTL_MS) == Lease(0, "one", 2, "first")


async def test_renewal_waits_for_no_other_call(store: PostgresStore, sql: Sql, watch: Sql) -> None:
    """While an acquire waits for a zombie, and a commit for a lock, renewals go on."""
    leases = await take(store, 0, 1)
    in_flight = asyncio.Event()

    async def hold() -> None:
        async with commit_in_flight(sql, leases[0], "a"):
            in_flight.set()
            await blocked(watch)
            assert (await store.renew("one", leases, TTL_MS)).held == {0, 1}

    async def take_again() -> Lease | None:
        await in_flight.wait()
        return await store.acquire(0, "one", TTL_MS)

    _, again = await asyncio.gather(hold(), take_again())
    assert again == Lease(0, "one", 2)


async def test_time_is_the_databases(store: PostgresStore, sql: Sql) -> None:
    """Leases and members run out by the database's clock, and renewals tell that clock."""
    leases = await take(store, 0)
    now_ms = (await store.renew("one", leases, TTL_MS)).now_ms
    left = await sql.fetch(
        "SELECT extract(epoch FROM expires) * 1000 - $1::bigint AS left FROM lease "
        "WHERE partition = 0 UNION ALL "
        "SELECT extract(epoch FROM expires) * 1000 - $1::bigint FROM member",
        now_ms,
    )
    assert [abs(each["left"] - TTL_MS) < 1_000 for each in left] == [True, True]


async def test_expired_members_are_cleared(store: PostgresStore, sql: Sql) -> None:
    """Members that are long gone do not pile up."""
    await sql.execute(
        "INSERT INTO member SELECT 'm' || n, '-infinity' FROM generate_series(1, 9) n"
    )
    assert (await store.renew("one", (), TTL_MS)).members == ("one",)
    assert await sql.fetchval("SELECT count(*) FROM member") == 1
