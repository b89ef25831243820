"""Subscriptions: which queues an orchestrator receives from."""

from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from flow.ports import Delivery, Subscription
from flow.runtime.addresses import Addresses

__all__ = ["Consume", "Subscriptions"]

Receive = Callable[[Delivery], None]
Consume = Callable[[str, int, Receive], Coroutine[Any, Any, Subscription]]


class Subscriptions:
    """Receives from the queues of the partitions that are owned.

    Args:
        consume: Starts to receive from a queue of the broker.
        addresses: The names of the namespace.
        prefetch: How many messages are taken from a queue before they are settled.
        receive: What takes them.
    """

    def __init__(
        self,
        consume: Consume,
        addresses: Addresses,
        prefetch: int,
        receive: Receive,
    ) -> None:
        """Begin with none."""
        self._consume = consume
        self._addresses = addresses
        self._prefetch = prefetch
        self._receive = receive
        self._control: Subscription | None = None
        self._partitions: dict[int, tuple[Subscription, ...]] = {}

    async def open_control(self) -> None:
        """Receive what is addressed to whichever orchestrator."""
        self._control = await self._open(self._addresses.control)

    async def open(self, partitions: Iterable[int]) -> None:
        """Receive from the queues of partitions.

        Args:
            partitions: Which; those that are received from already stay as they are.
        """
        for partition in partitions:
            if partition not in self._partitions:
                self._partitions[partition] = (
                    await self._open(self._addresses.mailbox_queue(partition)),
                    await self._open(self._addresses.start_queue(partition)),
                )

    async def keep(self, partitions: Collection[int]) -> None:
        """Stop to receive from the queues of all partitions but these.

        Args:
            partitions: Which are owned still.
        """
        for partition in [each for each in self._partitions if each not in partitions]:
            for subscription in self._partitions.pop(partition):
                await subscription.cancel()

    async def close(self) -> None:
        """Receive nothing more."""
        await self.keep(())
        control, self._control = self._control, None
        if control is not None:
            await control.cancel()

    async def _open(self, queue: str) -> Subscription:
        return await self._consume(queue, self._prefetch, self._receive)
