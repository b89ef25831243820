"""Receives: one channel for each consumer, which comes back whatever ends it.

Theory of operation
-------------------
A `Consumer` is what a subscription means: this queue, this receiver, until it is cancelled. An
`Intake` is one channel that it consumes on. When the broker closes the channel, cancels the
consumer (its queue was deleted), or the connection is another one, the consumer gets another
intake; deliveries know theirs, so that settling those of a dead one does nothing.

An intake that receives no more stays open until all that it has handed out is settled. There are
two kinds, as there are of lanes: one has the library receive, and one does so itself.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from brokers.rabbitmq.intake import Intake, LibraryIntake
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.native_intake import NativeIntake
from brokers.rabbitmq.tasks import Tasks
from flow.ports import Delivery

__all__ = ["Consumer"]

PREFETCH_MAX: Final = 2000
"""What quorum queues allow."""


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
        channel = await link.channel()
        intake: Intake
        if link.multiplexer is None:
            intake = LibraryIntake(link, channel, self._take, self._ended)
        else:
            intake = NativeIntake(link, channel, self._take, self._ended, link.multiplexer)
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
