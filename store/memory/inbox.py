"""An inbox in memory: the reference for others, and for tests of handlers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from flow.clock import SystemClock, cancel_after
from flow.errors import StoreUnavailable
from flow.ports import Clock, InboxAttempt, SavedReply

URL: Final = "memory://"
WAIT_S: Final = 10.0
"""How long an attempt waits for another one that has its key."""


@dataclass(slots=True)
class MemoryAttempt:
    """One transaction that has taken a key.

    Args:
        take: Waits for another key, and keeps it to the end of the attempt.
        saved: The reply that was saved before, or None.
        is_tombstone: Whether a tombstone was left for the key.

    Attributes:
        connection: Takes the effects of the handler; they count once the attempt is whole.
        reply: The reply that this attempt has saved.
        buried: The keys that this attempt leaves tombstones for.
    """

    take: Callable[[str], Awaitable[None]]
    saved: SavedReply | None = None
    is_tombstone: bool = False
    connection: list[object] = field(default_factory=list[object])
    reply: SavedReply | None = None
    buried: list[str] = field(default_factory=list[str])

    async def bury(self, key: str) -> None:
        """Leave a tombstone. See `flow.ports.InboxAttempt`."""
        if key not in self.buried:
            await self.take(key)
            self.buried.append(key)

    async def save(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Note the reply. See `flow.ports.InboxAttempt`."""
        self.reply = SavedReply(body, dict(headers))


class MemoryInbox:
    """An inbox in memory. The connection of its attempts is a list that takes the effects.

    Args:
        clock: The time that keys age by, and that an attempt waits by.

    Attributes:
        url: Where it is: in memory.
        effects: What the connections of whole attempts have taken, in order.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """Begin without a key."""
        self.url = URL
        self.effects: list[object] = []
        self._clock = clock or SystemClock()
        # None is a tombstone.
        self._replies: dict[str, tuple[int, SavedReply | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._is_open = False

    async def open(self) -> None:
        """Let attempts be made."""
        self._is_open = True

    async def close(self) -> None:
        """Refuse further attempts. The keys stay."""
        self._is_open = False

    @asynccontextmanager
    async def attempt(self, key: str) -> AsyncGenerator[InboxAttempt]:
        """Begin a transaction that takes *key*. See `flow.ports.Inbox`."""
        if not self._is_open:
            raise StoreUnavailable(self.url, "it is not open")
        held = list[asyncio.Lock]()

        async def take(name: str) -> None:
            held.append(await self._lock(name))

        try:
            await take(key)
            known = self._replies.get(key)
            saved = known[1] if known else None
            attempt = MemoryAttempt(take, saved, known is not None and saved is None)
            yield attempt
            if attempt.reply is not None:
                now_ms = self._clock.now_ms()
                self._replies[key] = (now_ms, attempt.reply)
                self._replies.update(dict.fromkeys(attempt.buried, (now_ms, None)))
                self.effects += attempt.connection
        finally:
            for lock in held:
                lock.release()

    async def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.setdefault(key, asyncio.Lock())
        with cancel_after(self._clock, WAIT_S) as scope:
            await lock.acquire()
        if scope.cancelled_caught:
            raise StoreUnavailable(self.url, f"another attempt has had the key for {WAIT_S:g} s")
        return lock

    async def forget(self, older_than_ms: int, limit: int) -> int:
        """Delete the oldest keys. See `flow.ports.Inbox`."""
        before_ms = self._clock.now_ms() - older_than_ms
        ages = sorted((at, key) for key, (at, _) in self._replies.items() if at < before_ms)
        for _, key in ages[:limit]:
            del self._replies[key]
            if not self._locks[key].locked():
                del self._locks[key]
        return len(ages[:limit])
