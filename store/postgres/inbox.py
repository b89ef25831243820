"""The inbox: a table in the user's database that makes the effect of a handler exactly-once.

The key, the handler's effect and its reply are one transaction. Whoever comes with the same key
meanwhile waits for the end of that transaction; whoever comes later finds the reply.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg
from asyncpg.transaction import Transaction

from flow.errors import StoreUnavailable
from flow.ports import InboxAttempt, SavedReply
from store.postgres import faults
from store.postgres.address import Address
from store.postgres.sessions import Connection, Connector, say_goodbye
from store.postgres.statements import QUERIES

WAIT_S: Final = 10
"""How long an attempt waits for a connection, and for another one that has its key."""
ANSWER_S: Final = 20.0
SETTINGS: Final[Mapping[str, str]] = {
    "application_name": "flowmq inbox",
    "default_transaction_isolation": "read committed",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
}
_TRIES = 5
_TAKEN: Final = f"another attempt has had the key for {WAIT_S} s"

_T = TypeVar("_T")


@dataclass(slots=True)
class _Hold:
    """A connection, and whether it can be used by somebody else afterwards."""

    connection: Connection
    is_clean: bool = False


class _Tombstone:
    """What stands for a key that was buried."""


_TOMBSTONE: Final = _Tombstone()
_Found = SavedReply | _Tombstone | None
"""The reply that was saved for a key, a tombstone, or nothing."""


class PostgresAttempt:
    """One transaction that has taken a key.

    Args:
        connection: The connection that it runs on.
        key: The key.
        found: What was there.
        address: The database.

    Attributes:
        connection: The driver's connection, in the transaction.
        saved: The reply that was saved before, or None.
        is_tombstone: Whether a tombstone was left for the key.
        is_saved: Whether a reply was saved in this attempt.
    """

    def __init__(self, connection: Connection, key: str, found: _Found, address: Address) -> None:
        """Begin with what was found."""
        self.connection = connection
        self.saved = found if isinstance(found, SavedReply) else None
        self.is_tombstone = found is _TOMBSTONE
        self.is_saved = False
        self._key = key
        self._address = address

    async def bury(self, key: str) -> None:
        """Leave a tombstone. See `flow.ports.InboxAttempt`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                bound = await self.connection.fetchval(QUERIES["bound_waiting"], f"{WAIT_S}s")
                await self.connection.execute(QUERIES["bury_key"], key)
                await self.connection.fetchval(QUERIES["bound_waiting"], bound)
        except asyncpg.LockNotAvailableError as error:
            raise StoreUnavailable(self._address.url, _TAKEN) from error
        except (OSError, *faults.DRIVERS) as error:
            raise faults.translated(error, self._address) from error

    async def save(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Note the reply. See `flow.ports.InboxAttempt`."""
        row = (self._key, body, json.dumps(dict(headers)))
        try:
            await self.connection.execute(QUERIES["save_reply"], *row, timeout=ANSWER_S)
        except (OSError, *faults.DRIVERS) as error:
            raise faults.translated(error, self._address) from error
        self.is_saved = True


class PostgresInbox:
    """An inbox in a PostgreSQL database, in the table `flow_inbox`.

    Args:
        url: Where the database is: the one that the handlers write to.
        size: How many attempts at the same time, at most; each has a connection.

    Attributes:
        url: Where the database is, without secrets.

    Raises:
        ConfigurationError: The URL is none of a PostgreSQL database.
    """

    def __init__(self, url: str, size: int = 10) -> None:
        """Take the URL apart; nothing is connected yet."""
        self._address = Address.of(url)
        self.url = self._address.url
        self._connector = Connector(self._address, settings=SETTINGS)
        self._places = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._is_open = False

    async def open(self) -> None:
        """Connect, and make the table unless it exists.

        Raises:
            StoreUnavailable: The server cannot be reached.
            ConfigurationError: The database, the user or its rights are missing.
        """
        self._is_open = True
        try:
            async with self._borrowed() as hold:
                await self._ask(_make_table(hold.connection))
                hold.is_clean = True
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect. Attempts that are under way go on to their ends."""
        self._is_open = False
        while self._idle:
            await say_goodbye(self._idle.pop())

    @asynccontextmanager
    async def attempt(self, key: str) -> AsyncGenerator[InboxAttempt]:
        """Begin a transaction that takes *key*. See `flow.ports.Inbox`."""
        async with self._borrowed() as hold:
            # The driver's own transaction, so that handlers can have theirs inside it.
            transaction = hold.connection.transaction(isolation="read_committed")
            found = await self._ask(_take(hold.connection, transaction, key))
            attempt = PostgresAttempt(hold.connection, key, found, self._address)
            try:
                yield attempt
            except Exception as error:
                await self._undo(hold, transaction, error)
                raise
            # Without a reply the next attempt does all of it again, so that nothing is kept.
            await self._ask(transaction.commit() if attempt.is_saved else transaction.rollback())
            hold.is_clean = True

    async def forget(self, older_than_ms: int, limit: int) -> int:
        """Delete the oldest keys. See `flow.ports.Inbox`."""
        async with self._borrowed() as hold:
            work = hold.connection.fetchval(QUERIES["forget_keys"], older_than_ms, limit)
            forgotten = await self._ask(work)
            hold.is_clean = True
        return int(forgotten)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncGenerator[_Hold]:
        """Give a connection that nobody else uses, and throw it away unless it ends clean."""
        if not self._is_open:
            raise StoreUnavailable(self.url, "it is not open")
        try:
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(self.url, "all its connections are in use") from error
        try:
            hold = _Hold(await self._connected())
            try:
                yield hold
            finally:
                await self._give_back(hold)
        finally:
            self._places.release()

    async def _connected(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connector.connect({})

    async def _give_back(self, hold: _Hold) -> None:
        if not hold.is_clean:
            hold.connection.terminate()
        elif self._is_open:
            self._idle.append(hold.connection)
        else:
            await say_goodbye(hold.connection)

    async def _undo(self, hold: _Hold, transaction: Transaction, error: Exception) -> None:
        """Undo what a handler has done that has failed; its own error says why."""
        if hold.connection.is_closed():
            raise StoreUnavailable(self.url, "the connection is lost") from error
        await self._ask(transaction.rollback())
        hold.is_clean = True

    async def _ask(self, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await work
        except asyncpg.IntegrityConstraintViolationError:
            # A constraint that is checked at the end: what the handler has done is wrong.
            raise
        except asyncpg.LockNotAvailableError as error:
            raise StoreUnavailable(self.url, _TAKEN) from error
        except (OSError, *faults.DRIVERS) as error:
            raise faults.translated(error, self._address) from error


async def _make_table(connection: Connection) -> None:
    if not await connection.fetchval(QUERIES["has_inbox"]):
        async with connection.transaction():
            await connection.execute(QUERIES["create_inbox"])


async def _take(connection: Connection, transaction: Transaction, key: str) -> _Found:
    await transaction.start()
    bound = await connection.fetchval(QUERIES["bound_waiting"], f"{WAIT_S}s")
    for _ in range(_TRIES):
        if await connection.fetchval(QUERIES["take_key"], key):
            await connection.fetchval(QUERIES["bound_waiting"], bound)
            return None
        row = await connection.fetchrow(QUERIES["read_reply"], key)
        if row is not None:
            headers = json.loads(row["headers"])
            return _TOMBSTONE if headers is None else SavedReply(row["body"], headers)
    raise asyncpg.LockNotAvailableError("keys are forgotten as soon as they are saved")
