"""What was published on a channel and is not settled by the broker yet. Pure, but for futures.

Theory of operation
-------------------
The broker numbers what is published on a channel from 1 on, and so does this. It settles one
number, or all numbers up to one. A call waits for one future, whatever the number of its messages:
each settlement goes into its place of the call's outcomes, and the last one wakes the call.

Settling all up to a number costs as much as there are numbers that it settles: where everything
below was settled is remembered, and each number is passed once.

A message that is returned is settled by that; the confirm that follows finds nothing. It is known
by its id, which is therefore another one for each message on its way.
"""

import asyncio
from collections.abc import Callable, MutableSequence

from flow.ports import Settlement

__all__ = ["Call", "Confirms"]


class Call:
    """Messages that somebody waits for, together.

    Args:
        outcomes: Their places, and perhaps more.
        future: What is done when all of them are settled, or it is not waited for any longer.

    Attributes:
        count: How many they are.
    """

    __slots__ = ("_open", "count", "future", "outcomes")

    def __init__(
        self, outcomes: MutableSequence[Settlement | None], future: asyncio.Future[None]
    ) -> None:
        self.count = 0
        self.outcomes = outcomes
        self.future = future
        self._open = 0

    @property
    def is_settled(self) -> bool:
        """Whether all of them are."""
        return not self._open

    def start(self, count: int) -> None:
        """Begin to wait.

        Args:
            count: How many messages are on their way.
        """
        self.count = self._open = count
        if not count:
            self.end()

    def settle(self, number: int, settlement: Settlement) -> None:
        """Write down what became of a message, and wake who waits if it was the last one.

        Args:
            number: Its place.
            settlement: What became of it.
        """
        self.outcomes[number] = settlement
        self._open -= 1
        if not self._open:
            self.end()

    def end(self) -> None:
        """Wake who waits."""
        if not self.future.done():
            self.future.set_result(None)


class Confirms:
    """The unsettled messages of a channel.

    Args:
        new_id: Makes ids.
    """

    __slots__ = ("_last", "_lowest", "_new_id", "_pending", "_tags")

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._last = 0
        self._lowest = 1
        self._pending: dict[int, tuple[Call, int, str]] = {}
        self._tags: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many messages are not settled."""
        return len(self._pending)

    def expect(self, call: Call, number: int, wanted_id: str) -> str:
        """Take note of the next message; return the id that it has on the wire.

        Args:
            call: Who waits for it.
            number: Its place there.
            wanted_id: Its own id, or an empty string.
        """
        wire_id = wanted_id
        if not wanted_id or wanted_id in self._tags:
            wire_id = self._new_id()
        tag = self._last = self._last + 1
        self._pending[tag] = (call, number, wire_id)
        self._tags[wire_id] = tag
        return wire_id

    def settle(self, tag: int, settlement: Settlement, *, multiple: bool) -> None:
        """Settle a message, or all up to it. Does nothing to those that are settled.

        Args:
            tag: Its number.
            settlement: What became of it.
            multiple: Whether the same became of all before it.
        """
        if not multiple:
            self._settle(tag, settlement)
            return
        # A number that was never given out must not be counted up to.
        end = min(tag or self._last, self._last) + 1
        for each in range(self._lowest, end):
            self._settle(each, settlement)
        self._lowest = max(self._lowest, end)

    def returned(self, wire_id: str) -> None:
        """Take note that a message was returned.

        Args:
            wire_id: Its id on the wire.
        """
        tag = self._tags.get(wire_id)
        if tag is not None:
            self._settle(tag, Settlement.UNROUTABLE)

    def _settle(self, tag: int, settlement: Settlement) -> None:
        entry = self._pending.pop(tag, None)
        if entry is not None:
            call, number, wire_id = entry
            self._tags.pop(wire_id, None)
            call.settle(number, settlement)
