"""A PostgreSQL of one's own keeps what it must, loses what it shall, and disturbs nobody."""

import asyncpg
import pytest

from tests.servers.postgres import PostgresServer


async def put(server: PostgresServer, url: str) -> None:
    """Commit a row."""
    await server.execute("CREATE TABLE box (word text)", url=url)
    await server.execute("INSERT INTO box VALUES ($1)", "kept", url=url)


async def kept(server: PostgresServer, url: str) -> list[str]:
    """Return the rows."""
    return [row["word"] for row in await server.execute("SELECT word FROM box", url=url)]


async def test_a_killed_server_keeps_committed_rows(own_postgres: PostgresServer) -> None:
    """What was committed is there after SIGKILL and a start on the same port."""
    url = await own_postgres.new_database()
    await put(own_postgres, url)
    await own_postgres.kill()
    assert not own_postgres.runs
    assert not await own_postgres.answers()
    await own_postgres.start()
    assert await kept(own_postgres, url) == ["kept"]


async def test_a_wiped_server_knows_nothing(own_postgres: PostgresServer) -> None:
    """After a wipe there is not even the database."""
    url = await own_postgres.new_database()
    await own_postgres.stop()
    own_postgres.wipe()
    await own_postgres.start()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await own_postgres.execute("SELECT 1", url=url)


async def test_a_paused_server_goes_on(own_postgres: PostgresServer) -> None:
    """A paused server answers nobody, and everybody once it was resumed."""
    own_postgres.pause()
    assert not await own_postgres.answers()
    own_postgres.resume()
    assert await own_postgres.answers()


async def test_servers_are_strangers(
    postgres: PostgresServer, own_postgres: PostgresServer
) -> None:
    """Two of them run side by side, on two ports, and answer both."""
    assert postgres.port != own_postgres.port
    assert await postgres.answers()
    assert await own_postgres.answers()


async def test_databases_are_separate(postgres: PostgresServer) -> None:
    """What was put into one database is not in another one."""
    first, second = await postgres.new_database(), await postgres.new_database()
    await put(postgres, first)
    assert await kept(postgres, first) == ["kept"]
    with pytest.raises(asyncpg.UndefinedTableError):
        await kept(postgres, second)


async def test_it_is_durable(postgres: PostgresServer) -> None:
    """It waits for the disk, as a server in production does."""
    answers = [await postgres.execute(f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
    assert [rows[0][0] for rows in answers] == ["on", "on"]
