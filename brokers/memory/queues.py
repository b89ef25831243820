"""A queue: the messages that wait in it, and the consumers that they are handed to.

Theory of operation
-------------------
Each message has a *place*, a number that only grows in its queue. New messages are appended to
a deque. A message that is given back goes to a heap ordered by place: whatever was handed out
has a lower place than all that still wait in the deque, so the heap goes first, and a message
always returns to where it was.

Consumers that have credit left stand in a deque of their own, which is turned by one with each
message: that is the round robin. Whenever there is both a message and a consumer with credit,
one call of the *pump* is put on the event loop. It hands out as many as credit allows, up to
`TURN` of them, so that nobody else on the loop has to wait long. No task is ever made.

An unsettled delivery stands in the table of its session, which is ordered by insertion. Taking
it out of there *is* settling it: what is not in the table any more was settled before, or its
session has ended, and nothing happens.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from flow.ports import Delivery, Envelope, Publication, Queue

__all__ = ["Consumer", "Limits", "MemoryDelivery", "MemoryQueue", "weigh"]

TURN: Final = 256
"""Messages that one queue hands out before others on the event loop get their turn."""
REJECTED: Final = "rejected"
DELIVERY_LIMIT: Final = "delivery_limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one queue may hold, unsettled messages included.

    Args:
        items_max: Messages.
        bytes_max: Bytes of bodies and headers.
        returns_max: How often a message may be given back before it is dead-lettered.
    """

    items_max: int
    bytes_max: int
    returns_max: int


class MemoryDelivery:
    """A message in one queue, waiting or handed out; satisfies `flow.ports.Delivery`.

    One that is given back becomes another object, so that the one in the hands of a consumer is
    void for good.

    Args:
        envelope: The message.
        routing_key: The key that it was published with.
        place: Its number in the order of the queue.
        size: What it counts for against the bound, in bytes.
        returns: How often it was given back.

    Attributes:
        unsettled: The table of those that it is in the hands of, once it was handed out.
    """

    __slots__ = ("envelope", "place", "returns", "routing_key", "size", "unsettled")

    def __init__(
        self, envelope: Envelope, routing_key: str, place: int, size: int, returns: int = 0
    ) -> None:
        self.envelope = envelope
        self.routing_key = routing_key
        self.place = place
        self.size = size
        self.returns = returns
        self.unsettled = _NOT_HANDED_OUT

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        return self.returns > 0

    def ack(self) -> None:
        """Tell the queue that the message is done with."""
        consumer = self.unsettled.pop(self, None)
        if consumer is not None:
            consumer.queue.forget(self)
            consumer.replenish()

    def requeue(self) -> None:
        """Give the message back to its place in the queue."""
        consumer = self.unsettled.pop(self, None)
        if consumer is not None:
            consumer.queue.put_back(self)
            consumer.replenish()

    def reject(self) -> None:
        """Send the message to the queue's dead-letter exchange."""
        consumer = self.unsettled.pop(self, None)
        if consumer is not None:
            consumer.queue.discard(self, REJECTED)
            consumer.replenish()


_NOT_HANDED_OUT: Final[dict[MemoryDelivery, "Consumer"]] = {}


class Consumer:
    """Somebody who receives from a queue.

    Args:
        queue: The queue.
        credit: How many more messages may be handed out to it now.
        receive: Called with each delivery.
        unsettled: The table of its session.
        loop: The event loop that `receive` is called on.
    """

    __slots__ = ("credit", "is_active", "is_waiting", "loop", "queue", "receive", "unsettled")

    def __init__(
        self,
        queue: "MemoryQueue",
        credit: int,
        receive: Callable[[Delivery], None],
        unsettled: dict[MemoryDelivery, "Consumer"],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.queue = queue
        self.credit = credit
        self.receive = receive
        self.unsettled = unsettled
        self.loop = loop
        self.is_active = False
        self.is_waiting = False

    def start(self) -> None:
        """Take part in the round robin (again)."""
        if not self.is_active:
            self.is_active = True
            self._stand_in_line()

    def stop(self) -> None:
        """Receive nothing more. What was received stays where it is."""
        self.is_active = False
        if self.is_waiting:
            self.is_waiting = False
            self.queue.waiting.remove(self)

    def replenish(self) -> None:
        """Take note that one delivery was settled."""
        self.credit += 1
        if not self.is_waiting:
            self._stand_in_line()

    def _stand_in_line(self) -> None:
        if self.is_active and self.credit > 0:
            self.is_waiting = True
            self.queue.waiting.append(self)
            self.queue.wake()


class MemoryQueue:
    """The state of one queue.

    Args:
        declared: What was declared.
        owner: The session it belongs to if it is exclusive, else None.
        limits: How much it may hold.
        bury: Called with the queue, a message that it gives up, and the reason.
    """

    __slots__ = (
        "_bury",
        "_limits",
        "_pumped_by",
        "_ready",
        "_returned",
        "_tail",
        "consumers",
        "declared",
        "held_bytes",
        "held_items",
        "owner",
        "waiting",
    )

    def __init__(
        self,
        declared: Queue,
        owner: object,
        limits: Limits,
        bury: Callable[["MemoryQueue", MemoryDelivery, str], None],
    ) -> None:
        self.declared = declared
        self.owner = owner
        self.consumers = 0
        self.waiting: deque[Consumer] = deque()
        self.held_items = 0
        self.held_bytes = 0
        self._limits = limits
        self._bury = bury
        self._ready: deque[MemoryDelivery] = deque()
        self._returned: list[tuple[int, MemoryDelivery]] = []
        self._tail = 0
        self._pumped_by: asyncio.AbstractEventLoop | None = None

    @property
    def ready(self) -> int:
        """How many messages wait to be handed out."""
        return len(self._ready) + len(self._returned)

    def has_room(self, size: int) -> bool:
        """Return whether a message of *size* bytes fits."""
        return (
            self.held_items < self._limits.items_max
            and self.held_bytes + size <= self._limits.bytes_max
        )

    def put(self, publication: Publication, size: int) -> None:
        """Append a message of *size* bytes."""
        self._tail += 1
        self.held_items += 1
        self.held_bytes += size
        self._ready.append(
            MemoryDelivery(publication.envelope, publication.routing_key, self._tail, size)
        )
        if self.waiting and self._pumped_by is not self.waiting[0].loop:
            self.wake()

    def put_back(self, message: MemoryDelivery) -> None:
        """Return a message to its place, or give it up if that happened too often."""
        returns = message.returns + 1
        if returns > self._limits.returns_max:
            self.discard(message, DELIVERY_LIMIT)
            return
        place = message.place
        again = MemoryDelivery(message.envelope, message.routing_key, place, message.size, returns)
        heappush(self._returned, (place, again))
        self.wake()

    def forget(self, message: MemoryDelivery) -> None:
        """Hold a message no longer."""
        self.held_items -= 1
        self.held_bytes -= message.size

    def discard(self, message: MemoryDelivery, reason: str) -> None:
        """Hold a message no longer, and send it to the dead-letter exchange."""
        self.forget(message)
        self._bury(self, message, reason)

    def purge(self) -> None:
        """Lose the messages that wait; those that were handed out can still be settled."""
        for message in (*self._ready, *(message for _, message in self._returned)):
            self.forget(message)
        self._ready.clear()
        self._returned.clear()

    def clear(self) -> None:
        """Lose every message."""
        self._ready.clear()
        self._returned.clear()
        self.held_items = 0
        self.held_bytes = 0

    def wake(self) -> None:
        """Have the pump called soon if there is something to hand out and somebody to take it."""
        if not self.waiting or not (self._ready or self._returned):
            return
        # A hub may outlive an event loop, and with it the call that the loop still owed us.
        loop = self.waiting[0].loop
        if self._pumped_by is not loop:
            self._pumped_by = loop
            loop.call_soon(self._pump)

    def _pump(self) -> None:
        try:
            for _ in range(TURN):
                if not self.waiting or not self._hand_out():
                    break
        finally:
            self._pumped_by = None
            self.wake()

    def _hand_out(self) -> bool:
        """Hand one message to the next consumer; return whether to go on."""
        if self._returned:
            message = heappop(self._returned)[1]
        elif self._ready:
            message = self._ready.popleft()
        else:
            return False
        waiting = self.waiting
        consumer = waiting[0]
        consumer.credit -= 1
        if not consumer.credit:
            waiting.popleft()
            consumer.is_waiting = False
        elif len(waiting) > 1:
            waiting.rotate(-1)
        try:
            message.unsettled = unsettled = consumer.unsettled
            unsettled[message] = consumer
            consumer.receive(message)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever the user's code raises
            self._report(consumer, error)
            message.requeue()
            # The rest has to wait for another turn, or a receiver that always fails stops the loop.
            return False
        return True

    def _report(self, consumer: Consumer, error: BaseException) -> None:
        consumer.loop.call_exception_handler(
            {
                "message": f"the receiver of queue {self.declared.name!r} raised; "
                "the message goes back",
                "exception": error,
            }
        )


def weigh(publication: Publication) -> int:
    """Return what a message counts for against the bound of a queue, in bytes.

    Args:
        publication: The message. Header text is counted in characters, which is close enough.
    """
    envelope = publication.envelope
    headers = envelope.headers
    size = len(envelope.body)
    # Replies of a step that succeeded have none.
    return size + len("".join((*headers, *headers.values()))) if headers else size
