"""What is particular to the store in memory; the rest is in the conformance suite."""

import pytest

from flow.errors import ConfigurationError
from flow.ports import Commit, Namespace, Store
from store.memory import MemoryDatabase, MemoryStore
from tests.conformance.store import NAMESPACE, TTL_MS, ids_of, load_one, put, row, take, write


def now_ms() -> int:
    """Return a time that stands still."""
    return 1_000


async def test_it_is_a_store() -> None:
    """The class satisfies the port, and names no place."""
    store: Store = MemoryStore(now_ms)
    assert isinstance(store, Store)
    assert store.url == "memory://"
    assert store.exclusive
    assert not MemoryStore(now_ms, MemoryDatabase()).exclusive


async def test_stores_share_nothing_by_default() -> None:
    """A store without a database has data of its own."""
    one, two = MemoryStore(now_ms), MemoryStore(now_ms)
    await one.open(NAMESPACE)
    await two.open(Namespace("other", 1))
    await put(one, await take(one, 0), write(row("a")))
    assert await ids_of(two, "a") == set()


async def test_stores_share_a_database() -> None:
    """Two stores on one database are two processes: each fences the other."""
    database = MemoryDatabase()
    one, two = MemoryStore(now_ms, database), MemoryStore(now_ms, database)
    await one.open(NAMESPACE)
    await two.open(NAMESPACE)
    old = await take(one, 0)
    assert await two.acquire(0, "two", TTL_MS) is None
    await one.close()
    new = await take(two, 0, owner="one")
    assert (await two.commit(Commit(old, (write(row("a")),)))).lost == {0}
    await put(two, new, write(row("a")))


async def test_values_are_kept_as_given() -> None:
    """Rows and records come back as the very objects that were written."""
    store = MemoryStore(now_ms)
    await store.open(NAMESPACE)
    given = write(row("a"), 1, b"a record that nobody copies")
    await put(store, await take(store, 0), given)
    loaded = await load_one(store, "a")
    assert loaded.summary is given.summary
    assert loaded.records[0] is given.record


@pytest.mark.parametrize("partition", [-1, 4])
async def test_unknown_partition_is_refused(partition: int) -> None:
    """A partition that the namespace does not have is a mistake of the set-up."""
    store = MemoryStore(now_ms)
    await store.open(NAMESPACE)
    with pytest.raises(ConfigurationError, match="partitions 0 to 3"):
        await store.due(partition, 0, 1)
