"""What a process has declared and consumes: it outlives each of its connections."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Binding, Delivery, Exchange, Queue, Topology
from flow.testing.simulation.conversation import Conversation, SimulatedSubscription
from flow.testing.simulation.network import Link
from flow.testing.simulation.tasks import Tasks

__all__ = ["Kept", "Subscriptions", "pause"]

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 10.0
DOUBLINGS_MAX: Final = 10


async def pause(link: Link, attempt: int) -> None:
    """Wait before an attempt: any time up to a limit that doubles.

    Args:
        link: Decides.
        attempt: How many attempts have failed.
    """
    longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt, DOUBLINGS_MAX))
    await asyncio.sleep(link.upto(longest))


class Kept:
    """What is declared again whenever the connection is another one."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, Queue] = {}
        self._bindings: dict[Binding, None] = {}

    def add(self, topology: Topology) -> None:
        """Keep what was declared.

        Args:
            topology: What the broker has accepted.
        """
        self._exchanges.update((each.name, each) for each in topology.exchanges)
        self._queues.update((each.name, each) for each in topology.queues)
        self._bindings.update(dict.fromkeys(topology.bindings))

    def whole(self) -> Topology:
        """Return all of it."""
        return Topology(
            tuple(self._exchanges.values()), tuple(self._queues.values()), tuple(self._bindings)
        )

    def around(self, queue: str) -> Topology:
        """Return what one queue needs: itself, its bindings, and all exchanges.

        Args:
            queue: Its name.
        """
        if queue not in self._queues:
            return Topology()
        bindings = tuple(each for each in self._bindings if each.queue == queue)
        return Topology(tuple(self._exchanges.values()), (self._queues[queue],), bindings)

    def clear(self) -> None:
        """Keep nothing."""
        self._exchanges.clear()
        self._queues.clear()
        self._bindings.clear()


class Subscriptions:
    """Everything that a process consumes, until it is cancelled.

    Args:
        link: The way to the broker.
        tasks: The owner of the tasks that begin to consume again.
        kept: What was declared.
        conversation: Returns the connection, or raises BrokerUnavailable.
    """

    def __init__(
        self, link: Link, tasks: Tasks, kept: Kept, conversation: Callable[[], Conversation]
    ) -> None:
        """Begin with none."""
        self._link = link
        self._tasks = tasks
        self._kept = kept
        self._conversation = conversation
        self._all: dict[SimulatedSubscription, None] = {}
        self._reviving: dict[SimulatedSubscription, None] = {}

    @property
    def all(self) -> Sequence[SimulatedSubscription]:
        """All of them, oldest first."""
        return list(self._all)

    async def consume(
        self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
    ) -> SimulatedSubscription:
        """Start to receive.

        Args:
            queue: The queue's name.
            prefetch: How many unsettled messages at most.
            receive: Called with each delivery.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        subscription = SimulatedSubscription(queue, prefetch, receive, self._cancel)
        try:
            await self._conversation().consume(Topology(), subscription)
        except BaseException:
            # It may be consumed there, now or soon, and nobody else would ever cancel it.
            subscription.is_cancelled = True
            raise
        self._all[subscription] = None
        if not subscription.is_running:
            # Lost at this very moment: whoever restores the others did not know of this one.
            self.revive(subscription)
        return subscription

    def revive(self, subscription: SimulatedSubscription) -> None:
        """Consume again what has ended by itself, after a while.

        Args:
            subscription: What was consumed.
        """
        if subscription not in self._reviving:
            self._reviving[subscription] = None
            name = f"broker: consume {subscription.queue} again"
            self._tasks.start(self._revive(subscription), name, self._link.process.context)

    def clear(self) -> None:
        """Consume nothing again."""
        self._all.clear()

    async def _revive(self, subscription: SimulatedSubscription) -> None:
        attempt = 0
        try:
            while self._is_missing(subscription):
                await pause(self._link, attempt)
                attempt += 1
                # Without a connection, or without the queue, the next attempt is a later one.
                with contextlib.suppress(BrokerUnavailable, ConfigurationError):
                    await self._consume_again(subscription)
        finally:
            self._reviving.pop(subscription, None)

    async def _consume_again(self, subscription: SimulatedSubscription) -> None:
        if self._is_missing(subscription):
            topology = self._kept.around(subscription.queue)
            await self._conversation().consume(topology, subscription)

    def _is_missing(self, subscription: SimulatedSubscription) -> bool:
        return subscription in self._all and not subscription.is_running

    async def _cancel(self, subscription: SimulatedSubscription) -> None:
        self._all.pop(subscription, None)
        conversation = subscription.conversation
        try:
            # With the connection, the consumer is gone: what was asked for has happened.
            with contextlib.suppress(BrokerUnavailable):
                if conversation is not None and not subscription.is_cancelled:
                    await conversation.cancel(subscription)
        finally:
            subscription.is_cancelled = True
