"""How a schema is made and migrated, also by several processes at once."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from flow.errors import ConfigurationError, StoreUnavailable, UnsupportedVersion
from flow.ports import Namespace
from store.postgres import PostgresStore, schema
from store.postgres.address import Address
from store.postgres.statements import MIGRATIONS
from store.sql import Migration
from tests.conformance.store import NAMESPACE
from tests.store.postgres.conftest import Sql


async def test_many_open_at_once(database_url: str, watch: Sql) -> None:
    """Of processes that open a new namespace at once, one migrates, and all of them succeed."""
    stores = [PostgresStore(database_url) for _ in range(4)]
    wishes = [Namespace("suite", number) for number in (4, 5, 6, 7)]
    settled = await asyncio.gather(
        *(store.open(wish) for store, wish in zip(stores, wishes, strict=True))
    )
    assert len(set(settled)) == 1
    assert settled[0] in wishes
    assert await watch.fetchval("SELECT count(*) FROM partition") == settled[0].partitions
    assert await watch.fetchval("SELECT count(*) FROM migration") == len(MIGRATIONS)
    for store in stores:
        await store.close()


async def test_newer_schema_is_refused(store: PostgresStore, sql: Sql, database_url: str) -> None:
    """A schema that a newer program has migrated is not opened."""
    await sql.execute("INSERT INTO migration VALUES (99)")
    with pytest.raises(UnsupportedVersion) as caught:
        await PostgresStore(database_url).open(NAMESPACE)
    assert (caught.value.found, caught.value.supported) == (99, schema.VERSION)


async def test_older_schema_is_migrated(
    store: PostgresStore, sql: Sql, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is missing is done, and it is noted."""
    added = Migration(schema.VERSION + 1, "CREATE TABLE added (x integer)")
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, added))
    monkeypatch.setattr(schema, "VERSION", added.version)
    again = PostgresStore(database_url)
    assert await again.open(NAMESPACE) == NAMESPACE
    await again.close()
    assert await sql.fetchval("SELECT count(*) FROM added") == 0
    assert await sql.fetchval("SELECT max(version) FROM migration") == added.version


async def test_failed_migration_leaves_nothing(
    database_url: str, watch: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that fails in the middle is undone, schema and all, and can be tried again."""
    broken = Migration(1, MIGRATIONS[0].script + "INSERT INTO missing VALUES (1);")
    monkeypatch.setattr(schema, "MIGRATIONS", (broken,))
    store = PostgresStore(database_url)
    with pytest.raises(StoreUnavailable, match='relation "missing" does not exist'):
        await store.open(NAMESPACE)
    query = "SELECT count(*) FROM pg_namespace WHERE nspname = 'flow_suite'"
    assert await watch.fetchval(query) == 0
    monkeypatch.undo()
    assert await store.open(NAMESPACE) == NAMESPACE
    await store.close()


async def test_other_tables_are_left_alone(database_url: str, watch: Sql) -> None:
    """A database that has tables of the same names elsewhere keeps them."""
    await watch.execute("CREATE TABLE public.execution (mine text)")
    store = PostgresStore(database_url)
    await store.open(NAMESPACE)
    await store.close()
    assert await watch.fetchval("SELECT count(*) FROM public.execution") == 0


async def test_taken_schema_is_refused(database_url: str, store: PostgresStore, sql: Sql) -> None:
    """A schema that holds another namespace is not used."""
    await sql.execute("UPDATE meta SET value = 'other' WHERE key = 'namespace'")
    with pytest.raises(ConfigurationError, match="'other', not 'suite'"):
        await PostgresStore(database_url).open(NAMESPACE)


async def test_damaged_schema_is_refused(database_url: str, store: PostgresStore, sql: Sql) -> None:
    """A schema without the name of its namespace is no store."""
    await sql.execute("DELETE FROM meta WHERE key = 'namespace'")
    with pytest.raises(StoreUnavailable, match="no namespace"):
        await PostgresStore(database_url).open(NAMESPACE)


async def test_missing_right_is_explained(database_url: str, watch: Sql) -> None:
    """A user who may not make the schema is told what it needs; given that, it needs no more."""
    async with AsyncExitStack() as stack:
        await watch.execute("CREATE ROLE poor LOGIN")
        stack.push_async_callback(watch.execute, "DROP OWNED BY poor; DROP ROLE poor")
        host = urlsplit(database_url).netloc.rpartition("@")[2]
        url = urlsplit(database_url)._replace(netloc=f"poor@{host}").geturl()
        store = PostgresStore(url)
        with pytest.raises(ConfigurationError, match=r'"flow_suite".*CREATE on the database'):
            await store.open(NAMESPACE)
        await watch.execute("CREATE SCHEMA flow_suite AUTHORIZATION poor")
        assert await store.open(NAMESPACE) == NAMESPACE
        await store.close()


@dataclass
class Server:
    """What a connection knows of its server."""

    major: int
    server_encoding: str

    def get_server_version(self) -> "Server":
        """Return the version."""
        return self

    def get_settings(self) -> "Server":
        """Return the settings."""
        return self


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (Server(13, "UTF8"), "it is PostgreSQL 13; 14 or newer is needed"),
        (Server(16, "LATIN1"), "its encoding is LATIN1; UTF8 is needed"),
    ],
)
async def test_unfit_server_is_refused(server: Server, reason: str) -> None:
    """A server that is too old, or that cannot hold every text, is refused before anything else."""
    connection: Any = server
    address = Address.of("postgresql://db/shop")
    with pytest.raises(ConfigurationError, match=reason):
        await schema.settle(connection, address, "flow_shop", NAMESPACE)
