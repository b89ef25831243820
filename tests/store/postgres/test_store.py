"""What is particular to a store on a server: reaching it, losing it, and keeping its secrets."""

import logging
import traceback
from urllib.parse import urlsplit

import pytest

from flow.errors import ConfigurationError, FlowError, StoreUnavailable
from flow.ports import Commit, Namespace, Store
from store.postgres import PostgresStore
from tests.conformance.store import NAMESPACE, ids_of, put, row, take, write
from tests.servers.postgres import PostgresServer
from tests.store.postgres.conftest import Sql, connected

SECRET = "hunter2%2F"


def with_parts(url: str, **parts: str) -> str:
    """Return a URL with other parts."""
    return urlsplit(url)._replace(**parts).geturl()


def everything(error: BaseException) -> str:
    """Return all that a person could see of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


async def test_it_is_a_store(database_url: str) -> None:
    """The class satisfies the port, and its URL shows no user, password or query."""
    secret = with_parts(database_url, netloc=f"me:{SECRET}@db:5432", query="sslkey=x")
    port: Store = PostgresStore(secret)
    assert isinstance(port, Store)
    assert port.url == f"postgresql://***@db:5432{urlsplit(database_url).path}"
    assert not port.exclusive


async def test_opening_twice_is_refused(store: PostgresStore) -> None:
    """A store that is open is not opened again, and stays open; closed, it can be."""
    with pytest.raises(ConfigurationError, match="open already"):
        await store.open(NAMESPACE)
    await put(store, await take(store, 0), write(row("a")))
    await store.close()
    await store.close()
    await store.open(NAMESPACE)
    assert await ids_of(store, "a") == {"a"}


async def test_closing_leaves_no_connection(store: PostgresStore, sql: Sql) -> None:
    """A store that is closed has no session on the server any more."""
    await put(store, await take(store, 0), write(row("a")))
    await store.renew("one", (), 1_000)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowmq'"
    assert await sql.fetchval(f"{count} AND datname = current_database()") == 4
    await store.close()
    async with sql.transaction():
        left = await sql.fetchval(f"{count} AND datname = current_database()")
    assert left == 0


async def test_sessions_are_safe(store: PostgresStore) -> None:
    """Every session has its timeouts, and is durable even if the role's default is not."""
    assert store._sessions
    await put(store, await take(store, 0), write(row("a")))
    for session in (store._sessions.committing, store._sessions.owning, store._sessions.renewing):
        shown = await session.run(
            lambda connection: connection.fetchrow(
                "SELECT current_setting('idle_in_transaction_session_timeout') AS idle,"
                " current_setting('lock_timeout') AS lock,"
                " current_setting('statement_timeout') AS statement,"
                " current_setting('transaction_isolation') AS isolation"
            )
        )
        assert tuple(shown or ()) == ("5s", "8s", "15s", "read committed")


async def test_weak_defaults_are_overruled(database_url: str) -> None:
    """A database whose default is not durable, or read only, is used durably all the same."""
    name = urlsplit(database_url).path[1:]
    async with connected(database_url) as sql:
        for setting in ("synchronous_commit = off", "default_transaction_isolation = serializable"):
            await sql.execute(f"ALTER DATABASE {name} SET {setting}")
    store = PostgresStore(database_url)
    await store.open(NAMESPACE)
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    assert store._sessions
    shown = await store._sessions.committing.run(
        lambda connection: connection.fetchrow(
            "SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation')"
        )
    )
    assert tuple(shown or ()) == ("on", "read committed")
    await store.close()


async def refusal(url: str) -> FlowError:
    """Return why a store cannot be opened."""
    store = PostgresStore(url)
    with pytest.raises(FlowError) as caught:
        await store.open(NAMESPACE)
    await store.close()
    return caught.value


async def test_nobody_listens(own_postgres: PostgresServer) -> None:
    """A server that is away is told at once, and the store works when it is back."""
    url = await own_postgres.new_database()
    store = PostgresStore(url)
    await own_postgres.stop()
    with pytest.raises(StoreUnavailable, match="refused"):
        await store.open(NAMESPACE)
    await own_postgres.start()
    assert await store.open(NAMESPACE) == NAMESPACE
    await store.close()


async def test_server_restarts(own_postgres: PostgresServer) -> None:
    """A server that is killed and started again is used again by the same store."""
    store = PostgresStore(await own_postgres.new_database())
    await store.open(NAMESPACE)
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    await store.renew("one", leases, 60_000)
    await own_postgres.kill()
    for call in (
        store.commit(Commit(leases, (write(row("b")),))),
        store.renew("one", leases, 60_000),
        store.load(["a"]),
        store.acquire(0, "one", 60_000),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await own_postgres.start()
    assert (await store.renew("one", leases, 60_000)).held == {0}
    assert await ids_of(store, "a", "b") == {"a"}
    await put(store, leases, write(row("b")))
    await store.close()


async def test_missing_database(database_url: str) -> None:
    """A database that is not there is a mistake of the set-up, and the message helps."""
    error = await refusal(with_parts(database_url, path="/nowhere"))
    assert isinstance(error, ConfigurationError)
    assert 'database "nowhere" does not exist; make it with createdb' in str(error)


async def test_unknown_user(database_url: str) -> None:
    """A user that is not there is a mistake of the set-up."""
    host = urlsplit(database_url).netloc.rpartition("@")[2]
    error = await refusal(with_parts(database_url, netloc=f"nobody:{SECRET}@{host}"))
    assert isinstance(error, ConfigurationError)
    assert 'role "nobody" does not exist' in str(error)


async def test_wrong_password(own_postgres: PostgresServer) -> None:
    """A wrong password is a mistake of the set-up, and stands in no message and no traceback."""
    url = await own_postgres.new_database()
    await own_postgres.execute("CREATE ROLE me LOGIN PASSWORD 'right'")
    hba = own_postgres.folder / "data" / "pg_hba.conf"
    rule = "host all me 127.0.0.1/32 scram-sha-256\n"
    hba.write_text(rule + hba.read_text())
    await own_postgres.execute("SELECT pg_reload_conf()")
    host = urlsplit(url).netloc.rpartition("@")[2]
    error = await refusal(with_parts(url, netloc=f"me:{SECRET}@{host}"))
    assert isinstance(error, ConfigurationError)
    assert "password authentication failed" in str(error)
    assert "hunter2" not in everything(error)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:notaport/db",
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?password={SECRET}&sslmode=nonsense",
        f"postgresql://me:{SECRET}@[::1/db",
        f"mysql://me:{SECRET}@127.0.0.1/db",
        f"me:{SECRET}@127.0.0.1/db",
        f"postgresql://127.0.0.1:1/db?sslmode=require&sslrootcert=/no/{SECRET}",
    ],
)
async def test_secrets_are_kept(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with a URL, what is secret in it is neither told nor logged."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(FlowError) as caught:
        await PostgresStore(url).open(NAMESPACE)
    assert "hunter2" not in everything(caught.value)
    assert "hunter2" not in caplog.text


async def test_namespaces_are_apart(database_url: str) -> None:
    """Two namespaces in one database are two schemas with partitions and data of their own."""
    stores = [PostgresStore(database_url) for _ in range(2)]
    for store, name in zip(stores, ("one", "two"), strict=True):
        await store.open(Namespace(name, 2))
        await put(store, await take(store, 0, owner=name), write(row(name)))
    assert await ids_of(stores[0], "one", "two") == {"one"}
    async with connected(database_url) as sql:
        await sql.execute('DROP SCHEMA "flow_one" CASCADE')
    assert await ids_of(stores[1], "one", "two") == {"two"}
    for store in stores:
        await store.close()


async def test_row_can_be_read_by_people(store: PostgresStore, sql: Sql) -> None:
    """The journal is text for whoever looks with psql."""
    await put(store, await take(store, 0), write(row("a"), 1, b'{"hello": "\xc3\xbc"}'))
    shown = await sql.fetch("SELECT id, seq, record FROM history")
    assert [tuple(each) for each in shown] == [("a", 1, '{"hello": "ü"}')]


async def test_lost_table_is_unavailable(store: PostgresStore, sql: Sql) -> None:
    """A schema that somebody has damaged is told as what it is."""
    await sql.execute("DROP TABLE outbox")
    with pytest.raises(StoreUnavailable, match='relation "outbox" does not exist'):
        await store.outbox(0, 0, 1)
    assert isinstance(await sql.fetchval("SELECT 1"), int)
