"""A store that keeps everything in memory: the reference for the others, and for tests."""

from store.memory.database import MemoryDatabase
from store.memory.inbox import MemoryInbox
from store.memory.store import MemoryStore

__all__ = ["MemoryDatabase", "MemoryInbox", "MemoryStore"]
