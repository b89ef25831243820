"""The inbox: everything that waits to be decided, in the order in which it came."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from flow.errors import FlowError
from flow.kernel.events import Attempt, Event
from flow.names import check_name
from flow.ports import Delivery
from flow.runtime import protocol
from flow.runtime.orchestrator.parking import Parked
from flow.runtime.protocol import Request, parse_correlation

__all__ = [
    "HOUSEKEEPING",
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


class Received:
    """A message arrived. What it is about is read here, once for all who want to know.

    Args:
        delivery: The message.
        source: Which kind of queue it came from.
        partition: The partition whose queue it was; None for a queue that all share.

    Attributes:
        is_second: Whether the workflow that it names was looked for in the store meanwhile.
        execution: The execution that it is about, if it says so in a way that makes sense; else
            an empty string, and the handler says what is wrong with it.
        attempt: The attempt that it is about, if it is from a worker.
        home: The partition of the execution, as soon as somebody has looked; None for none.
    """

    __slots__ = ("attempt", "delivery", "execution", "home", "is_second", "partition", "source")

    def __init__(
        self,
        delivery: Delivery,
        source: Source = Source.CONTROL,
        partition: int | None = None,
    ) -> None:
        """Read what it is about."""
        self.delivery = delivery
        self.source = source
        self.partition = partition
        self.is_second = False
        self.home: int | None = None
        self.execution, self.attempt = _about(delivery, source)


def _about(delivery: Delivery, source: Source) -> tuple[str, Attempt | None]:
    """Return the execution that a message is about, and the attempt."""
    envelope = delivery.envelope
    try:
        if envelope.type.startswith(protocol.REQUEST_PREFIX):
            name = envelope.headers.get("flow-execution", "")
            # The store may not even be able to look for what cannot be an id.
            return (check_name("execution", name) if name else ""), None
        if source is Source.PARTITION or source is Source.CONTROL:
            return parse_correlation(envelope.correlation_id)
    except FlowError:
        # The handler says what is wrong with it.
        return "", None
    return "", None


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
    """A start whose results were taken from an earlier execution, and its partition."""

    delivery: Delivery
    request: Request
    results: Mapping[str, bytes]
    home: int | None


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

HOUSEKEEPING: Final = frozenset({Recover, Lost, Handover, Sweep})
_FIRST: Final = frozenset({Recover, Lost, Handover})
PATIENCE: Final = 8
"""So often a sweep lets others go first; then it is its turn, however busy it is."""


class Inbox:
    """A queue for one reader. Brokers bound it: what is in it is unsettled, and so is limited.

    A sweep is in no hurry once it has begun, and each of its pages takes a while: the next one
    comes when nothing else waits, or when it has waited for long. The first comes in its turn, so
    that sweeps that find nothing are over at once, before anybody starts anything.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._items: deque[Item] = deque()
        self._first: deque[Item] = deque()
        self._last: deque[Item] = deque()
        self._passed_over = 0
        self._is_full = False
        self._filled = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._first) + len(self._items) + len(self._last)

    @property
    def is_calm(self) -> bool:
        """Whether nothing waits but sweeps that go on."""
        return not self._first and not self._items

    def put(self, item: Item) -> None:
        """Add an item. What changes who owns what goes first: the others depend on it."""
        if type(item) in _FIRST:
            self._first.append(item)
        elif isinstance(item, Sweep) and item.after:
            self._last.append(item)
        else:
            self._items.append(item)
        if not self._is_full:
            self._fill()

    def put_back(self, items: Iterable[Item]) -> None:
        """Give back what was taken, to be taken once more, before all others of its kind.

        Args:
            items: What was taken. Housekeeping is left out, because it is done.
        """
        again = [item for item in items if type(item) not in HOUSEKEEPING]
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
        for waiting in (self._first, self._items):
            room = limit - len(items)
            if len(waiting) <= room:
                items += waiting
                waiting.clear()
            else:
                items += [waiting.popleft() for _ in range(room)]
        if self._last:
            self._passed_over += 1
            if not items or self._passed_over > PATIENCE:
                self._passed_over = 0
                items.append(self._last.popleft())
        if not self:
            self._is_full = False
            self._filled.clear()
        return items

    def _fill(self) -> None:
        self._is_full = True
        self._filled.set()
        self._finished.clear()

    def finish(self) -> None:
        """Say that what was taken is dealt with."""
        if not self:
            self._finished.set()

    async def finished(self) -> None:
        """Wait until everything that was put in is dealt with."""
        await self._finished.wait()
