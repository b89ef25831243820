"""Connections: each is used by one caller after another, and made again when it is lost.

Whoever waits for the server waits for a bounded time. A connection on which something else went
wrong than a statement that the server refused is thrown away at once, because what was sent over
it may still happen; what nobody knows about must not be mixed with what comes next.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from flow.clock import SystemChance, SystemClock, sleep_until
from flow.errors import FlowError, StoreUnavailable
from store.postgres import faults
from store.postgres.address import Address, quoted
from store.postgres.statements import QUERIES

_T = TypeVar("_T")
Connection: TypeAlias = "asyncpg.Connection[Any]"
Work: TypeAlias = Callable[[Connection], Awaitable[_T]]

CONNECT_S: Final = 10.0
IDLE_IN_TRANSACTION_S: Final = 5
"""A process that stops in the middle of a transaction holds its locks no longer than this."""
LOCK_S: Final = 8
STATEMENT_S: Final = 15
DEADLINE_S: Final = 20.0

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 3.0

SETTINGS: Final[Mapping[str, str]] = {
    "application_name": "flowmq",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
    "lock_timeout": f"{LOCK_S}s",
    "statement_timeout": f"{STATEMENT_S}s",
    # How soon the server finds out that a client is gone.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "jit": "off",
    # Every statement of ours follows one index and looks up the rest by key. Without statistics,
    # as in a new or a swiftly growing table, the planner would not always know.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_sort": "off",
}
COMMIT_SETTINGS: Final[Mapping[str, str]] = {
    # One plan for good: planning this statement takes longer than executing it.
    "plan_cache_mode": "force_generic_plan",
    "work_mem": "32MB",
}


class Connector:
    """Makes connections to one schema, and pauses between attempts that fail.

    Args:
        address: The database.
        schema: The schema that names without one belong to; empty for the user's own.
        settings: What each session is set to.
    """

    def __init__(
        self, address: Address, schema: str = "", settings: Mapping[str, str] = SETTINGS
    ) -> None:
        """Begin without a failed attempt."""
        self.address = address
        self._settings = dict(settings)
        if schema:
            self._settings["search_path"] = quoted(schema)
        self._clock = SystemClock()
        self._chance = SystemChance()
        self._failures = 0
        self._next_s = 0.0

    async def connect(self, settings: Mapping[str, str]) -> Connection:
        """Return a new connection, after a pause if the attempt before has failed.

        Args:
            settings: What it is set to besides.

        Raises:
            StoreUnavailable: The server cannot be reached, or does not want us now.
            ConfigurationError: The server, or the URL, says that we shall never get in.
        """
        await sleep_until(self._clock, self._next_s)
        try:
            connection = await self._connect(settings)
        except BaseException:
            self._failures += 1
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._failures)
            self._next_s = self._clock.monotonic() + longest * self._chance.random()
            raise
        self._failures = 0
        return connection

    async def _connect(self, settings: Mapping[str, str]) -> Connection:
        address = self.address
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await asyncpg.connect(
                    address.dsn,
                    server_settings={**self._settings, **settings},
                    max_cached_statement_lifetime=0,
                )
                await _settle(connection)
                return connection
        except FlowError:
            raise
        except (OSError, ValueError, *faults.DRIVERS) as error:
            shown = faults.login_fault(error, address) or faults.translated(error, address)
            # What the driver says may repeat the URL, and a traceback would show it.
            raise shown from (error if address.hides(str(error)) else None)


async def _settle(connection: Connection) -> None:
    try:
        await connection.execute(QUERIES["keep_synchronous"])
    except BaseException:
        connection.terminate()
        raise


class Session:
    """At most one connection, which its callers use one after another.

    Args:
        connector: Makes the connection when it is needed.
        settings: What it is set to besides.
    """

    def __init__(self, connector: Connector, settings: Mapping[str, str] | None = None) -> None:
        """Begin without a connection."""
        self._connector = connector
        self._settings = dict(settings or {})
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._is_closed = False

    async def run(self, work: Work[_T], deadline_s: float = DEADLINE_S) -> _T:
        """Let *work* use the connection, and return what it returns.

        Args:
            work: Takes the connection. It leaves no transaction open.
            deadline_s: How long it may take, waiting for others and connecting included.

        Raises:
            StoreUnavailable: The server failed or took too long. What it was asked to write may
                have been written.
            InvalidInput: A value is one that PostgreSQL cannot store; nothing was written.
        """
        address = self._connector.address
        try:
            async with asyncio.timeout(deadline_s), self._lock:
                return await self._use(work)
        except TimeoutError as error:
            reason = f"it has not answered within {deadline_s:g} s"
            raise StoreUnavailable(address.url, reason) from error

    async def close(self) -> None:
        """Disconnect, and refuse further calls."""
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await say_goodbye(connection)

    async def _use(self, work: Work[_T]) -> _T:
        connection = await self._connected()
        try:
            return await work(connection)
        except BaseException as error:
            if not faults.is_harmless(error):
                self._connection = None
                connection.terminate()
            if not isinstance(error, Exception) or isinstance(error, FlowError):
                raise
            shown = faults.translated(error, self._connector.address)
            if shown is error:
                raise
            raise shown from error

    async def _connected(self) -> Connection:
        if self._is_closed:
            raise StoreUnavailable(self._connector.address.url, "it is not open")
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await self._connector.connect(self._settings)
            if self._is_closed:
                connection.terminate()
                raise StoreUnavailable(self._connector.address.url, "it is not open")
            self._connection = connection
        return connection


class Pool:
    """A few sessions; each call uses one that nobody else uses.

    Args:
        connector: Makes the connections.
        size: How many at most.
    """

    def __init__(self, connector: Connector, size: int) -> None:
        """Begin without a connection."""
        self._connector = connector
        self._places = asyncio.Semaphore(size)
        self._idle = [Session(connector) for _ in range(size)]
        self._sessions = tuple(self._idle)

    async def run(self, work: Work[_T], deadline_s: float = DEADLINE_S) -> _T:
        """Let *work* use a connection, and return what it returns; see `Session.run`.

        Args:
            work: Takes the connection.
            deadline_s: How long it may take, waiting for a connection included.

        Raises:
            StoreUnavailable: The server failed or took too long.
            InvalidInput: A value is one that PostgreSQL cannot store.
        """
        try:
            async with asyncio.timeout(deadline_s), self._places:
                return await self._borrow(work, deadline_s)
        except TimeoutError as error:
            reason = f"it has not answered within {deadline_s:g} s"
            raise StoreUnavailable(self._connector.address.url, reason) from error

    async def close(self) -> None:
        """Disconnect, and refuse further calls."""
        for session in self._sessions:
            await session.close()

    async def _borrow(self, work: Work[_T], deadline_s: float) -> _T:
        # The one that was used last is the one that is connected.
        session = self._idle.pop()
        try:
            return await session.run(work, deadline_s)
        finally:
            self._idle.append(session)


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncGenerator[None]:
    """Run a block in a transaction, which an error rolls back.

    After an error that leaves the connection in doubt nothing more is asked of it: whoever gets
    the error throws it away.

    Args:
        connection: The connection.
    """
    await connection.execute(QUERIES["begin"])
    try:
        yield
    except Exception as error:
        if faults.is_harmless(error):
            await connection.execute(QUERIES["undo"])
        raise
    await connection.execute(QUERIES["end"])


async def say_goodbye(connection: Connection) -> None:
    """Disconnect, politely if the server answers soon.

    Args:
        connection: The connection.
    """
    try:
        await connection.close(timeout=1.0)
    except (OSError, TimeoutError, *faults.DRIVERS):
        connection.terminate()
