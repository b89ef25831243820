"""What is particular to the data in memory; the rest is in the conformance suite."""

import pytest

from flow.errors import ConfigurationError
from flow.ports import Namespace
from flow.status import Status
from store.memory import MemoryDatabase, MemoryStore
from tests.conformance.store import NAMESPACE, put, row, take, write


def test_partitions_are_checked() -> None:
    """A partition that the namespace does not have is a mistake of the set-up."""
    database = MemoryDatabase()
    database.settle(Namespace("shop", 2))
    with pytest.raises(ConfigurationError, match="partitions 0 to 1"):
        database.partition(2)


async def test_homes_outlive_pruning() -> None:
    """The partition of an execution is known as long as its tombstone stands."""
    database = MemoryDatabase()
    store = MemoryStore(lambda: 1_000, database)
    await store.open(NAMESPACE)
    ended = row("a", 3)._replace(status=Status.SUCCESS, ended_ms=5)
    await put(store, await take(store, 3), write(ended))
    assert database.home("a") == 3
    await store.prune(6, 0, 1)
    assert (database.home("a"), database.row("a")) == (3, None)
    await store.prune(6, 6, 1)
    assert database.home("a") is None
