"""What every broker has to do when its connection is cut, or it takes no messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import (
    Binding,
    Broker,
    BrokerEvent,
    Exchange,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from tests.conformance.broker_bench import (
    DEADLINE_S,
    Bench,
    Ear,
    Inbox,
    bodies_of,
    message,
    send,
)


async def watchers_are_told(bench: Bench) -> None:
    """Whoever watches is told of each loss and each new connection, in order, until they leave."""
    broker = await bench.open()
    ear, leaver = Ear(), Ear()
    broker.watch(ear)
    leave = broker.watch(leaver)
    await bench.cut(broker)
    assert ear.heard == leaver.heard == [BrokerEvent.LOST, BrokerEvent.CONNECTED]
    assert (broker.health.is_connected, broker.health.generation) == (True, 2)
    assert broker.health.trouble == ""
    leave()
    leave()
    await bench.cut(broker)
    assert ear.heard == [BrokerEvent.LOST, BrokerEvent.CONNECTED] * 2
    assert len(leaver.heard) == 2
    await broker.close()
    assert len(ear.heard) == 4


async def a_watcher_that_raises_is_reported(bench: Bench) -> None:
    """A watcher that raises does not keep the others, or the connection, from going on."""
    broker, reports = await bench.open(), list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context["message"]))

    def fail(event: BrokerEvent) -> None:
        raise ValueError(event)

    broker.watch(fail)
    await bench.cut(broker)
    await send(broker, await bench.queue(broker), b"1")
    assert reports == ["a watcher of the broker raised"] * 2


async def consumers_come_back(bench: Bench) -> None:
    """On a new connection everything that was consumed is consumed again, with its prefetch."""
    broker = await bench.open()
    queues = [await bench.queue(broker) for _ in range(3)]
    inboxes = [Inbox() for _ in queues]
    for queue, inbox in zip(queues, inboxes, strict=True):
        await broker.consume(queue, 2, inbox)
    for turn in range(2):
        await bench.cut(broker)
        for queue, inbox in zip(queues, inboxes, strict=True):
            await send(broker, queue, b"1", b"2", b"3")
            first, second = await inbox.take(2)
            assert bodies_of([first, second]) == [b"1", b"2"], turn
            await bench.settled(broker)
            assert len(inbox) == 0
            first.ack()
            second.ack()
            (await inbox.take_one()).ack()


async def deliveries_of_before_are_void(bench: Bench) -> None:
    """What was not settled comes again, once; to settle what came before does nothing."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2", b"3", b"4")
    inbox = Inbox()
    await broker.consume(queue, 3, inbox)
    before = await inbox.take(3)
    await bench.cut(broker)
    before[0].ack()
    before[1].reject()
    before[2].requeue()
    again = await inbox.take(3)
    assert bodies_of(again) == [b"1", b"2", b"3"]
    assert [delivery.redelivered for delivery in again] == [True] * 3
    for delivery in again:
        delivery.ack()
    assert bodies_of(await inbox.take()) == [b"4"]
    await bench.settled(broker)
    assert len(inbox) == 0


async def many_losses_lose_and_reorder_nothing(bench: Bench) -> None:
    """A message that is never settled is there after any number of losses, in its place."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2", b"3")
    inbox = Inbox()
    await broker.consume(queue, 10, inbox)
    for _ in range(4):
        assert bodies_of(await inbox.take(3)) == [b"1", b"2", b"3"]
        await bench.cut(broker)
    assert bodies_of(await inbox.take(3)) == [b"1", b"2", b"3"]


async def what_is_kept_is_declared_again(bench: Bench) -> None:
    """An exclusive queue that was kept is there again, with its bindings; another one is not."""
    broker, other = await bench.open(), await bench.open()
    exchange, kept, dropped = (bench.name(name) for name in ("exchange", "kept", "dropped"))
    await broker.declare(
        Topology(
            (Exchange(exchange, "direct"),),
            (Queue(kept, exclusive=True),),
            (Binding(kept, exchange, "key"),),
        )
    )
    await broker.declare(Topology(queues=(Queue(dropped, exclusive=True),)), keep=False)
    inbox = Inbox()
    await broker.consume(kept, 10, inbox)
    await bench.cut(broker, other)
    outcome = await other.publish(
        [Publication("", dropped, message()), Publication(exchange, "key", message(b"1"))]
    )
    assert list(outcome) == [Settlement.UNROUTABLE, Settlement.CONFIRMED]
    assert bodies_of(await inbox.take()) == [b"1"]


async def cancelled_consumers_stay_away(bench: Bench) -> None:
    """A subscription that was cancelled is not consumed again."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    inbox, heir = Inbox(), Inbox()
    subscription = await broker.consume(queue, 10, inbox)
    await subscription.cancel()
    await bench.cut(broker)
    await send(broker, queue, b"1")
    await broker.consume(queue, 10, heir)
    assert bodies_of(await heir.take()) == [b"1"]
    await subscription.cancel()
    assert len(inbox) == 0


async def consumers_wait_for_their_queue(bench: Bench) -> None:
    """A consumer whose queue is not there on the new connection begins when it is declared."""
    broker = await bench.open()
    queue = Topology(queues=(Queue(bench.name("late"), exclusive=True),))
    name = queue.queues[0].name
    await broker.declare(queue, keep=False)
    inbox = Inbox()
    await broker.consume(name, 10, inbox)
    await bench.cut(broker)
    assert list(await broker.publish([Publication("", name, message())])) == [Settlement.UNROUTABLE]
    await broker.declare(queue, keep=False)
    await send(broker, name, b"1")
    assert bodies_of(await inbox.take()) == [b"1"]


async def publishing_works_again(bench: Bench) -> None:
    """A new connection publishes to what was declared on it, and on the one before."""
    broker = await bench.open()
    exchange, queue = await bench.exchange(broker), await bench.queue(broker)
    await broker.declare(Topology(bindings=(Binding(queue, exchange, "key"),)))
    await bench.cut(broker)
    outcome = await broker.publish([Publication(exchange, "key", message())] * 3)
    assert list(outcome) == [Settlement.CONFIRMED] * 3


async def a_lost_connection_can_be_closed(bench: Bench) -> None:
    """To close a connection that is being made again ends that, and it can be opened anew."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    ear = Ear()
    broker.watch(ear)
    assert bench.features.cut is not None
    await bench.features.cut()
    await ear.hear(BrokerEvent.LOST)
    await broker.close()
    assert not broker.health.is_connected
    await broker.open()
    await send(broker, queue, b"1")
    assert broker.health.generation >= 2


async def a_blocked_broker_says_so(bench: Bench) -> None:
    """While a broker takes no messages, watchers know, publishers fail soon, consumers go on."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1")
    ear, inbox = Ear(), Inbox()
    broker.watch(ear)
    assert bench.features.block is not None
    await bench.features.block("no memory")
    await push_until_blocked(broker, ear, queue)
    assert broker.health.blocked
    assert broker.health.is_connected
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(BrokerUnavailable, match="blocked"):
            await send(broker, queue, b"3")
    await broker.consume(queue, 10, inbox)
    (await inbox.take_one()).ack()
    await bench.features.block("")
    await ear.hear(BrokerEvent.UNBLOCKED)
    assert broker.health.blocked == ""
    await send(broker, queue, b"4")
    assert ear.heard == [BrokerEvent.BLOCKED, BrokerEvent.UNBLOCKED]


async def push_until_blocked(broker: Broker, ear: Ear, queue: str) -> None:
    """Publish until it is told, for some brokers tell only those who do so after the alarm."""
    async with asyncio.timeout(DEADLINE_S):
        while BrokerEvent.BLOCKED not in ear.heard:
            with contextlib.suppress(BrokerUnavailable):
                await send(broker, queue, b"2")


CUTTING: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (
    watchers_are_told,
    a_watcher_that_raises_is_reported,
    consumers_come_back,
    deliveries_of_before_are_void,
    many_losses_lose_and_reorder_nothing,
    what_is_kept_is_declared_again,
    cancelled_consumers_stay_away,
    consumers_wait_for_their_queue,
    publishing_works_again,
    a_lost_connection_can_be_closed,
)
"""The cases that need a bench whose server can cut connections."""

BLOCKING: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (a_blocked_broker_says_so,)
"""The cases that need a bench whose server can be blocked."""
