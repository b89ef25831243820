"""A PostgreSQL of one's own: on a free port, in its own folder, durable as in production."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import asyncpg

from tests.servers.daemon import DEADLINE_S, Account, Daemon, ServerFailed
from tests.servers.ports import HOST, Port
from tests.servers.server import Server

__all__ = ["PostgresServer", "missing_postgres"]

SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "100",
    "shared_buffers": "32MB",
    # Durability is what the tests are about.
    "fsync": "on",
    "synchronous_commit": "on",
}
INITDB = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
RETRY_S = 0.05
ANSWER_S = 5.0


def _program(name: str) -> str | None:
    """Return where a program is: Debian keeps those of each version in a folder of their own.

    A `postgres` in the PATH comes last, for it may be anything.
    """
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parts[4]), default=None)
    return str(newest) if newest is not None else shutil.which(name)


def missing_postgres() -> str | None:
    """Return what has to be installed before a PostgreSQL can be started here."""
    commands = (_program("postgres"), _program("initdb"))
    return None if all(commands) else "PostgreSQL (Debian: apt-get install postgresql)"


class PostgresServer(Server):
    """One database server, with the user `postgres` and no password, reachable from here only."""

    def __init__(self) -> None:
        self._account = Account("postgres")
        self._port = Port()
        self.port = self._port.number
        self.folder = self._account.folder("postgres")
        self._data = self.folder / "data"
        self._databases = 0
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
        }
        settings = {
            **SETTINGS,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        command = [_program("postgres") or "postgres", "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        # On SIGQUIT it ends its own processes at once, without writing anything.
        daemon = Daemon(
            self._account,
            command,
            self._environment,
            self.folder / "printed.log",
            farewell=signal.SIGQUIT,
        )
        # On SIGINT it waits for no client.
        super().__init__(daemon, end=signal.SIGINT)

    @property
    def url(self) -> str:
        """The URL of the database `postgres`."""
        return self._url("postgres")

    async def start(self) -> None:
        """Start it on its port with the data it has, and wait until it answers queries.

        Raises:
            ServerFailed: It ended, or did not answer in time.
        """
        if not (self._data / "PG_VERSION").exists():
            initdb = _program("initdb") or "initdb"
            command = [initdb, "-D", str(self._data), *INITDB]
            await asyncio.to_thread(self._account.run, command, self._environment)
        self._daemon.start()
        end = asyncio.get_running_loop().time() + DEADLINE_S
        while not await self.answers():
            if not self._daemon.runs or asyncio.get_running_loop().time() > end:
                await self.kill()
                raise ServerFailed(f"PostgreSQL did not start:\n{self.log}")
            await asyncio.sleep(RETRY_S)

    async def answers(self) -> bool:
        """Return whether it answers a query now."""
        try:
            await self.execute("SELECT 1")
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        return True

    def wipe(self) -> None:
        """Delete everything that it knew, while it does not run."""
        assert not self._daemon.runs, "it runs: stop or kill it first"
        shutil.rmtree(self._data)

    async def execute(self, sql: str, *arguments: object, url: str = "") -> list[asyncpg.Record]:
        """Run one statement in a connection of its own, and return its rows.

        Args:
            sql: The statement.
            arguments: The values of $1, $2 …
            url: The database; without it, the database `postgres`.
        """
        connection = await asyncpg.connect(url or self.url, timeout=ANSWER_S)
        try:
            return await connection.fetch(sql, *arguments, timeout=DEADLINE_S)
        finally:
            await connection.close(timeout=ANSWER_S)

    async def new_database(self) -> str:
        """Make an empty database; return its URL."""
        self._databases += 1
        name = f"d{self._databases}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self._url(name)

    def close(self) -> None:
        """End it at once, and remove all that it leaves behind."""
        self._daemon.slay()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._port.give_back()

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"
