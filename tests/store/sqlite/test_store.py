"""What is particular to a store in a file; the rest is in the conformance suite."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from flow.errors import (
    ConfigurationError,
    InvalidInput,
    StoreLocked,
    StoreUnavailable,
    UnsupportedVersion,
)
from flow.ports import Commit, DefinitionRecord, Namespace, Store
from store.sqlite import SqliteStore, is_locked
from tests.conformance.store import NAMESPACE, TTL_MS, ids_of, load_one, put, row, take, write

ROOT = Path(__file__).parents[3]
OWNER = """
import asyncio, sys
from flow.ports import Namespace
from store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1], lambda: 0)
    await store.open(Namespace("suite", 4))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()

asyncio.run(main())
"""


CHANGES: Final[list[Callable[[Store], Awaitable[object]]]] = [
    lambda store: store.acquire(0, "one", TTL_MS),
    lambda store: store.renew("one", [], TTL_MS),
    lambda store: store.release([]),
    lambda store: store.commit(Commit(())),
    lambda store: store.save_definition(DefinitionRecord("a", "b", "", b"", 0)),
    lambda store: store.remove_definition("a"),
    lambda store: store.incarnate("", "a"),
]


def now_ms() -> int:
    """Return a time that stands still."""
    return 1_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the database may be made."""
    return tmp_path / "folder" / "flow.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """Open a store."""
    opened = SqliteStore(path, now_ms)
    await opened.open(NAMESPACE)
    yield opened
    await opened.close()


def make_file(path: Path, text: str) -> None:
    """Make a file with its folder."""
    path.parent.mkdir()
    path.write_text(text)


@contextmanager
def owner_process(path: Path) -> Generator[subprocess.Popen[str]]:
    """Let another process have the store until it gets a line, or is killed."""
    command = [sys.executable, "-c", OWNER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


async def test_it_is_a_store(path: Path, store: SqliteStore) -> None:
    """The class satisfies the port, and its URL is the path as it was given."""
    port: Store = store
    assert isinstance(port, Store)
    assert store.url == f"sqlite:///{path}"
    assert SqliteStore(".flow/shop.db", now_ms).url == "sqlite:///.flow/shop.db"
    assert store.exclusive
    assert not SqliteStore(path, now_ms, read_only=True).exclusive


async def test_file_has_one_store(path: Path, store: SqliteStore) -> None:
    """A second store is refused while the first is open, and not afterwards."""
    second = SqliteStore(path, now_ms)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()} "):
        await second.open(NAMESPACE)
    await second.close()
    assert is_locked(path)
    await store.close()
    assert not is_locked(path)
    await second.open(NAMESPACE)
    await second.close()


@pytest.mark.system
async def test_other_process_locks(path: Path) -> None:
    """Another process has the store until it closes it, and its pid is told."""
    with owner_process(path) as process:
        assert is_locked(path)
        with pytest.raises(StoreLocked, match=f"process {process.pid} on "):
            await SqliteStore(path, now_ms).open(NAMESPACE)
        assert process.stdin
        process.stdin.write("close\n")
        process.stdin.flush()
        assert process.wait(30) == 0
        assert not is_locked(path)


@pytest.mark.system
async def test_killed_process_unlocks(path: Path) -> None:
    """A process that is killed has the store no longer."""
    with owner_process(path) as process:
        process.kill()
        process.wait(30)
        store = SqliteStore(path, now_ms)
        assert await store.open(NAMESPACE) == NAMESPACE
        await store.close()


async def test_opening_twice_is_refused(store: SqliteStore) -> None:
    """A store that is open is not opened again, and stays open."""
    with pytest.raises(ConfigurationError, match="open already"):
        await store.open(NAMESPACE)
    assert await store.load([]) == {}


async def test_store_can_be_opened_again(store: SqliteStore) -> None:
    """A store that was closed can be opened again."""
    await put(store, await take(store, 0), write(row("a")))
    await store.close()
    await store.open(NAMESPACE)
    assert await ids_of(store, "a") == {"a"}


async def test_opening_frees_leases(store: SqliteStore) -> None:
    """Who opens the store need not wait for the leases of a process that is gone."""
    old = await take(store, 0)
    await store.close()
    await store.open(NAMESPACE)
    (new,) = await take(store, 0, owner="two")
    assert new.epoch == old[0].epoch + 1
    assert (await store.commit(Commit(old))).lost == {0}


async def test_closing_leaves_one_file(path: Path, store: SqliteStore) -> None:
    """A store that is closed leaves its data in one file, and no thread."""
    await put(store, await take(store, 0), write(row("a")))
    threads = [each for each in threading.enumerate() if each.name.startswith("flowmq-sqlite")]
    assert len(threads) == 2
    await store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["flow.db", "flow.db.lock"]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


async def test_reader_closes_first(path: Path, store: SqliteStore) -> None:
    """The store stays locked until the last read is done, and then leaves no WAL behind."""
    go_on = threading.Event()
    assert store._reader
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await store._reader.run(lambda connection: go_on.wait(10))
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await store.close()
    assert is_locked(path)
    go_on.set()
    await store.close()
    assert not is_locked(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["flow.db", "flow.db.lock"]


async def test_two_may_close(path: Path, store: SqliteStore) -> None:
    """Whoever closes a store waits until it is closed, even if another does and gives up."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await store.close()
    await asyncio.gather(store.close(), store.close())
    assert not is_locked(path)


async def test_failed_open_unlocks(path: Path, store: SqliteStore) -> None:
    """A store that could not be opened holds nothing."""
    await store.close()
    with pytest.raises(ConfigurationError):
        await SqliteStore(path, now_ms).open(Namespace("other", 4))
    assert not is_locked(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UnsupportedVersion, match="version 99"):
        await SqliteStore(path, now_ms).open(NAMESPACE)
    assert not is_locked(path)


async def test_cancelled_open_unlocks(path: Path) -> None:
    """An opening that is given up gives the lock back."""
    store = SqliteStore(path, now_ms)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await store.open(NAMESPACE)
    await store.close()
    assert not is_locked(path)
    assert await store.open(NAMESPACE) == NAMESPACE
    await store.close()


@pytest.mark.parametrize("read_only", [True, False])
async def test_other_file_is_refused(path: Path, *, read_only: bool) -> None:
    """A file that is no database is an error that names it and has the cause."""
    make_file(path, "This is not a database, and long enough to tell." * 100)
    with pytest.raises(StoreUnavailable, match=r"flow\.db .*not a database") as caught:
        await SqliteStore(path, now_ms, read_only=read_only).open(NAMESPACE)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert not is_locked(path)


async def test_reading_needs_no_lock(path: Path, store: SqliteStore) -> None:
    """A store for reading is opened beside the owner, and sees its commits as they come."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    reader = SqliteStore(path, now_ms, read_only=True)
    assert await reader.open(replace(NAMESPACE, partitions=9)) == NAMESPACE
    assert await ids_of(reader, "a", "b") == {"a"}
    await put(store, leases, write(row("b")))
    assert await ids_of(reader, "a", "b") == {"a", "b"}
    await store.close()
    assert await ids_of(reader, "a", "b") == {"a", "b"}
    assert not is_locked(path)
    await reader.close()


async def test_reader_opens_a_closed_store(path: Path, store: SqliteStore) -> None:
    """A store for reading can be opened when nothing runs, and leaves the owner its way."""
    await put(store, await take(store, 0), write(row("a")))
    await store.close()
    reader = SqliteStore(path, now_ms, read_only=True)
    await reader.open(NAMESPACE)
    assert await ids_of(reader, "a") == {"a"}
    await store.open(NAMESPACE)
    await put(store, await take(store, 0), write(row("b")))
    assert await ids_of(reader, "a", "b") == {"a", "b"}
    await reader.close()


@pytest.mark.parametrize("call", CHANGES)
async def test_reader_does_not_write(
    path: Path, store: SqliteStore, call: Callable[[Store], Awaitable[object]]
) -> None:
    """Whatever writes is refused by a store for reading."""
    reader = SqliteStore(path, now_ms, read_only=True)
    await reader.open(NAMESPACE)
    with pytest.raises(ConfigurationError, match="for reading only"):
        await call(reader)
    await reader.close()


async def test_reader_makes_nothing(path: Path) -> None:
    """A store for reading that is not there is an error, and is not made."""
    with pytest.raises(StoreUnavailable, match="no such file"):
        await SqliteStore(path, now_ms, read_only=True).open(NAMESPACE)
    assert not path.parent.exists()


async def test_full_disk_is_reported(store: SqliteStore) -> None:
    """A disk that is full fails the commit as a whole, and later ones work when there is space."""
    leases = await take(store, 0)
    await put(store, leases, write(row("a")))
    assert store._writer
    await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailable, match="full"):
        await store.commit(Commit(leases, (write(row("b"), 1, bytes(2**20)),)))
    assert await ids_of(store, "a", "b") == {"a"}
    await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 9999"))
    await put(store, leases, write(row("b"), 1, bytes(2**20)))


async def test_impossible_value_is_refused(store: SqliteStore) -> None:
    """A value that cannot be stored fails its commit, and nothing of it is written."""
    leases = await take(store, 0)
    bad = row("b")._replace(incident="\ud800")
    with pytest.raises(InvalidInput):
        await store.commit(Commit(leases, (write(row("a")), write(bad))))
    assert await ids_of(store, "a", "b") == set()


async def test_cancelled_commit_is_whole(store: SqliteStore) -> None:
    """Cancelling who waits for a commit does not stop the commit."""
    leases = await take(store, 0)
    rows = [row(f"a-{number}")._replace(wake_ms=1) for number in range(500)]
    writes = tuple(write(each) for each in rows)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await store.commit(Commit(leases, writes))
    assert (await store.renew("one", leases, TTL_MS)).held == {0}
    assert len(await store.active(0, 1, "", 1_000)) == 500


async def test_reads_see_answered_commits(store: SqliteStore) -> None:
    """A read that begins after a commit was answered sees it, though on another connection."""
    leases = await take(store, 0)
    for seq in range(1, 101):
        await put(store, leases, write(row("a"), seq))
        assert (await load_one(store, "a")).seq == seq
