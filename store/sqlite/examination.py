"""What a person should know about the file: its version, its durability, who may read it."""

import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path

from flow.ports import Finding, Level
from store.sqlite.statements import QUERIES

_FULL = 2
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MIB = 1 << 20


def look_at_file(connection: sqlite3.Connection, path: Path) -> Sequence[Finding]:
    """Return which SQLite it is, and how much stands in the file.

    Args:
        connection: Any connection.
        path: The database.
    """
    version = str(connection.execute(QUERIES["sqlite_version"]).fetchone()[0])
    size = int(connection.execute(QUERIES["size"]).fetchone()[0])
    return [
        Finding(Level.FINE, "SQLite version", version),
        Finding(Level.FINE, "size", f"{path} has {size / _MIB:.1f} MiB"),
    ]


def look_at_permissions(path: Path) -> Finding:
    """Return whether somebody else can read what flows handle.

    Args:
        path: The database.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Finding(Level.PROBLEM, "permissions", f"{path}: {error.strerror}")
    detail = f"{path} is {stat.filemode(mode)}"
    if mode & _OTHERS:
        return Finding(Level.WARNING, "permissions", detail, f"chmod 600 {path}")
    return Finding(Level.FINE, "permissions", detail)


def look_at_durability(connection: sqlite3.Connection) -> Finding:
    """Return whether a commit that was answered survives a loss of power.

    Args:
        connection: The writer's.
    """
    mode = str(connection.execute(QUERIES["journal_mode_now"]).fetchone()[0])
    synchronous = int(connection.execute(QUERIES["synchronous_now"]).fetchone()[0])
    detail = f"journal_mode is {mode}, synchronous is {synchronous}"
    if mode == "wal" and synchronous >= _FULL:
        return Finding(Level.FINE, "durability", detail)
    advice = "report it: the store always sets WAL and FULL"
    return Finding(Level.PROBLEM, "durability", detail, advice)
