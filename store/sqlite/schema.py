"""How the file is opened: connections, migrations, and the namespace that it belongs to."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from flow.errors import ConfigurationError, StoreUnavailable, UnsupportedVersion
from flow.ports import Namespace
from store.sqlite.statements import MIGRATIONS, QUERIES

APPLICATION_ID: Final = int.from_bytes(b"flow", "big")
"""Stands in the header of every file of ours."""
VERSION: Final = MIGRATIONS[-1].version
"""The newest version of the schema that this program understands."""

_BUSY_TIMEOUT_S = 5.0
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_WRITER_SETTINGS = ("synchronous", "foreign_keys", "cache_size", "checkpoint_by_writer")
_READER_SETTINGS = ("query_only", "checkpoint_never")


def url_of(path: Path) -> str:
    """Return the URL of a database.

    Args:
        path: The database.
    """
    return f"sqlite:///{path}"


def prepare_folder(path: Path) -> None:
    """Make the folder of a database, for its owner only, unless it exists.

    Args:
        path: The database.

    Raises:
        StoreUnavailable: It cannot be made.
    """
    folder = path.resolve().parent
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(url_of(path), f"{folder}: {error.strerror}") from error


def open_writer(path: Path) -> sqlite3.Connection:
    """Open a database for writing; create it if it does not exist, and bring it up to date.

    Args:
        path: The database. The caller holds its lock.

    Raises:
        StoreUnavailable: It cannot be opened, or belongs to another program.
        UnsupportedVersion: A newer program has migrated it.
        sqlite3.Error: SQLite failed.
    """
    try:
        # SQLite gives the files beside it the same mode. What flows handle is nobody else's.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _FILE_MODE))
    except OSError as error:
        raise StoreUnavailable(url_of(path), str(error.strerror)) from error
    connection = _connect(path, "rw")
    try:
        version = _checked_version(connection, path)
        _use_wal(connection, path)
        for name in _WRITER_SETTINGS:
            connection.execute(QUERIES[name])
        _migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a database that is up to date for reading only.

    Such a connection never writes and never checkpoints, not even when it is the last to close.

    Args:
        path: The database.

    Raises:
        StoreUnavailable: It cannot be opened, is not ours, or has to be migrated first.
        UnsupportedVersion: A newer program has migrated it.
    """
    if not path.exists():
        raise StoreUnavailable(url_of(path), "there is no such file")
    connection = _connect(path, "ro")
    try:
        for name in _READER_SETTINGS:
            connection.execute(QUERIES[name])
        _check_migrated(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        hint = "reading needs its -wal and -shm files too, or leave to make them"
        raise StoreUnavailable(url_of(path), f"{error} ({hint})") from error
    except BaseException:
        connection.close()
        raise
    return connection


def settle_namespace(connection: sqlite3.Connection, path: Path, wish: Namespace) -> Namespace:
    """Create the namespace unless there is one, and free all leases and members.

    Who holds the file's lock is the only process. Whoever had a lease is gone, and waiting for the
    lease to run out would serve nobody. The epochs stay.

    Args:
        connection: A connection that may write.
        path: The database.
        wish: The namespace that the caller wants.

    Returns:
        The namespace as stored.

    Raises:
        ConfigurationError: The file belongs to another namespace.
    """
    with transaction(connection, "begin_write"):
        if not connection.execute(QUERIES["read_meta"], ("namespace",)).fetchone():
            connection.execute(QUERIES["write_meta"], ("namespace", wish.name))
            numbers = ((number,) for number in range(wish.partitions))
            connection.executemany(QUERIES["insert_partition"], numbers)
        connection.execute(QUERIES["delete_leases"])
        connection.execute(QUERIES["delete_members"])
        return read_namespace(connection, path, wish)


def read_namespace(connection: sqlite3.Connection, path: Path, wish: Namespace) -> Namespace:
    """Return the namespace of a database.

    Args:
        connection: Any connection.
        path: The database.
        wish: The namespace that the caller wants.

    Raises:
        ConfigurationError: The file belongs to another namespace.
        StoreUnavailable: It has none yet.
    """
    row = connection.execute(QUERIES["read_meta"], ("namespace",)).fetchone()
    if row is None:
        raise StoreUnavailable(url_of(path), "no namespace has been created in it yet")
    if row[0] != wish.name:
        reason = f"it holds the namespace {row[0]!r}, not {wish.name!r}; use another file"
        raise ConfigurationError(f"the store {url_of(path)}", reason)
    return Namespace(wish.name, int(_value(connection, "count_partitions")))


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """Run a block in a transaction, which an error rolls back.

    Args:
        connection: The connection.
        begin: The statement that begins it: `begin_write` or `begin_read`.
    """
    connection.execute(QUERIES[begin])
    with connection:
        yield


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # As a URI, because otherwise some names (":memory:", or none) would mean something else.
    uri = f"file:{quote(str(path.resolve()))}?mode={mode}"
    return sqlite3.connect(uri, timeout=_BUSY_TIMEOUT_S, isolation_level=None, uri=True)


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema: 0 for an empty file."""
    is_empty = _value(connection, "count_tables") == 0
    if _value(connection, "application_id") != APPLICATION_ID:
        if is_empty:
            return 0
        raise StoreUnavailable(url_of(path), "it is a database of another program")
    version = int(_value(connection, "user_version"))
    if version > VERSION:
        raise UnsupportedVersion(f"the store {url_of(path)}", version, VERSION)
    return version


def _check_migrated(connection: sqlite3.Connection, path: Path) -> None:
    if _checked_version(connection, path) < VERSION:
        reason = "an older version has made it: open it once for writing to migrate it"
        raise StoreUnavailable(url_of(path), reason)


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    if _value(connection, "journal_mode") != "wal":
        raise StoreUnavailable(url_of(path), "its file system cannot hold a shared WAL")


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for migration in MIGRATIONS:
        if migration.version > version:
            connection.executescript(migration.script)


def _value(connection: sqlite3.Connection, name: str) -> int | str:
    row: tuple[int | str] = connection.execute(QUERIES[name]).fetchone()
    return row[0]
