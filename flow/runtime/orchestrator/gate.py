"""The gate: starts wait in front of it while too much is on its way. Replies never wait."""

from collections import deque
from collections.abc import Collection, Sequence

from flow.runtime.orchestrator.dispatcher import Dispatcher
from flow.runtime.orchestrator.inbox import Inbox, Item, Received, Woken

__all__ = ["Gate"]

START = "request.start"


class Gate:
    """Lets starts through as long as there is room.

    Brokers bound how many can wait: what waits is unsettled.

    Args:
        dispatcher: Knows how many commands are on their way.
        inbox: Gets a nudge when there is room again.
        limit: So many commands may be on their way.
    """

    def __init__(self, dispatcher: Dispatcher, inbox: Inbox, limit: int) -> None:
        """Begin open."""
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._limit = limit
        self._waiting: deque[Received] = deque()

    def __len__(self) -> int:
        """Return how many starts wait."""
        return len(self._waiting)

    def sift(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items that may be decided now, those that waited for it included.

        Args:
            items: What came.
        """
        if self._dispatcher.load < self._limit:
            waiting, self._waiting = self._waiting, deque()
            return [*items, *waiting] if waiting else items
        kept: list[Item] = []
        for item in items:
            if isinstance(item, Received) and item.delivery.envelope.type == START:
                self._waiting.append(item)
            else:
                kept.append(item)
        if self._waiting:
            self._dispatcher.when_below(self._limit, self._nudge)
        return kept

    def take(self, partitions: Collection[int]) -> list[Received]:
        """Take out what waits for partitions that are somebody else's now.

        Args:
            partitions: Which.
        """
        gone = [item for item in self._waiting if item.partition in partitions]
        self._waiting = deque(item for item in self._waiting if item.partition not in partitions)
        return gone

    def clear(self) -> None:
        """Forget everything that waits: the connection is lost, and it comes again."""
        self._waiting.clear()

    def _nudge(self) -> None:
        self._inbox.put(Woken(()))
