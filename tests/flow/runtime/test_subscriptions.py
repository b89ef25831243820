"""Tests of `flow.runtime.subscriptions`: which queues an orchestrator receives from."""

from __future__ import annotations

from collections.abc import Callable

from flow.ports import Delivery
from flow.runtime.addresses import Addresses
from flow.runtime.subscriptions import Subscriptions


class Consumer:
    """A consumer that only knows whether it receives."""

    def __init__(self, present: list[str], queue: str) -> None:
        self._present = present
        self._queue = queue
        present.append(queue)

    async def cancel(self) -> None:
        """Stop to receive."""
        self._present.remove(self._queue)


def make() -> tuple[list[str], Subscriptions]:
    """Return subscriptions, and the queues that are received from."""
    present: list[str] = []

    async def consume(queue: str, prefetch: int, receive: Callable[[Delivery], None]) -> Consumer:
        assert prefetch == 7
        return Consumer(present, queue)

    return present, Subscriptions(consume, Addresses("shop"), 7, lambda delivery: None)


async def test_each_partition_has_two_queues() -> None:
    """The mailbox and the starts of a partition are received from, once."""
    present, subscriptions = make()
    await subscriptions.open_control()
    await subscriptions.open([0, 2])
    await subscriptions.open([2])
    assert present == [
        "shop.control",
        "shop.mailbox.0",
        "shop.start.0",
        "shop.mailbox.2",
        "shop.start.2",
    ]


async def test_what_is_lost_is_let_go() -> None:
    """Partitions that are owned no longer are not received from any more."""
    present, subscriptions = make()
    await subscriptions.open_control()
    await subscriptions.open([0, 1])
    await subscriptions.keep({1: "lease"})
    assert present == ["shop.control", "shop.mailbox.1", "shop.start.1"]
    await subscriptions.close()
    await subscriptions.close()
    assert present == []
