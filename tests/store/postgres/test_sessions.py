"""Connections: who waits for whom, for how long, and what becomes of them."""

import asyncio
import traceback
from unittest.mock import AsyncMock

import asyncpg
import pytest

from flow.errors import ConfigurationError, InvalidInput, StoreUnavailable
from store.postgres.address import Address
from store.postgres.sessions import (
    Connection,
    Connector,
    Pool,
    Session,
    say_goodbye,
    transaction,
)

NOBODY = Address.of("postgresql://me@127.0.0.1:1/shop")


@pytest.fixture
def connector(database_url: str) -> Connector:
    """Return what makes connections to an empty database."""
    return Connector(Address.of(database_url))


async def pid(connection: Connection) -> int:
    """Return which backend a connection has."""
    return connection.get_server_pid()


async def hang(connection: Connection) -> None:
    """Wait for ever on the server."""
    await connection.execute("SELECT pg_sleep(1000)")


async def test_session_keeps_its_connection(connector: Connector) -> None:
    """A session connects once, and again when its connection is lost."""
    session = Session(connector)
    first = await session.run(pid)
    assert await session.run(pid) == first
    await session.run(lambda connection: connection.close())
    assert await session.run(pid) != first
    await session.close()


async def test_callers_take_turns(connector: Connector) -> None:
    """Callers of one session use its connection one after another."""
    session = Session(connector)
    answers = await asyncio.gather(*(session.run(pid) for _ in range(5)))
    assert len(set(answers)) == 1
    await session.close()


async def test_waiting_has_an_end(connector: Connector) -> None:
    """Who waits too long, for the server or for others, is told so; the connection is gone."""
    session = Session(connector)
    first = await session.run(pid)
    with pytest.raises(StoreUnavailable, match=r"not answered within 0\.1 s"):
        await session.run(hang, 0.1)
    assert await session.run(pid) != first

    async def hold() -> None:
        with pytest.raises(StoreUnavailable):
            await session.run(hang, 0.3)

    async def wait() -> None:
        with pytest.raises(StoreUnavailable, match=r"within 0\.1 s"):
            await session.run(pid, 0.1)

    await asyncio.gather(hold(), wait())
    await session.close()


async def test_refused_statement_keeps_the_connection(connector: Connector) -> None:
    """After a statement that the server refused the connection is used on."""
    session = Session(connector)
    first = await session.run(pid)
    with pytest.raises(StoreUnavailable, match='relation "nothing" does not exist'):
        await session.run(lambda connection: connection.execute("SELECT FROM nothing"))
    with pytest.raises(InvalidInput):
        await session.run(lambda connection: connection.fetchval("SELECT $1::integer", 2**40))
    assert await session.run(pid) == first
    await session.close()


async def test_unknown_errors_are_bugs(connector: Connector) -> None:
    """An error that is not the driver's comes through, and the connection is thrown away."""

    async def fail(connection: Connection) -> None:
        raise ZeroDivisionError

    session = Session(connector)
    first = await session.run(pid)
    with pytest.raises(ZeroDivisionError):
        await session.run(fail)
    assert await session.run(pid) != first
    await session.close()


async def test_closed_session_refuses(connector: Connector) -> None:
    """A session that was closed does not connect any more."""
    session = Session(connector)
    await session.run(pid)
    await session.close()
    await session.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await session.run(pid)


async def test_attempts_to_connect_pause() -> None:
    """While nobody answers, attempts fail soon, and those that follow come after a pause."""
    connector = Connector(NOBODY)
    for _ in range(4):
        with pytest.raises(StoreUnavailable, match="refused"):
            await Session(connector).run(pid, 5.0)
    assert connector._failures == 4
    assert connector._next_s - connector._clock.monotonic() <= 1.6


async def test_pause_counts_as_waiting() -> None:
    """A pause between attempts takes no longer than the caller wants to wait."""
    connector = Connector(NOBODY)
    connector._next_s = connector._clock.monotonic() + 60
    with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
        await Session(connector).run(pid, 0.05)


async def test_server_that_accepts_and_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that accepts connections and says nothing is given up."""
    gone = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    monkeypatch.setattr("store.postgres.sessions.CONNECT_S", 0.1)
    port = server.sockets[0].getsockname()[1]
    address = Address.of(f"postgresql://me@127.0.0.1:{port}/shop?sslmode=disable")
    with pytest.raises(StoreUnavailable, match="does not answer in time"):
        await Session(Connector(address)).run(pid)
    gone.set()
    server.close()
    await server.wait_closed()


async def test_wrong_option_is_the_set_up(database_url: str) -> None:
    """A setting that the server does not know, as with an old one, is told as such."""
    connector = Connector(Address.of(database_url), settings={"no_such_setting": "on"})
    with pytest.raises(ConfigurationError, match="PostgreSQL 14 or newer"):
        await Session(connector).run(pid)


async def test_pool_is_bounded(connector: Connector) -> None:
    """A pool gives each caller a connection of its own, and lets others wait for one."""
    pool = Pool(connector, 2)
    inside = 0
    most = 0
    both = asyncio.Event()

    async def work(connection: Connection) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 2:
            both.set()
        # The second connection may take its time.
        await both.wait()
        await connection.execute("SELECT pg_sleep(0.01)")
        inside -= 1
        return connection.get_server_pid()

    try:
        answers = await asyncio.gather(*(pool.run(work) for _ in range(10)))
    finally:
        await pool.close()
    assert most == 2
    assert len(set(answers)) == 2
    with pytest.raises(StoreUnavailable, match="not open"):
        await pool.run(pid)


async def test_pool_waits_so_long(connector: Connector) -> None:
    """Who finds all connections in use for too long is told so."""
    pool = Pool(connector, 1)

    async def hold() -> None:
        with pytest.raises(StoreUnavailable):
            await pool.run(hang, 0.3)

    async def wait() -> None:
        with pytest.raises(StoreUnavailable, match=r"within 0\.1 s"):
            await pool.run(pid, 0.1)

    await asyncio.gather(hold(), wait())
    await pool.close()


async def test_transaction_is_undone(connector: Connector) -> None:
    """An error undoes a transaction, and the connection can begin another one."""

    async def fail(connection: Connection) -> None:
        async with transaction(connection):
            await connection.execute("CREATE TABLE t (x integer)")
            await connection.execute("SELECT FROM nothing")

    async def look(connection: Connection) -> str | None:
        async with transaction(connection):
            return str(await connection.fetchval("SELECT to_regclass('t')"))

    session = Session(connector)
    first = await session.run(pid)
    with pytest.raises(StoreUnavailable, match="nothing"):
        await session.run(fail)
    assert await session.run(look) == "None"
    assert await session.run(pid) == first
    await session.close()


async def test_transaction_in_doubt_asks_nothing_more(
    connector: Connector, database_url: str
) -> None:
    """When the backend dies in a transaction, nothing more is asked of the connection."""
    beside = await asyncpg.connect(database_url)

    async def die(connection: Connection) -> None:
        async with transaction(connection):
            victim = connection.get_server_pid()
            await beside.execute("SELECT pg_terminate_backend($1, 5000)", victim)
            await connection.execute("SELECT 1")

    session = Session(connector)
    with pytest.raises(StoreUnavailable):
        await session.run(die)
    assert await session.run(pid)
    await session.close()
    await beside.close()


async def test_traceback_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the driver that repeats the URL is not the cause of ours, else it is."""
    address = Address.of("postgresql://me:hunter2@db/shop")

    async def repeat(dsn: str, **_: object) -> None:
        raise OSError(f"cannot connect to {text or dsn}")

    monkeypatch.setattr(asyncpg, "connect", repeat)
    for text in ("", "db"):
        with pytest.raises(StoreUnavailable) as caught:
            await Session(Connector(address)).run(pid)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert (caught.value.__cause__ is None) is (text == "")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("it is closed"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation is in progress"),
    ],
)
async def test_a_goodbye_never_fails(error: Exception) -> None:
    """Whatever the driver says of a connection whose server was killed, it is dropped."""
    connection = AsyncMock(spec=asyncpg.Connection)
    connection.close.side_effect = error
    await say_goodbye(connection)
    connection.terminate.assert_called_once_with()
