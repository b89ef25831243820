"""Stores on a fresh database, and connections beside them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import pytest

from flow.ports import Lease
from store.postgres import PostgresStore
from tests.conformance.store import NAMESPACE

Sql: TypeAlias = "asyncpg.Connection[Any]"

FENCE = "SELECT FROM partition WHERE id = $1 AND owner = $2 AND epoch = $3 FOR SHARE"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
SCHEMA = "flow_suite"


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Sql]:
    """Connect to a database, with the tables of the suite's namespace at hand."""
    connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
    try:
        yield connection
    finally:
        await connection.close()


async def blocked(watch: Sql) -> None:
    """Wait until somebody waits for a lock."""
    await answered(watch, BLOCKED)


async def answered(watch: Sql, query: str, *arguments: object) -> None:
    """Wait until a query answers something true."""
    async with asyncio.timeout(30):
        while not await watch.fetchval(query, *arguments):
            pass


@asynccontextmanager
async def commit_in_flight(sql: Sql, lease: Lease, id: str) -> AsyncGenerator[None]:
    """Hold the fence and write an execution, as a commit does; it ends with the block."""
    async with sql.transaction():
        assert await sql.fetch(FENCE, lease.partition, lease.owner, lease.epoch)
        await sql.execute(
            "INSERT INTO execution VALUES (0, $1, $2, 'w', 'd', 'RUNNING', 1, NULL, '', '{}', '')",
            id,
            lease.partition,
        )
        await sql.execute("INSERT INTO progress VALUES (0, $1, 1, NULL, 1, 1)", lease.partition)
        await sql.execute("INSERT INTO journal VALUES (0, 1, true, '')")
        yield


async def expire(sql: Sql) -> None:
    """Let all leases run out."""
    await sql.execute("UPDATE lease SET expires = '-infinity'")


async def pids(watch: Sql, words: str) -> Sequence[int]:
    """Return the backends that are executing something with these words."""
    rows = await watch.fetch(
        "SELECT pid FROM pg_stat_activity "
        "WHERE state = 'active' AND pid <> pg_backend_pid() AND position($1 in query) > 0",
        words,
    )
    return [row["pid"] for row in rows]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Open a store."""
    opened = PostgresStore(database_url)
    await opened.open(NAMESPACE)
    yield opened
    await opened.close()


@pytest.fixture
async def other(store: PostgresStore, database_url: str) -> AsyncIterator[PostgresStore]:
    """Open another store on the same data, as another process would."""
    opened = PostgresStore(database_url)
    await opened.open(NAMESPACE)
    yield opened
    await opened.close()


@pytest.fixture
async def sql(store: PostgresStore, database_url: str) -> AsyncIterator[Sql]:
    """Connect to the database beside the store."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(connected(database_url))


@pytest.fixture
async def watch(database_url: str) -> AsyncIterator[Sql]:
    """Connect once more: what happens is not seen from within a transaction."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(connected(database_url))
