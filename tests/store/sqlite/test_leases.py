"""What is particular to leases in a file; what they do is conformance."""

from pathlib import Path

from store.sqlite import SqliteStore
from tests.conformance.store import NAMESPACE, take

FOREVER_MS = 1_000 * 365 * 86_400_000


async def test_members_end_with_their_process(tmp_path: Path) -> None:
    """Whoever opens the file is alone: members of before are gone, however long they wished."""
    path = tmp_path / "flow.db"
    store = SqliteStore(path, lambda: 1_000)
    await store.open(NAMESPACE)
    await store.renew("one", await take(store, 0), FOREVER_MS)
    await store.close()
    again = SqliteStore(path, lambda: 1_000)
    await again.open(NAMESPACE)
    assert (await again.renew("two", (), FOREVER_MS)).members == ("two",)
    await again.close()


async def test_incarnation_outlives_the_process(tmp_path: Path) -> None:
    """What was sent to which incarnation of the broker is known to the next process."""
    path = tmp_path / "flow.db"
    store = SqliteStore(path, lambda: 1_000)
    await store.open(NAMESPACE)
    await store.note_incarnation(await take(store, 0), "first")
    await store.close()
    again = SqliteStore(path, lambda: 1_000)
    await again.open(NAMESPACE)
    (lease,) = await take(again, 0, owner="two")
    assert lease.incarnation == "first"
    await again.close()
