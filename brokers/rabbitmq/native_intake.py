"""One channel to receive on, past the client library.

Theory of operation
-------------------
The library opens the channel, asks the broker to deliver on it, and closes it. What the broker
delivers comes in here as frames, and is handed out in the very call in which the event loop hands
over the bytes: without a task, without a queue. The broker sends no more than the prefetch, so
that is the limit of what is in memory.

What is settled during a turn of the event loop is told to the broker at its end, in as few frames
as possible (`brokers.rabbitmq.settlements`).
"""

import struct
from collections.abc import Callable
from typing import Final

import aiormq
from aiormq.abc import DeliveredMessage

from brokers.rabbitmq.contents import Contents, text_at
from brokers.rabbitmq.frames import DELIVER, METHOD
from brokers.rabbitmq.intake import Intake, RabbitDelivery, Verdict
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.multiplexer import Multiplexer
from brokers.rabbitmq.properties import envelope_at
from brokers.rabbitmq.settlements import Settlements
from flow.ports import Delivery

__all__ = ["NativeIntake"]

_NUMBERS: Final = struct.Struct(">QB")
_TAG_AT: Final = 4


class NativeIntake(Intake):
    """A channel to receive on; satisfies `brokers.rabbitmq.multiplexer.Handler`.

    Args:
        link: The connection.
        channel: The channel, on which nothing was asked yet.
        receive: Called with each delivery.
        on_end: Called with this intake when the broker has ended it, or the consuming on it.
        multiplexer: The owner of the socket.
    """

    def __init__(
        self,
        link: Link,
        channel: aiormq.Channel,
        receive: Callable[[Delivery], None],
        on_end: Callable[[Intake], None],
        multiplexer: Multiplexer,
    ) -> None:
        super().__init__(link, channel, receive, on_end)
        self._multiplexer = multiplexer
        self._contents = Contents()
        self._settlements = Settlements(channel.number)
        self._is_scheduled = False
        multiplexer.take_over(channel.number, self)

    @property
    def unsettled(self) -> int:
        """How many deliveries it has handed out that are not settled."""
        return len(self._settlements)

    def settle(self, tag: int, verdict: Verdict) -> None:
        """Settle a delivery, soon. Does nothing if it was settled, or the channel is closed."""
        settlements = self._settlements
        if verdict is Verdict.ACK:
            is_new = settlements.ack(tag)
        else:
            is_new = settlements.reject(tag, requeue=verdict is Verdict.REQUEUE)
        if is_new and not self._is_scheduled:
            self._is_scheduled = True
            self._multiplexer.schedule(self)
        if self._is_retiring and not settlements:
            self._wake.set()

    async def run(self) -> None:
        """Live until the channel is closed or has nothing left to do, and close it."""
        try:
            while not self._is_dead:
                await self._wake.wait()
                self._wake.clear()
                if self._is_retiring and not self._settlements:
                    break
        finally:
            self._is_dead = True
            # The library's farewell goes out after what was settled.
            self._link.drop(self._channel)

    def take(self, kind: int, payload: bytes) -> bool:
        """Take a frame; return whether it was of a delivery.

        Args:
            kind: What it has.
            payload: What is in it.
        """
        if kind == METHOD:
            if payload[:4] != DELIVER:
                return False
            self._contents.begin(payload)
        elif self._contents.take(kind, payload):
            self._deliver()
        return True

    def parts(self) -> list[bytes]:
        """Return what the broker has to be told of what was settled."""
        self._is_scheduled = False
        return self._settlements.frames()

    def end(self, reason: str) -> None:
        """Settle nothing any more: the channel is closed. The library tells the rest, and later.

        Args:
            reason: Why the broker has closed it, or an empty string.
        """
        self._settlements.clear()

    def _let_go(self) -> None:
        self._multiplexer.flush()
        self._settlements.clear()

    async def _take(self, message: DeliveredMessage) -> None:
        """Do nothing: the library receives nothing."""

    def _deliver(self) -> None:
        """Hand out the message that is complete."""
        contents = self._contents
        method, header, body = contents.method, contents.header, contents.body
        contents.clear()
        numbers_at = _TAG_AT + 1 + method[_TAG_AT]
        tag, redelivered = _NUMBERS.unpack_from(method, numbers_at)
        exchange_at = numbers_at + _NUMBERS.size
        routing_key = text_at(method, exchange_at + 1 + method[exchange_at])
        if self._is_dead:
            return
        self._settlements.add(tag)
        envelope = envelope_at(header, body)
        self._hand_out(
            RabbitDelivery(self, tag, envelope, routing_key, redelivered=bool(redelivered))
        )
