"""The bridge between the event loop and a connection's thread."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator

import pytest

from flow.errors import InvalidInput, StoreLocked, StoreUnavailable
from store.sqlite.writer import ConnectionThread

URL = "sqlite:///test.db"


def connect() -> sqlite3.Connection:
    """Open a database in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    return connection


def add(connection: sqlite3.Connection, value: object) -> int:
    """Insert a value and return how many there are."""
    connection.execute("INSERT INTO t VALUES (?)", (value,))
    return count(connection)


def count(connection: sqlite3.Connection) -> int:
    """Return how many values there are."""
    return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def fail(connection: sqlite3.Connection, error: Exception) -> None:
    """Raise an error."""
    raise error


def hold(connection: sqlite3.Connection, begun: threading.Event, go_on: threading.Event) -> None:
    """Insert a value, but not before it is allowed."""
    begun.set()
    assert go_on.wait(10)
    add(connection, "held")


@pytest.fixture
async def thread() -> AsyncIterator[ConnectionThread]:
    """Start a thread on an empty database."""
    started = ConnectionThread("test", URL, connect)
    await started.start()
    yield started
    await started.stop()
    started.join()


async def test_calls_are_made_in_order(thread: ConnectionThread) -> None:
    """Calls run one after another on the thread, in the order in which they were asked for."""
    counts = await asyncio.gather(*(thread.run(add, number) for number in range(20)))
    assert counts == list(range(1, 21))
    name = await thread.run(lambda connection: threading.current_thread().name)
    assert name == "test"


async def test_sqlite_errors_are_translated(thread: ConnectionThread) -> None:
    """What SQLite raises becomes StoreUnavailable, with the store's URL and the cause."""
    cause = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(StoreUnavailable, match=r"sqlite:///test\.db.*disk I/O error") as caught:
        await thread.run(fail, cause)
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("value", [2**63, "\ud800"])
async def test_impossible_values_are_told_apart(thread: ConnectionThread, value: object) -> None:
    """A value that SQLite cannot store is the caller's fault, and the store goes on."""
    with pytest.raises(InvalidInput):
        await thread.run(add, value)
    assert await thread.run(add, "good") == 1


async def test_other_errors_pass(thread: ConnectionThread) -> None:
    """Errors of our own come through as they are, and the thread survives them."""
    error = StoreLocked("a", "b", "c")
    with pytest.raises(StoreLocked) as caught:
        await thread.run(fail, error)
    assert caught.value is error
    assert await thread.run(count) == 0


async def test_cancelled_call_finishes(thread: ConnectionThread) -> None:
    """Cancelling a caller lets what it asked for finish, and disturbs nobody else."""
    begun, go_on = threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await thread.run(hold, begun, go_on)
    assert begun.wait(10)
    go_on.set()
    assert await thread.run(count) == 1


async def test_stop_finishes_what_waits() -> None:
    """What was asked for before a stop is still done; what comes later is refused."""
    thread = ConnectionThread("test", URL, connect)
    await thread.start()
    begun, go_on = threading.Event(), threading.Event()

    async def add_late() -> int:
        assert begun.wait(10)
        answer = asyncio.gather(thread.run(add, "late"), _stop_soon(thread))
        go_on.set()
        return (await answer)[0]

    _, late = await asyncio.gather(thread.run(hold, begun, go_on), add_late())
    assert late == 2
    with pytest.raises(StoreUnavailable, match="not open"):
        await thread.run(count)


async def _stop_soon(thread: ConnectionThread) -> None:
    await thread.stop()


async def test_it_must_be_started(thread: ConnectionThread) -> None:
    """A thread that was not started refuses calls."""
    with pytest.raises(StoreUnavailable, match="not open"):
        await ConnectionThread("idle", URL, connect).run(count)


async def test_failed_start_is_translated() -> None:
    """A connection that cannot be made is an error, and the thread can be stopped then."""

    def refuse() -> sqlite3.Connection:
        raise sqlite3.DatabaseError("file is not a database")

    thread = ConnectionThread("test", URL, refuse)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await thread.start()
    with pytest.raises(StoreUnavailable, match="not open"):
        await thread.run(count)
    await thread.stop()
    thread.join()


async def test_stop_keeps_the_order() -> None:
    """A thread that stops after another one disconnects after it."""
    closed: list[str] = []
    closing_last = threading.Event()

    def closing(name: str) -> ConnectionThread:
        def disconnect(connection: sqlite3.Connection) -> None:
            connection.close()
            closed.append(name)
            if name == "last":
                closing_last.set()

        return ConnectionThread(name, URL, connect, disconnect)

    first, last = closing("first"), closing("last")
    await first.start()
    await last.start()
    begun, go_on = threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await first.run(hold, begun, go_on)
    stopped = [first.stop(), last.stop(after=first)]
    assert not closing_last.wait(0.05)
    go_on.set()
    await stopped[1]
    assert closed == ["first", "last"]


def test_thread_survives_its_loop() -> None:
    """A loop that ends while a call is made does not break the thread."""
    begun, go_on = threading.Event(), threading.Event()
    thread = ConnectionThread("test", URL, connect)

    async def leave() -> None:
        await thread.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await thread.run(hold, begun, go_on)

    async def stop() -> int:
        there = await thread.run(count)
        await thread.stop()
        return there

    asyncio.run(leave())
    go_on.set()
    assert asyncio.run(stop()) == 1
    thread.join()


async def test_a_thread_that_could_not_be_started_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no thread can be started, stopping waits for nobody, as the last of two as well."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first, second = (ConnectionThread(name, URL, connect) for name in ("first", "second"))
    await first.start()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        await second.start()
    async with asyncio.timeout(10):
        await second.stop()
        await first.stop(after=second)
    first.join()
    second.join()
