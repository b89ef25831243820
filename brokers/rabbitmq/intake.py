"""One channel to receive on, and how the client library does it.

Theory of operation
-------------------
An intake hands out deliveries, and takes their settlements: to settle neither waits nor fails. What
it has to do with the channel besides, it asks the library for. There are two kinds of intakes: one
here, which has the library receive and settle, and `brokers.rabbitmq.native_intake`.

To settle by the library is to put the delivery's number into a list. A task of the intake sends
what is in there, so that nobody has to wait for the socket.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

import aiormq
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelClosed

from brokers.rabbitmq.convert import envelope_of
from brokers.rabbitmq.errors import FAULTS, is_own_cancellation, text_of
from brokers.rabbitmq.link import ANSWER_S, CLOSE_S, Link, when_closed
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Delivery, Envelope

__all__ = ["Intake", "LibraryIntake", "RabbitDelivery", "Verdict"]


class Verdict(Enum):
    """How a delivery was settled."""

    ACK = "ack"
    REQUEUE = "requeue"
    REJECT = "reject"


class RabbitDelivery:
    """A message that came from a queue; satisfies `flow.ports.Delivery`.

    Args:
        intake: Where it came in.
        tag: Its number there.
        envelope: The message.
        routing_key: The key that it was published with.
        redelivered: Whether it may have been delivered before.
    """

    __slots__ = ("_intake", "_tag", "envelope", "redelivered", "routing_key")

    def __init__(
        self, intake: "Intake", tag: int, envelope: Envelope, routing_key: str, *, redelivered: bool
    ) -> None:
        self.envelope = envelope
        self.routing_key = routing_key
        self.redelivered = redelivered
        self._intake = intake
        self._tag = tag

    def ack(self) -> None:
        """Tell the broker that the message is done with."""
        self._intake.settle(self._tag, Verdict.ACK)

    def requeue(self) -> None:
        """Give the message back, to be delivered again."""
        self._intake.settle(self._tag, Verdict.REQUEUE)

    def reject(self) -> None:
        """Send the message to the queue's dead-letter exchange."""
        self._intake.settle(self._tag, Verdict.REJECT)


class Intake(ABC):
    """A channel that one consumer receives on.

    Args:
        link: The connection.
        channel: The channel.
        receive: Called with each delivery.
        on_end: Called with this intake when the broker has ended it, or the consuming on it.
    """

    def __init__(
        self,
        link: Link,
        channel: aiormq.Channel,
        receive: Callable[[Delivery], None],
        on_end: Callable[["Intake"], None],
    ) -> None:
        self._link = link
        self._channel = channel
        self._receive = receive
        self._on_end = on_end
        self._tag = ""
        self._wake = asyncio.Event()
        self._gone = asyncio.Event()
        self._is_retiring = False
        self._is_dead = False

    @property
    def has_ended(self) -> bool:
        """Whether it receives no more."""
        return self._is_dead or self._is_retiring

    @property
    @abstractmethod
    def unsettled(self) -> int:
        """How many deliveries it has handed out that are not settled."""

    @abstractmethod
    def settle(self, tag: int, verdict: Verdict) -> None:
        """Settle a delivery, soon. Does nothing if it was settled, or the channel is closed."""

    @abstractmethod
    async def run(self) -> None:
        """Live until the channel is closed or has nothing left to do, and close it."""

    async def start(self, queue: str, prefetch: int) -> None:
        """Begin to receive.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
            ConfigurationError: There is no such queue, or it may not be consumed.
        """
        channel = self._channel
        when_closed(channel, self._closed)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        qos = channel.basic_qos(prefetch_count=prefetch)
        try:
            await self._link.ask(qos, "to set the prefetch")
            consume = channel.basic_consume(queue, self._take)
            consumed = await self._link.ask(consume, f"to consume {queue!r}")
        except ChannelClosed as error:
            raise ConfigurationError(f"queue {queue!r}", text_of(error)) from error
        self._tag = consumed.consumer_tag or ""

    async def cancel(self) -> None:
        """Receive no more. What was received can still be settled."""
        if self._is_retiring or self._is_dead:
            return
        self._is_retiring = True
        try:
            cancel = self._channel.basic_cancel(self._tag)
            await self._link.ask(cancel, "to cancel a consumer")
        except (BrokerUnavailable, ChannelClosed):
            # The channel is lost: the broker has cancelled the consumer itself.
            self._is_dead = True
        finally:
            self._wake.set()

    async def finish(self) -> None:
        """Send what was settled so far and close the channel: the rest goes back to the queue."""
        self._is_retiring = True
        self._let_go()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._gone.wait()

    @abstractmethod
    def _let_go(self) -> None:
        """Let nothing be settled from now on that was not settled so far."""

    @abstractmethod
    async def _take(self, message: DeliveredMessage) -> None:
        """Take a message from the library, if that receives it."""

    def _hand_out(self, delivery: RabbitDelivery) -> None:
        try:
            self._receive(delivery)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever the user's code raises
            delivery.requeue()
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a receiver raised; the message goes back", "exception": error}
            )

    def _cancelled(self, frame: object) -> None:
        """Take note that the broker has cancelled the consumer, because its queue is gone."""
        if not self._is_retiring:
            self._is_retiring = True
            self._wake.set()
            self._on_end(self)

    def _closed(self, error: BaseException | None) -> None:
        self._wake.set()
        self._gone.set()
        self._die()

    def _die(self) -> None:
        """Take note that the channel is lost, and with it what the settlements were for."""
        was_wanted = not self._is_dead and not self._is_retiring
        self._is_dead = True
        if was_wanted:
            self._on_end(self)


class LibraryIntake(Intake):
    """A channel that the library receives on.

    Args:
        link: The connection.
        channel: The channel.
        receive: Called with each delivery.
        on_end: Called with this intake when the broker has ended it, or the consuming on it.
    """

    def __init__(
        self,
        link: Link,
        channel: aiormq.Channel,
        receive: Callable[[Delivery], None],
        on_end: Callable[[Intake], None],
    ) -> None:
        super().__init__(link, channel, receive, on_end)
        self._unsettled: set[int] = set()
        self._verdicts: list[tuple[int, Verdict]] = []

    @property
    def unsettled(self) -> int:
        """How many deliveries it has handed out that are not settled."""
        return len(self._unsettled)

    def settle(self, tag: int, verdict: Verdict) -> None:
        """Settle a delivery, soon. Does nothing if it was settled, or the channel is closed."""
        if self._is_dead or tag not in self._unsettled:
            return
        self._unsettled.discard(tag)
        self._verdicts.append((tag, verdict))
        self._wake.set()

    async def run(self) -> None:
        """Send what was settled, until the channel is closed or has nothing left to do."""
        try:
            while not self._is_dead:
                await self._wake.wait()
                self._wake.clear()
                await self._send()
                if self._is_retiring and not self._unsettled:
                    break
        except FAULTS:
            self._die()
        except Exception as error:
            # Where the library knows no reason it raises the class itself.
            if type(error) is not Exception:
                raise
            self._die()
        finally:
            self._is_dead = True
            self._link.drop(self._channel)

    def _let_go(self) -> None:
        self._unsettled.clear()

    async def _send(self) -> None:
        while self._verdicts:
            verdicts, self._verdicts = self._verdicts, []
            last = len(verdicts) - 1
            for number, (tag, verdict) in enumerate(verdicts):
                await self._send_one(tag, verdict, wait=number == last)

    async def _send_one(self, tag: int, verdict: Verdict, *, wait: bool) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                if verdict is Verdict.ACK:
                    await self._channel.basic_ack(tag, wait=wait)
                else:
                    requeue = verdict is Verdict.REQUEUE
                    await self._channel.basic_reject(tag, requeue=requeue, wait=wait)
        except asyncio.CancelledError as error:
            if is_own_cancellation():
                raise
            raise ConnectionError("the connection was lost") from error

    async def _take(self, message: DeliveredMessage) -> None:
        tag = message.delivery_tag
        if tag is None or self._is_dead:
            return
        self._unsettled.add(tag)
        delivery = RabbitDelivery(
            self,
            tag,
            envelope_of(message),
            message.routing_key or "",
            redelivered=bool(message.redelivered),
        )
        self._hand_out(delivery)
