"""How a file is opened, and which files are not."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from flow.errors import ConfigurationError, StoreUnavailable, UnsupportedVersion
from flow.ports import Lease, Namespace, Pruned, StoredExecution, Tombstone
from flow.status import Status
from store.sql import Migration
from store.sqlite import SqliteStore, schema
from store.sqlite.statements import MIGRATIONS, QUERIES

WISH = Namespace("shop", 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a database may be made."""
    return tmp_path / "flow.db"


def setting(connection: sqlite3.Connection, name: str) -> object:
    """Return the value of a setting."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_settings_are_safe(path: Path) -> None:
    """The writer has a WAL that is synchronised with every commit; the reader never writes."""
    with closing(schema.open_writer(path)) as writer, closing(schema.open_reader(path)) as reader:
        full = 2
        assert setting(writer, "journal_mode") == "wal"
        assert setting(writer, "synchronous") == full
        assert setting(writer, "wal_autocheckpoint") == 4_000
        assert setting(reader, "query_only") == 1
        assert setting(reader, "wal_autocheckpoint") == 0
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM meta")


def test_new_file_is_private(path: Path) -> None:
    """A new file, and what SQLite puts beside it, is for its owner only."""
    with closing(schema.open_writer(path)):
        modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == {0o600}


def test_folder_is_made(tmp_path: Path) -> None:
    """A folder that is missing is made for its owner only; one that is there is left as it is."""
    schema.prepare_folder(tmp_path / "new" / "flow.db")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "new").chmod(0o750)
    schema.prepare_folder(tmp_path / "new" / "flow.db")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


def test_impossible_folder_is_reported(tmp_path: Path) -> None:
    """A folder that cannot be made is an error that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file/folder: Not a directory"):
        schema.prepare_folder(tmp_path / "file" / "folder" / "flow.db")


@pytest.mark.parametrize("name", [":memory:", "a b?mode=memory", "100%25#x", "ü.db", "file:x"])
def test_names_are_names(tmp_path: Path, name: str) -> None:
    """Whatever a file is called, it is that file."""
    with closing(schema.open_writer(tmp_path / name)):
        assert (tmp_path / name).stat().st_size > 0 or (tmp_path / f"{name}-wal").exists()
    with closing(schema.open_reader(tmp_path / name)) as reader:
        assert setting(reader, "user_version") == schema.VERSION


def test_damaged_file_is_refused(path: Path) -> None:
    """A file that is no database is an error of SQLite, and is not touched."""
    path.write_bytes(b"not a database, but long enough to look into" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        schema.open_writer(path)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        schema.open_reader(path)
    assert path.read_bytes().startswith(b"not a database")


def test_directory_is_refused(tmp_path: Path) -> None:
    """A folder is no database."""
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        schema.open_writer(tmp_path)


def test_foreign_database_is_refused(path: Path) -> None:
    """The database of another program is not migrated, and stays as it was."""
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE t (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        schema.open_writer(path)
    with pytest.raises(StoreUnavailable, match="another program"):
        schema.open_reader(path)
    assert path.read_bytes() == before


def test_newer_schema_is_refused(path: Path) -> None:
    """A file that a newer program has migrated is opened by neither connection."""
    with closing(schema.open_writer(path)) as writer:
        writer.execute("PRAGMA user_version = 99")
    for opener in (schema.open_writer, schema.open_reader):
        with pytest.raises(UnsupportedVersion) as caught:
            opener(path)
        assert (caught.value.found, caught.value.supported) == (99, schema.VERSION)


def test_reader_needs_a_migrated_file(path: Path) -> None:
    """A reader neither makes a file nor migrates one."""
    with pytest.raises(StoreUnavailable, match="no such file"):
        schema.open_reader(path)
    path.touch()
    with pytest.raises(StoreUnavailable, match="to migrate it"):
        schema.open_reader(path)
    assert path.stat().st_size == 0


def test_unreadable_wal_is_explained(path: Path) -> None:
    """A reader that cannot use the files beside the database says what it needs."""
    with closing(schema.open_writer(path)):
        pass
    path.with_name("flow.db-wal").mkdir()
    with pytest.raises(StoreUnavailable, match="-wal and -shm"):
        schema.open_reader(path)


def test_wal_is_required(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite cannot use a WAL, the store is refused."""
    queries = {**QUERIES, "journal_mode": "PRAGMA journal_mode = DELETE"}
    monkeypatch.setattr(schema, "QUERIES", queries)
    with pytest.raises(StoreUnavailable, match="cannot hold a shared WAL"):
        schema.open_writer(path)


def test_failed_migration_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails in the middle is undone, and can be tried again."""
    broken = MIGRATIONS[0].script.replace("COMMIT;", "INSERT INTO missing VALUES (1);")
    monkeypatch.setattr(schema, "MIGRATIONS", [Migration(1, broken)])
    with pytest.raises(sqlite3.OperationalError, match="missing"):
        schema.open_writer(path)
    monkeypatch.undo()
    with closing(schema.open_writer(path)) as writer:
        assert setting(writer, "user_version") == schema.VERSION


def test_namespace_is_created_once(path: Path) -> None:
    """The first wish is granted; later ones get what is stored, or are refused."""
    with closing(schema.open_writer(path)) as writer:
        with pytest.raises(StoreUnavailable, match="no namespace"):
            schema.read_namespace(writer, path, WISH)
        assert schema.settle_namespace(writer, path, WISH) == WISH
        assert schema.settle_namespace(writer, path, Namespace("shop", 8)) == WISH
        with pytest.raises(ConfigurationError, match="'shop', not 'other'"):
            schema.settle_namespace(writer, path, Namespace("other", 3))


def test_transaction_is_undone_by_an_error(path: Path) -> None:
    """An error in a transaction rolls it back, and the next one can begin."""
    with closing(schema.open_writer(path)) as writer:
        with suppress(ZeroDivisionError), schema.transaction(writer, "begin_write"):
            writer.execute("INSERT INTO meta VALUES ('a', 'b')")
            raise ZeroDivisionError
        with schema.transaction(writer, "begin_write"):
            assert writer.execute("SELECT count(*) FROM meta").fetchone() == (0,)


def old_file(path: Path) -> None:
    """Make a file as version 1 left it, with an execution that has ended and one that has not."""
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(MIGRATIONS[0].script)
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("INSERT INTO meta VALUES ('namespace', 'shop')")
        old.executemany("INSERT INTO partition VALUES (?, 'gone', 7)", [(0,), (1,), (2,)])
        for number, (name, ended_ms) in enumerate([("done", 5), ("runs", None)], start=1):
            row = (number, name, 1, "w", "d", "RUNNING", 1, ended_ms, "", "{}")
            old.execute(f"INSERT INTO execution VALUES ({', '.join('?' * len(row))})", row)
            old.execute("INSERT INTO progress VALUES (?, 1, 1, NULL, 1, 1)", (number,))
            old.execute("INSERT INTO journal VALUES (?, 1, 1, ?)", (number, b"{}"))


async def test_older_file_is_migrated(path: Path) -> None:
    """A file of version 1 is brought up to date when it is opened, and keeps what it has."""
    old_file(path)
    store = SqliteStore(path, lambda: 1_000)
    assert await store.open(WISH) == WISH
    loaded = await store.load(["done", "runs"])
    assert [type(each) for each in loaded.values()] == [StoredExecution, StoredExecution]
    assert await store.acquire(1, "one", 1_000) == Lease(1, "one", 8)
    assert await store.prune(9, 0, 9) == Pruned(1, 0, has_more=False)
    assert (await store.load(["done"]))["done"] == Tombstone("done", "w", Status.RUNNING, 5, "")
    assert await store.revision() == 0
    await store.close()


def test_older_file_is_not_read_only_migrated(path: Path) -> None:
    """Who only reads an older file is told to open it for writing once."""
    old_file(path)
    with pytest.raises(StoreUnavailable, match="to migrate it"):
        schema.open_reader(path)
