"""A store that keeps everything in memory: the reference for the others, and for tests."""

from store.memory.store import MemoryDatabase, MemoryStore

__all__ = ["MemoryDatabase", "MemoryStore"]
