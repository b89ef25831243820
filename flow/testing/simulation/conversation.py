"""The process's end of a simulated connection to a broker."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from flow.errors import BrokerUnavailable, FlowError
from flow.ports import Broker, Delivery, Envelope, Publication, Settlement, Topology
from flow.testing.simulation.broker_end import BrokerEnd
from flow.testing.simulation.conditions import BrokerConditions
from flow.testing.simulation.line import URL, Line, named
from flow.testing.simulation.network import Link, Silence, Stream

__all__ = ["ANSWER_S", "Conversation", "Owner", "SimulatedDelivery", "SimulatedSubscription"]

ANSWER_S: Final = 10.0
"""Seconds that an answer of the broker may take."""
LANES: Final = 2
"""Ways for publications: what is published in two calls may arrive the other way round."""


class SimulatedDelivery:
    """A message that came from a queue; satisfies `flow.ports.Delivery`.

    Args:
        conversation: What it came over.
        delivery: What the broker knows of it.
    """

    __slots__ = (
        "_conversation",
        "_delivery",
        "_is_settled",
        "envelope",
        "redelivered",
        "routing_key",
    )

    def __init__(self, conversation: "Conversation", delivery: Delivery) -> None:
        """Begin unsettled."""
        self.envelope: Envelope = delivery.envelope
        self.routing_key: str = delivery.routing_key
        self.redelivered: bool = delivery.redelivered
        self._conversation = conversation
        self._delivery = delivery
        self._is_settled = False

    def ack(self) -> None:
        """Tell the broker that the message is done with."""
        self._settle("ack", self._delivery.ack)

    def requeue(self) -> None:
        """Give the message back, to be delivered again."""
        self._settle("requeue", self._delivery.requeue)

    def reject(self) -> None:
        """Send the message to the queue's dead-letter exchange."""
        self._settle("reject", self._delivery.reject)

    def _settle(self, verdict: str, settle: Callable[[], None]) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._conversation.settle(self, verdict, settle)


class SimulatedSubscription:
    """A running consumer; satisfies `flow.ports.Subscription`.

    Args:
        queue: The queue.
        prefetch: How many unsettled messages at most.
        receive: Called with each delivery.
        leave: Called with this subscription to cancel it.

    Attributes:
        queue: As given.
        prefetch: As given.
        receive: As given.
        is_cancelled: Whether it receives no more, for good.
        conversation: What it receives over, or None.
    """

    __slots__ = ("_leave", "conversation", "is_cancelled", "prefetch", "queue", "receive")

    def __init__(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
        leave: Callable[["SimulatedSubscription"], Awaitable[None]],
    ) -> None:
        """Receive nothing yet."""
        self.queue = queue
        self.prefetch = prefetch
        self.receive = receive
        self.is_cancelled = False
        self.conversation: Conversation | None = None
        self._leave = leave

    @property
    def is_running(self) -> bool:
        """Whether it receives over a connection that is open."""
        return self.conversation is not None and self.conversation.is_open

    async def cancel(self) -> None:
        """Stop receiving. What was received and not settled stays ours to settle."""
        await self._leave(self)


class Owner(Protocol):
    """Whoever has a conversation, and is told what the broker does by itself."""

    def lost(self, conversation: "Conversation") -> None:
        """Take note that the connection is lost."""
        ...

    def blocked(self, conversation: "Conversation") -> None:
        """Take note that the broker takes no messages, or takes them again."""
        ...

    def ended(self, subscription: SimulatedSubscription) -> None:
        """Take note that the broker has ended a consumer."""
        ...


class Conversation:
    """The process's end of one connection.

    Args:
        connect: Makes a connection to the real broker.
        link: The way.
        conditions: How the broker is.
        note: Told what happens.
        owner: Told what the broker does by itself.

    Attributes:
        is_open: Whether it was not lost or closed.
        trouble: Why it is not open any more.
        reason: Why the broker takes no messages, as far as it said so, or an empty string.
    """

    def __init__(
        self,
        connect: Callable[[], Broker],
        link: Link,
        conditions: BrokerConditions,
        note: Callable[[str, str], None],
        owner: "Owner",
    ) -> None:
        """Begin with nothing said."""
        self.is_open = True
        self.trouble = ""
        self.reason = ""
        self._link = link
        self._process = link.process
        self._conditions = conditions
        self._note = note
        self._owner = owner
        self._stream = Stream(link)
        self._lanes = tuple(Stream(link) for _ in range(LANES))
        line = Line(link, self._stream, conditions, note, self, lanes=self._lanes)
        self._end = BrokerEnd(connect, line)
        self._silence = Silence(
            link, link.process.context, lambda: not link.is_open_back, self._give_up
        )
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    def check_open(self) -> None:
        """Make sure that it was neither lost nor closed.

        Raises:
            BrokerUnavailable: It was.
        """
        if not self.is_open:
            raise BrokerUnavailable(URL, self.trouble)

    # ------------------------------------------------------------------------------ asking

    async def open(self) -> None:
        """Ask the broker for a connection.

        Raises:
            BrokerUnavailable: It is not there, or there was no answer.
        """
        self._silence.listen()
        await self._ask(self._end.accept)

    async def ask(self, operation: Callable[[Broker], Awaitable[Any]]) -> Any:
        """Have something done with the real broker; return what it returns.

        Args:
            operation: What to do.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
        """
        return await self._ask(self._end.ask, operation)

    async def restore(
        self, topology: Topology, subscriptions: Sequence[SimulatedSubscription]
    ) -> Sequence[SimulatedSubscription]:
        """Declare and consume what was on another connection.

        Args:
            topology: What has to exist.
            subscriptions: What has to be consumed.

        Returns:
            The subscriptions whose queues are not there.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
            ConfigurationError: Something exists with other properties.
        """
        for subscription in subscriptions:
            subscription.conversation = self
        waiting = await self._ask(self._end.restore, topology, subscriptions)
        for subscription in waiting:
            if subscription.conversation is self:
                subscription.conversation = None
        return list(waiting)

    async def consume(self, topology: Topology, subscription: SimulatedSubscription) -> None:
        """Declare what a queue needs, and receive from it.

        Args:
            topology: What has to exist.
            subscription: What to consume.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
            ConfigurationError: There is no such queue, or something exists with other properties.
        """
        subscription.conversation = self
        try:
            await self._ask(self._end.consume, topology, subscription)
        except BaseException:
            if subscription.conversation is self:
                subscription.conversation = None
            if self.is_open and not self._link.is_gone:
                # Without an answer it may be consumed there, now or soon, and then again.
                self._stream.send(self._end.cancel, 0, subscription)
            raise

    async def cancel(self, subscription: SimulatedSubscription) -> None:
        """Receive no more.

        Args:
            subscription: What was consumed.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
        """
        await self._ask(self._end.cancel, subscription)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish; return the settlements.

        Args:
            publications: What to publish.

        Raises:
            BrokerUnavailable: The connection was lost, or there was no answer.
        """
        self._conditions.reach(self._process, "publish.before")
        lane = self._lanes[int(self._link.upto(LANES))]
        settlements = await self._ask(
            self._end.publishing.publish, lane, tuple(publications), over=lane
        )
        self._note("confirm", f"{len(publications)}")
        self._conditions.reach(self._process, "publish.after")
        return list(settlements)

    async def leave(self) -> None:
        """Have the broker take back what is not settled, and end."""
        try:
            if self.is_open:
                await self._ask(self._end.leave)
        finally:
            self.hang_up("the connection is not open")

    def settle(self, delivery: SimulatedDelivery, verdict: str, settle: Callable[[], None]) -> None:
        """Send a settlement. It is not answered, and nothing at all once this has ended.

        Args:
            delivery: What is settled.
            verdict: How, in a word.
            settle: Does it.
        """
        if not self.is_open or self._link.is_gone:
            return
        self._conditions.reach(self._process, "ack.before")
        if self._process.is_dead:
            return
        for what in named(delivery.envelope):
            self._note(verdict, what)
        self._stream.send(self._end.settle, settle)
        self._conditions.reach(self._process, "ack.after")

    def hang_up(self, reason: str) -> None:
        """End it from this side.

        Args:
            reason: Why.
        """
        if self.is_open:
            self._finish(reason)
            for each in (self._stream, *self._lanes):
                each.drop()
            if not self._link.is_gone:
                self.die()

    def die(self) -> None:
        """Have the broker notice that nobody is here any more, after all that was sent."""
        self._stream.send(self._end.hang_up)
        for lane in self._lanes:
            lane.send(self._end.publishing.hang_up, lane)

    # -------------------------------------------------------------------------------- told

    def answered(self, number: int, result: Any, error: FlowError | None) -> None:
        """Take the answer to a question."""
        answer = self._answers.pop(number, None)
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def take(self, consumer: SimulatedSubscription, delivery: Delivery) -> None:
        """Take a delivery."""
        if not self.is_open:
            return
        taken = SimulatedDelivery(self, delivery)
        if consumer.is_cancelled:
            taken.requeue()
            self._stream.send(self._end.cancel, 0, consumer)
            return
        self._conditions.reach(self._process, "deliver.before")
        if self._process.is_dead:
            return
        for what in named(delivery.envelope):
            self._note("deliver", f"{what} {consumer.queue}")
        try:
            consumer.receive(taken)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever the user's code raises
            taken.requeue()
            self._link.loop.call_exception_handler(
                {"message": "a receiver raised; the message goes back", "exception": error}
            )
        self._conditions.reach(self._process, "deliver.after")

    def cancelled(self, consumer: SimulatedSubscription) -> None:
        """Take note that the broker has ended a consumer."""
        if self.is_open and consumer.conversation is self:
            consumer.conversation = None
            self._owner.ended(consumer)

    def blocked(self, reason: str) -> None:
        """Take note that the broker takes no messages, or takes them again."""
        if self.is_open and reason != self.reason:
            self.reason = reason
            self._owner.blocked(self)

    def lost(self, reason: str) -> None:
        """Take note that the broker has ended the connection."""
        if self.is_open:
            self._finish(reason)
            # If it was the publisher's connection only, the other one is still there.
            self.die()
            self._owner.lost(self)

    # ----------------------------------------------------------------------------- helpers

    async def _ask(
        self, question: Callable[..., None], *args: Any, over: Stream | None = None
    ) -> Any:
        loop = self._link.loop
        if loop.is_burying:
            raise BrokerUnavailable(URL, "the simulation is over")
        if self._process.is_dead:
            await loop.create_future()
        self.check_open()
        self._number += 1
        number = self._number
        answer = self._answers[number] = loop.create_future()
        (over or self._stream).send(question, number, *args)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError as error:
            raise BrokerUnavailable(URL, f"no answer within {ANSWER_S:g} s") from error
        finally:
            self._answers.pop(number, None)

    def _finish(self, reason: str) -> None:
        self.is_open = False
        self.trouble = reason
        self._silence.stop()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable(URL, reason))

    def _give_up(self) -> None:
        self.hang_up("the broker was silent for too long")
        self._owner.lost(self)
