"""Admission: which of the items that came can be decided about now.

What arrives for a partition is decided about while it is open. If it is ours and not open yet, it
waits for the recovery. If it is not ours, it goes back to the queue that it came from, as soon as
we receive from that queue no more; sooner it would only come here again.
"""

from collections import deque
from collections.abc import Sequence

from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.inbox import (
    Happened,
    Item,
    Received,
    Resolved,
    Unparked,
    Woken,
)
from flow.runtime.orchestrator.subscriptions import Subscriptions

__all__ = ["Admission"]


class Admission:
    """Lets items in, keeps them for a while, or sends them back.

    Args:
        engine: The orchestrator's state.
        subscriptions: The queues that are consumed.
    """

    def __init__(self, engine: Engine, subscriptions: Subscriptions) -> None:
        """Begin with nobody waiting."""
        self._engine = engine
        self._subscriptions = subscriptions
        self._strays: list[tuple[int, Received | Resolved]] = []
        self._early: deque[Item] = deque()

    def admit(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that can be decided about now; the others wait, or go back.

        Args:
            items: What came.
        """
        admitted: list[Item] = []
        # Looked up once for all that came for a partition.
        are_open: set[int] = set()
        for item in items:
            if isinstance(item, Woken):
                admitted.append(Woken([name for name in item.names if self._is_open(name)]))
                continue
            partition = item.home if isinstance(item, Received) else self._partition_of(item)
            if partition is None and isinstance(item, Received) and item.execution:
                partition = item.home = self._engine.partition_of(item.execution)
            if partition is None or partition in are_open:
                admitted.append(item)
            elif self._engine.holdings.is_open(partition):
                are_open.add(partition)
                admitted.append(item)
            elif self._has_to_be_forwarded(item, partition):
                admitted.append(item)
        return admitted

    def _has_to_be_forwarded(self, item: Item, partition: int) -> bool:
        """Return whether an item comes in to be forwarded; else it waits, goes back, or is gone."""
        engine = self._engine
        if partition in engine.leases:
            self._early.append(item)
            return False
        if isinstance(item, Received | Resolved):
            return self._is_elsewhere(item, partition)
        return False

    def _is_elsewhere(self, item: Received | Resolved, partition: int) -> bool:
        """Return whether a message has to be forwarded; else it goes back to where it was."""
        if isinstance(item, Received) and item.partition != partition:
            return True
        self._engine.counters["strays"] += 1
        if self._subscriptions.receives(partition):
            self._strays.append((partition, item))
        else:
            item.delivery.requeue()
        return False

    def _is_open(self, name: str) -> bool:
        holdings = self._engine.holdings
        if name.startswith("@"):
            return holdings.is_open(int(name[1:]))
        return holdings.is_open(self._engine.partition_of(name))

    def _partition_of(self, item: Item) -> int | None:
        match item:
            case Resolved(request=request):
                name = request.execution
            case Happened(execution=execution):
                name = execution
            case Unparked(command=command):
                name = command.execution
            case _:
                name = ""
        return self._engine.partition_of(name) if name else None

    def readmit(self) -> None:
        """Look again at what waits: partitions were opened, or others receive for them now."""
        self._return_strays()
        early, self._early = self._early, deque()
        self._engine.inbox.put_back(early)

    def forget_strays(self) -> None:
        """Forget what has to go back: the connection is lost, and it comes again."""
        self._strays.clear()

    def _return_strays(self) -> None:
        strays, self._strays = self._strays, []
        ours: list[Item] = []
        for partition, item in strays:
            if partition in self._engine.leases:
                # It was lost, and is ours again: as long as we hold it, nobody else can get this.
                ours.append(item)
            elif self._subscriptions.receives(partition):
                self._strays.append((partition, item))
            else:
                item.delivery.requeue()
        self._engine.inbox.put_back(ours)
