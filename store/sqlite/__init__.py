"""A store in one SQLite file, for one process at a time."""

from store.sqlite.lock import is_locked
from store.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "is_locked"]
