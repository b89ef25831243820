"""The bridge between the event loop and the thread that has a connection.

SQLite blocks, so each connection lives on a thread of its own. The way there is a queue, the way
back one call into the event loop: nothing else stands between a commit and its fsync.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar

from flow.errors import InvalidInput, StoreUnavailable

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ConnectionThread:
    """A thread that owns one connection and uses it for one caller after another.

    A caller that is cancelled does not stop what it has asked for: a transaction always finishes,
    and only its outcome is dropped.

    Args:
        name: The thread's name.
        url: The store, for errors.
        connect: Called on the thread. It cleans up after itself when it fails.
        disconnect: Called on the thread, last of all, unless there is no connection.
    """

    def __init__(
        self,
        name: str,
        url: str,
        connect: Callable[[], sqlite3.Connection],
        disconnect: Callable[[sqlite3.Connection], None] = sqlite3.Connection.close,
    ) -> None:
        self._url = url
        self._connect = connect
        self._disconnect = disconnect
        self._connection: sqlite3.Connection | None = None
        self._is_open = False
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A program that ends without closing its store is not kept alive by it.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    async def start(self) -> None:
        """Start the thread and connect. Whatever happens, `stop` has to follow.

        Raises:
            StoreUnavailable: The database cannot be opened.
            FlowError: What `connect` raises.
        """
        self._thread.start()
        try:
            await self._post(self._open)
        except sqlite3.Error as error:
            raise StoreUnavailable(self._url, str(error)) from error
        self._is_open = True

    async def run(
        self,
        function: Callable[Concatenate[sqlite3.Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Call a function with the connection, on the thread, and return what it returns.

        Args:
            function: Takes the connection first.
            args: What it takes besides.
            kwargs: What it takes by name.

        Raises:
            StoreUnavailable: SQLite failed, or the thread does not run.
            InvalidInput: A value is one that SQLite cannot store.
        """
        connection = self._connection
        if not self._is_open or connection is None:
            raise StoreUnavailable(self._url, "it is not open")
        try:
            return await self._post(lambda: function(connection, *args, **kwargs))
        except (OverflowError, UnicodeEncodeError, sqlite3.DataError) as error:
            raise InvalidInput("a value that is to be stored", str(error)) from error
        except sqlite3.Error as error:
            raise StoreUnavailable(self._url, str(error)) from error

    def stop(self, after: "ConnectionThread | None" = None) -> asyncio.Future[None]:
        """Refuse further calls, finish those that wait, and disconnect.

        Args:
            after: A thread that is stopping too, and has to disconnect before this one.

        Returns:
            What to wait for. All of it happens even if nobody does.
        """
        self._is_open = False
        if self._thread.ident is None:
            # It could not be started, and would never answer.
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        stopped = self._post(partial(self._close, after.join if after else None))
        self._jobs.put(None)
        return stopped

    def join(self) -> None:
        """Block until the thread has ended. For other threads, not for the event loop."""
        if self._thread.ident is not None:
            self._thread.join()

    def _open(self) -> None:
        self._connection = self._connect()

    def _close(self, wait: Callable[[], None] | None) -> None:
        if wait is not None:
            wait()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._disconnect(connection)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            # What a job holds must not live until the next one comes, which may take hours.
            del job

    def _post(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def job() -> None:
            answer: Callable[[], None]
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
                answer = _failing(future, error)
            else:
                answer = _succeeding(future, result)
            # A loop that is closed by now has nobody who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(answer)

        self._jobs.put(job)
        return future


def _succeeding(future: asyncio.Future[_T], result: _T) -> Callable[[], None]:
    return lambda: None if future.done() else future.set_result(result)


def _failing(future: asyncio.Future[_T], error: Exception) -> Callable[[], None]:
    return lambda: None if future.done() else future.set_exception(error)
