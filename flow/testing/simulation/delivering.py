"""What a broker does for the consumers of a connection, and what goes wrong meanwhile."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from flow.errors import ConfigurationError
from flow.ports import Delivery, Subscription, Topology
from flow.testing.simulation.line import Consuming, Line
from flow.testing.simulation.processes import OUTSIDE

__all__ = ["Delivering"]


class Delivering:
    """Delivers to the consumers of one connection.

    Args:
        line: The connection.
        do: Has something done as soon as all is done that was asked for before.
    """

    def __init__(self, line: Line, do: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        """Begin without a consumer."""
        self._line = line
        self._do = do
        self._consumers: dict[Any, Subscription] = {}

    async def restore(
        self, topology: Topology, consumers: Sequence[Consuming]
    ) -> Sequence[Consuming]:
        """Declare and consume what was on another connection.

        Args:
            topology: What has to exist.
            consumers: The consumers.

        Returns:
            Those that have no queue.
        """
        await self._line.opened().declare(topology, keep=False)
        waiting: list[Consuming] = []
        for consumer in consumers:
            try:
                await self.consume(Topology(), consumer)
            except ConfigurationError:
                waiting.append(consumer)
        return waiting

    async def consume(self, topology: Topology, consumer: Consuming) -> None:
        """Declare what a queue needs, and start a consumer.

        Args:
            topology: What has to exist.
            consumer: The consumer.

        Raises:
            ConfigurationError: There is no such queue.
        """
        inner = self._line.opened()
        await inner.declare(topology, keep=False)
        self._consumers[consumer] = await inner.consume(
            consumer.queue,
            consumer.prefetch,
            lambda delivery: self._hand_over(consumer, delivery),
        )

    async def cancel(self, consumer: Consuming) -> None:
        """End a consumer.

        Args:
            consumer: The consumer.
        """
        subscription = self._consumers.pop(consumer, None)
        if subscription is not None:
            await subscription.cancel()

    def cancel_all(self, queue: str) -> None:
        """End all consumers of a queue, and tell the process.

        Args:
            queue: The queue's name.
        """
        for consumer in [each for each in self._consumers if each.queue == queue]:
            self._end(consumer)

    def _hand_over(self, consumer: Consuming, delivery: Delivery) -> None:
        line = self._line
        if line.is_over:
            # It goes back when the real connection is closed, which is next.
            return
        link, faults = line.link, line.conditions.faults
        if link.happens(faults.redelivered) and line.conditions.may_return(delivery):
            line.note("redeliver", delivery.envelope.correlation_id)
            delivery.requeue()
        elif link.happens(faults.delayed):
            seconds = link.upto(faults.delayed_s)
            line.note("delay", f"{delivery.envelope.correlation_id} {seconds:.3f} s")
            link.loop.call_later(seconds, self._send, consumer, delivery, context=OUTSIDE.copy())
        else:
            self._send(consumer, delivery)
        if link.happens(faults.cancelled):
            self._end(consumer)

    def _send(self, consumer: Consuming, delivery: Delivery) -> None:
        if not self._line.is_over:
            self._line.stream.answer(self._line.peer.take, consumer, delivery)

    def _end(self, consumer: Consuming) -> None:
        """End a consumer unless that happened already, and tell the process."""
        subscription = self._consumers.get(consumer)
        line = self._line

        async def end() -> None:
            if subscription is not None and self._consumers.get(consumer) is subscription:
                await self.cancel(consumer)
                line.note("cancel", consumer.queue)
                line.stream.answer(line.peer.cancelled, consumer)

        if subscription is not None:
            self._do(end)
