"""Receives: one channel for each consumer, which comes back whatever ends it.

Theory of operation
-------------------
A `Consumer` is what a subscription means: this queue, this receiver, until it is cancelled. An
`Intake` is one channel that it consumes on. When the broker closes the channel, cancels the
consumer (its queue was deleted), or the connection is another one, the consumer gets another
intake; deliveries know theirs, so that settling those of a dead one does nothing.

An intake that receives no more stays open until all that it has handed out is settled.

To settle is to put the delivery's number into a list. A task of the intake sends what is in there,
so that nobody has to wait for the socket.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Final

import aiormq
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelClosed

from brokers.rabbitmq.convert import envelope_of
from brokers.rabbitmq.errors import FAULTS, is_own_cancellation, text_of
from brokers.rabbitmq.link import ANSWER_S, CLOSE_S, Link, when_closed
from brokers.rabbitmq.tasks import Tasks
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Delivery, Envelope

__all__ = ["Consumer", "Intake", "RabbitDelivery", "Verdict"]

PREFETCH_MAX: Final = 2000
"""What quorum queues allow."""


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
        message: What the library has received.
    """

    __slots__ = ("_intake", "_tag", "envelope", "redelivered", "routing_key")

    def __init__(self, intake: "Intake", tag: int, message: DeliveredMessage) -> None:
        self.envelope: Envelope = envelope_of(message)
        self.routing_key: str = message.routing_key or ""
        self.redelivered: bool = bool(message.redelivered)
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


class Intake:
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
        self._unsettled: set[int] = set()
        self._verdicts: list[tuple[int, Verdict]] = []
        self._wake = asyncio.Event()
        self._gone = asyncio.Event()
        self._is_retiring = False
        self._is_dead = False

    @property
    def has_ended(self) -> bool:
        """Whether it receives no more."""
        return self._is_dead or self._is_retiring

    @property
    def unsettled(self) -> int:
        """How many deliveries it has handed out that are not settled."""
        return len(self._unsettled)

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
        self._unsettled.clear()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._gone.wait()

    def settle(self, tag: int, verdict: Verdict) -> None:
        """Settle a delivery, soon. Does nothing if it was settled, or the channel is closed."""
        if self._is_dead or tag not in self._unsettled:
            return
        self._unsettled.discard(tag)
        self._verdicts.append((tag, verdict))
        self._wake.set()

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
        delivery = RabbitDelivery(self, tag, message)
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


class Consumer:
    """What a subscription means, for as long as it is not cancelled.

    Args:
        queue: The queue.
        prefetch: How many unsettled messages at most.
        receive: Called with each delivery.
        tasks: The owner of the tasks of its intakes.
        again: Called with this consumer when it has to be started again.

    Attributes:
        queue: The queue.
        is_cancelled: Whether it receives no more, for good.
        received: How many deliveries it has received so far.
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
        tasks: Tasks,
        again: Callable[["Consumer"], None],
    ) -> None:
        self.queue = queue
        self.is_cancelled = False
        self.received = 0
        self._prefetch = min(prefetch, PREFETCH_MAX)
        self._receive = receive
        self._tasks = tasks
        self._again = again
        self._starting = asyncio.Lock()
        self._link: Link | None = None
        self._intake: Intake | None = None
        self._intakes: dict[Intake, None] = {}

    @property
    def is_running(self) -> bool:
        """Whether it receives, or need not any more."""
        return self.is_cancelled or self._intake is not None

    @property
    def has_room(self) -> bool:
        """Whether it receives, and has fewer unsettled deliveries than it may have."""
        return self._intake is not None and self._intake.unsettled < self._prefetch

    async def start(self, link: Link) -> None:
        """Receive on a connection from now on, and on no other.

        Args:
            link: The connection.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
            ConfigurationError: There is no such queue, or it may not be consumed.
        """
        async with self._starting:
            if self._intake is not None and self._link is link:
                return
            self._intake, self._link = None, link
            intake = await self._open(link)
            self._intake = intake
            if self.is_cancelled:
                await self.cancel()
            elif intake.has_ended:
                self._ended(intake)

    async def _open(self, link: Link) -> Intake:
        intake = Intake(link, await link.channel(), self._take, self._ended)
        self._intakes[intake] = None
        self._tasks.start(self._run(intake), f"rabbitmq: consumer of {self.queue}")
        try:
            await intake.start(self.queue, self._prefetch)
        except BaseException:
            await intake.finish()
            raise
        return intake

    @property
    def is_idle(self) -> bool:
        """Whether it receives, and all that it has received is settled."""
        return self._intake is not None and not self._intake.unsettled

    async def restart(self) -> None:
        """Close the channel, so that what is unsettled goes back, and start again on another."""
        intake, self._intake = self._intake, None
        if intake is not None:
            await intake.finish()
            if not self.is_cancelled:
                self._again(self)

    async def refresh(self) -> None:
        """Receive on another channel from now on, on the same connection and without a gap.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
            ConfigurationError: There is no such queue, or it may not be consumed.
        """
        async with self._starting:
            link, old = self._link, self._intake
            if link is None or old is None:
                return
            intake = await self._open(link)
            if self._intake is not old:
                # It was cancelled meanwhile, or ended and comes back by itself.
                await intake.finish()
                return
            self._intake = intake
            await old.cancel()
            if intake.has_ended:
                self._ended(intake)

    async def cancel(self) -> None:
        """Receive no more. What was received can still be settled."""
        self.is_cancelled = True
        intake, self._intake = self._intake, None
        if intake is not None:
            await intake.cancel()

    async def finish(self) -> None:
        """Send what was settled, and give the rest back."""
        self.is_cancelled = True
        for intake in list(self._intakes):
            await intake.finish()

    def _take(self, delivery: Delivery) -> None:
        self.received += 1
        self._receive(delivery)

    async def _run(self, intake: Intake) -> None:
        try:
            await intake.run()
        finally:
            self._intakes.pop(intake, None)

    def _ended(self, intake: Intake) -> None:
        if intake is self._intake:
            self._intake = None
            if not self.is_cancelled:
                self._again(self)
