"""The inbox: everything that waits to be decided, in the order in which it came."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flow.kernel.events import Event
from flow.ports import Delivery
from flow.runtime.protocol import Request

__all__ = ["Happened", "Inbox", "Item", "Received", "Recover", "Resolved", "Woken"]


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Happened:
    """Something came out of dispatching; its outbox row is settled by the same commit."""

    execution: str
    event: Event
    settles: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Woken:
    """Timers are due: names of executions, or `@` and the number of a partition."""

    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A start whose results were taken from an earlier execution."""

    delivery: Delivery
    request: Request
    results: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Recover:
    """Partitions have to be loaded from the store.

    Args:
        partitions: Which.
        again: Whether to take their leases once more before, because nobody knows what was
            written last.
    """

    partitions: tuple[int, ...]
    again: bool = False


Item = Received | Happened | Woken | Resolved | Recover


class Inbox:
    """A queue for one reader. Brokers bound it: what is in it is unsettled, and so is limited."""

    def __init__(self) -> None:
        """Begin empty."""
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item. Recovery goes first: nothing may be decided on what may not be true."""
        if isinstance(item, Recover):
            self._items.appendleft(item)
        else:
            self._items.append(item)
        self._filled.set()
        self._finished.clear()

    def put_back(self, items: Iterable[Item]) -> None:
        """Give back what was taken, to be taken once more: after recovery, before all others.

        Args:
            items: What was taken. Recoveries are left out, because they are done.
        """
        first = [item for item in self._items if isinstance(item, Recover)]
        others = [item for item in self._items if not isinstance(item, Recover)]
        again = [item for item in items if not isinstance(item, Recover)]
        self._items = deque([*first, *again, *others])
        if self._items:
            self._filled.set()
            self._finished.clear()

    async def take(self, limit: int) -> list[Item]:
        """Wait for items, and return the oldest ones.

        Args:
            limit: How many at most.
        """
        await self._filled.wait()
        items = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        if not self._items:
            self._filled.clear()
        return items

    def finish(self) -> None:
        """Say that what was taken is dealt with."""
        if not self._items:
            self._finished.set()

    async def finished(self) -> None:
        """Wait until everything that was put in is dealt with."""
        await self._finished.wait()
