"""The inbox: everything that waits to be decided, in the order in which it came."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from flow.kernel.events import Event
from flow.ports import Delivery
from flow.runtime.orchestrator.parking import Parked
from flow.runtime.protocol import Request

__all__ = [
    "Handover",
    "Happened",
    "Housekeeping",
    "Inbox",
    "Item",
    "Lost",
    "Received",
    "Recover",
    "Resolved",
    "Source",
    "Sweep",
    "Unparked",
    "Woken",
]


class Source(Enum):
    """Which kind of queue a message came from."""

    PARTITION = "partition"
    CONTROL = "control"
    TRIGGER = "trigger"
    ANNOUNCE = "announce"


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived.

    Args:
        delivery: The message.
        source: Which kind of queue it came from.
        partition: The partition whose queue it was; None for a queue that all share.
        is_second: Whether the workflow that it names was looked for in the store meanwhile.
    """

    delivery: Delivery
    source: Source = Source.CONTROL
    partition: int | None = None
    is_second: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """Something came out of dispatching; its outbox row is settled by the same commit."""

    execution: str
    event: Event
    settles: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Unparked:
    """A command that waited for its endpoint is to be tried again."""

    command: Parked


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
        partitions: Which; those that are open are passed over.
        again: Whether to take the leases of all that are not open once more before, because nobody
            knows what was written last.
    """

    partitions: tuple[int, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Partitions are somebody else's; everything of them was forgotten."""

    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Handover:
    """Partitions are to be given back in good order."""

    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The next page of a partition's executions has to be sent again."""

    partition: int
    term: int
    after: str


Housekeeping = Recover | Lost | Handover | Sweep
Item = Received | Happened | Unparked | Woken | Resolved | Housekeeping


class Inbox:
    """A queue for one reader. Brokers bound it: what is in it is unsettled, and so is limited."""

    def __init__(self) -> None:
        """Begin empty."""
        self._items: deque[Item] = deque()
        self._first: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._first) + len(self._items)

    def put(self, item: Item) -> None:
        """Add an item. What changes who owns what goes first: the others depend on it."""
        if isinstance(item, Recover | Lost | Handover):
            self._first.append(item)
        else:
            self._items.append(item)
        self._fill()

    def put_back(self, items: Iterable[Item]) -> None:
        """Give back what was taken, to be taken once more, before all others of its kind.

        Args:
            items: What was taken. Housekeeping is left out, because it is done.
        """
        again = [item for item in items if not isinstance(item, Housekeeping)]
        self._items.extendleft(reversed(again))
        if self:
            self._fill()

    async def take(self, limit: int) -> list[Item]:
        """Wait for items, and return the oldest ones.

        Args:
            limit: How many at most.
        """
        await self._filled.wait()
        items: list[Item] = []
        while len(items) < limit and self:
            items.append((self._first or self._items).popleft())
        if not self:
            self._filled.clear()
        return items

    def _fill(self) -> None:
        self._filled.set()
        self._finished.clear()

    def finish(self) -> None:
        """Say that what was taken is dealt with."""
        if not self:
            self._finished.set()

    async def finished(self) -> None:
        """Wait until everything that was put in is dealt with."""
        await self._finished.wait()
