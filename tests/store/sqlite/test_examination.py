"""What is told about a file, good and bad."""

import sqlite3
from pathlib import Path

from flow.ports import Level
from store.sqlite import SqliteStore, examination
from tests.conformance.store import NAMESPACE


async def test_fine_file_is_described(tmp_path: Path) -> None:
    """A file that is set up well is fine; who only reads does not speak of durability."""
    path = tmp_path / "flow.db"
    store = SqliteStore(path, lambda: 0)
    await store.open(NAMESPACE)
    found = {each.subject: each for each in await store.examine()}
    assert {each.level for each in found.values()} == {Level.FINE}
    assert found["SQLite version"].detail == sqlite3.sqlite_version
    assert found["durability"].detail == "journal_mode is wal, synchronous is 2"
    reader = SqliteStore(path, lambda: 0, read_only=True)
    await reader.open(NAMESPACE)
    assert {each.subject for each in await reader.examine()} == set(found) - {"durability"}
    await reader.close()
    await store.close()


def test_open_file_is_warned_of(tmp_path: Path) -> None:
    """A file that others can read is warned of, and one that is not there is a problem."""
    path = tmp_path / "flow.db"
    assert examination.look_at_permissions(path).level is Level.PROBLEM
    path.touch()
    path.chmod(0o640)
    found = examination.look_at_permissions(path)
    assert (found.level, found.advice) == (Level.WARNING, f"chmod 600 {path}")


def test_weak_durability_is_a_problem() -> None:
    """A connection that does not wait for the disk is a problem."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA synchronous = OFF")
    assert examination.look_at_durability(connection).level is Level.PROBLEM
    connection.close()
