"""Tests of `orchestrator.subscriptions`: which queues an orchestrator receives from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from flow.errors import BrokerUnavailable
from flow.ports import Delivery, Envelope
from flow.runtime.addresses import Addresses
from flow.runtime.bundles import BUNDLE
from flow.runtime.orchestrator.inbox import Received, Source
from flow.runtime.orchestrator.subscriptions import Subscriptions
from flow.runtime.tasks import TaskGroup
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle
from tests.flow.runtime.letters import Letter, bundle_of


class Consumers:
    """A broker that only knows which queues are received from."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.receivers: dict[str, Callable[[Delivery], None]] = {}
        self.received: list[Received] = []
        self.faults = 0
        self.gone = False
        self.hold: asyncio.Event | None = None
        self.subscriptions = Subscriptions(
            self.consume, Addresses("shop"), 7, self.received.append, self.clock, CountingChance()
        )

    async def consume(
        self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
    ) -> Consumer:
        """Receive from a queue."""
        assert prefetch == 7
        if self.faults:
            self.faults -= 1
            raise BrokerUnavailable("memory://", "the test says so")
        if self.hold is not None:
            await self.hold.wait()
        self.receivers[queue] = receive
        return Consumer(self, queue)


class Consumer:
    """A running consumer."""

    def __init__(self, consumers: Consumers, queue: str) -> None:
        self._consumers = consumers
        self._queue = queue

    async def cancel(self) -> None:
        """Stop to receive."""
        del self._consumers.receivers[self._queue]
        if self._consumers.gone:
            raise BrokerUnavailable("memory://", "the connection is another one")


async def test_each_partition_has_two_queues() -> None:
    """The mailbox and the starts of a partition are received from, once."""
    broker = Consumers()
    await broker.subscriptions.open([0, 2])
    await broker.subscriptions.open([2])
    assert list(broker.receivers) == [
        "shop.mailbox.0",
        "shop.start.0",
        "shop.mailbox.2",
        "shop.start.2",
    ]
    assert [broker.subscriptions.receives(each) for each in range(3)] == [True, False, True]


async def test_it_is_told_where_a_message_came_from() -> None:
    """Each message comes with the kind of its queue, and with the partition if it has one."""
    broker = Consumers()
    await broker.subscriptions.open_shared()
    await broker.subscriptions.open([3])
    letter: Any = SimpleNamespace(envelope=Envelope("step.reply", b"1"))
    for receive in broker.receivers.values():
        receive(letter)
    assert [(each.source, each.partition) for each in broker.received] == [
        (Source.CONTROL, None),
        (Source.TRIGGER, None),
        (Source.ANNOUNCE, None),
        (Source.PARTITION, 3),
        (Source.PARTITION, 3),
    ]


async def test_messages_may_come_in_a_bundle() -> None:
    """Each message of a bundle is received by itself; what is none is received as it is."""
    broker = Consumers()
    await broker.subscriptions.open([3])
    receive = broker.receivers["shop.mailbox.3"]
    receive(Letter(bundle_of(*(Envelope("step.reply", b"%d" % n) for n in range(3)))))
    assert [each.delivery.envelope.body for each in broker.received] == [b"0", b"1", b"2"]
    assert {each.partition for each in broker.received} == {3}
    broken = Letter(Envelope(BUNDLE, b"broken"))
    receive(broken)
    assert broker.received[-1].delivery is broken


async def test_what_others_publish_is_no_bundle() -> None:
    """A queue that anybody may publish to takes a message of that type as it is."""
    broker = Consumers()
    await broker.subscriptions.open_shared()
    odd = Letter(Envelope(BUNDLE, b'[["t","","","",{},"",1]]\n1'))
    broker.receivers["shop.trigger"](odd)
    assert [each.delivery for each in broker.received] == [odd]


async def test_what_is_lost_is_let_go() -> None:
    """Partitions that are owned no longer are not received from any more."""
    broker = Consumers()
    await broker.subscriptions.open([0, 1])
    await broker.subscriptions.close([0])
    assert list(broker.receivers) == ["shop.mailbox.1", "shop.start.1"]
    assert not broker.subscriptions.receives(0)
    broker.gone = True
    await broker.subscriptions.end()
    await broker.subscriptions.end()
    assert broker.receivers == {}


async def test_what_cannot_be_received_is_tried_again() -> None:
    """A broker that is away when a partition is taken is asked again until it is there."""
    broker = Consumers()
    async with TaskGroup() as tasks:
        tasks.start(broker.subscriptions.run(), "subscriptions")
        broker.faults = 3
        await broker.subscriptions.open([0])
        assert broker.receivers == {}
        assert broker.subscriptions.receives(0)
        await broker.clock.advance(0.1)
        assert broker.faults == 2
        await broker.clock.advance(5)
        assert list(broker.receivers) == ["shop.mailbox.0", "shop.start.0"]
        assert broker.clock.armed == 0


async def test_what_is_closed_while_it_opens_stays_closed() -> None:
    """A partition that is given up while its queues are being opened is not received from."""
    broker = Consumers()
    broker.hold = asyncio.Event()
    async with TaskGroup() as tasks:
        tasks.start(broker.subscriptions.open([0]), "open")
        await settle()
        tasks.start(broker.subscriptions.close([0]), "close")
        await settle()
        broker.hold.set()
        await settle()
        assert broker.receivers == {}
        assert not broker.subscriptions.receives(0)
