"""Tests of `brokers.memory.queues`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from brokers.memory.queues import (
    TURN,
    Consumer,
    Limits,
    MemoryDelivery,
    MemoryQueue,
    weigh,
)
from flow.ports import Delivery, Envelope, Publication, Queue
from tests.brokers.memory.waiting import turns


class Bench:
    """A queue, and everything that happens around it."""

    def __init__(self, returns_max: int = 100) -> None:
        self.buried: list[tuple[bytes, str]] = []
        self.received: list[tuple[str, bytes]] = []
        self.deliveries: list[Delivery] = []
        self.unsettled: dict[MemoryDelivery, Consumer] = {}
        self.queue = MemoryQueue(Queue("q"), None, Limits(1000, 1000, returns_max), self.bury)

    def bury(self, queue: MemoryQueue, message: MemoryDelivery, reason: str) -> None:
        """Note what the queue gives up."""
        self.buried.append((message.envelope.body, reason))

    def put(self, *bodies: bytes) -> None:
        """Put messages into the queue."""
        for body in bodies:
            self.queue.put(Publication("", "q", Envelope("t", body)), len(body))

    def consumer(self, name: str, credit: int) -> Consumer:
        """Start a consumer that notes what it receives."""

        def receive(delivery: Delivery) -> None:
            self.received.append((name, delivery.envelope.body))
            self.deliveries.append(delivery)

        loop = asyncio.get_running_loop()
        consumer = Consumer(self.queue, credit, receive, self.unsettled, loop)
        consumer.start()
        return consumer


async def test_round_robin() -> None:
    """Consumers take turns, and those without credit are passed over until they settle."""
    bench = Bench()
    bench.consumer("a", 3)
    bench.consumer("b", 1)
    bench.consumer("c", 3)
    bench.put(b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8")
    await turns()
    order = [("a", b"1"), ("b", b"2"), ("c", b"3"), ("a", b"4"), ("c", b"5"), ("a", b"6")]
    assert bench.received == [*order, ("c", b"7")]
    bench.deliveries[1].ack()
    await turns()
    assert bench.received[-1] == ("b", b"8")


async def test_requeued_messages_return_to_their_places() -> None:
    """In whatever order messages are given back, they come again in the order of the queue."""
    bench = Bench()
    bench.put(b"1", b"2", b"3", b"4", b"5")
    bench.consumer("a", 4)
    await turns()
    for number in (2, 0, 3, 1):
        bench.deliveries[number].requeue()
    assert bench.queue.ready == 5
    await turns()
    assert [body for _, body in bench.received[4:]] == [b"1", b"2", b"3", b"4"]
    assert [delivery.redelivered for delivery in bench.deliveries] == [False] * 4 + [True] * 4


async def test_returns_are_counted_up_to_the_limit() -> None:
    """A message may be given back so many times, and is buried the next time."""
    bench = Bench(returns_max=2)
    bench.put(b"1", b"2")
    bench.consumer("a", 1)
    for _ in range(3):
        await turns()
        bench.deliveries[-1].requeue()
    await turns()
    assert [body for _, body in bench.received] == [b"1", b"1", b"1", b"2"]
    assert bench.buried == [(b"1", "delivery_limit")]


async def test_what_is_held_is_counted() -> None:
    """A message counts from when it is put until it is acked or buried, handed out or not."""
    bench = Bench()
    bench.put(b"one", b"two")
    bench.consumer("a", 2)
    await turns()
    first, second = bench.deliveries
    assert (bench.queue.ready, bench.queue.held_items, bench.queue.held_bytes) == (0, 2, 6)
    first.requeue()
    assert (bench.queue.held_items, bench.queue.held_bytes) == (2, 6)
    second.reject()
    assert (bench.queue.held_items, bench.queue.held_bytes) == (1, 3)
    await turns()
    bench.deliveries[-1].ack()
    assert (bench.queue.held_items, bench.queue.held_bytes) == (0, 0)
    assert bench.buried == [(b"two", "rejected")]
    assert bench.unsettled == {}


async def test_room_ends_at_either_bound() -> None:
    """A queue has room while one more message would break neither bound."""
    queue = MemoryQueue(Queue("q"), None, Limits(2, 10, 1), Bench().bury)
    publication = Publication("", "q", Envelope("t", b""))
    assert queue.has_room(10)
    assert not queue.has_room(11)
    queue.put(publication, 4)
    assert (queue.has_room(6), queue.has_room(7)) == (True, False)
    queue.put(publication, 0)
    assert not queue.has_room(0)


async def test_a_turn_is_bounded() -> None:
    """The pump lets others on the event loop have their turn after so many messages."""
    bench = Bench()
    bench.put(*[b"m"] * (TURN + 10))
    bench.consumer("a", TURN * 2)
    await turns(1)
    assert len(bench.received) == TURN
    await turns(1)
    assert len(bench.received) == TURN + 10


async def test_receivers_may_settle_at_once() -> None:
    """Settling inside of the receiver frees its credit for the next message."""
    bench = Bench()

    def receive(delivery: Delivery) -> None:
        bench.received.append(("a", delivery.envelope.body))
        delivery.ack()

    bench.put(b"1", b"2", b"3")
    loop = asyncio.get_running_loop()
    Consumer(bench.queue, 1, receive, bench.unsettled, loop).start()
    await turns(1)
    assert [body for _, body in bench.received] == [b"1", b"2", b"3"]


async def test_receivers_that_raise_are_reported() -> None:
    """What a receiver raises is reported, and the message comes again, to it or to another."""
    bench, reports = Bench(), list[Mapping[str, Any]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    errors: list[BaseException] = [ValueError("no"), asyncio.CancelledError()]

    def receive(delivery: Delivery) -> None:
        if errors:
            raise errors.pop(0)
        bench.received.append(("a", delivery.envelope.body))

    bench.put(b"1", b"2")
    Consumer(bench.queue, 2, receive, bench.unsettled, loop).start()
    await turns()
    assert [body for _, body in bench.received] == [b"1", b"2"]
    assert [type(report["exception"]) for report in reports] == [ValueError, asyncio.CancelledError]
    assert "'q'" in reports[0]["message"]


async def test_receivers_that_always_raise_do_not_stop_the_loop() -> None:
    """A receiver that raises is tried again in another turn of the event loop, not in this one."""
    bench, reports = Bench(), list[Mapping[str, Any]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))

    def receive(delivery: Delivery) -> None:
        raise ValueError(delivery.envelope.body)

    bench.put(b"1")
    consumer = Consumer(bench.queue, 1, receive, bench.unsettled, loop)
    consumer.start()
    await turns(3)
    consumer.stop()
    assert len(reports) == 3


async def test_stopping_and_starting() -> None:
    """A stopped consumer gets nothing; what it settles meanwhile counts when it starts again."""
    bench = Bench()
    bench.put(b"1", b"2", b"3")
    consumer = bench.consumer("a", 1)
    await turns()
    consumer.stop()
    consumer.stop()
    bench.deliveries[0].ack()
    await turns()
    assert len(bench.received) == 1
    consumer.start()
    consumer.start()
    await turns()
    assert [body for _, body in bench.received] == [b"1", b"2"]
    consumer.stop()
    bench.put(b"4")
    bench.deliveries[1].ack()
    consumer.start()
    consumer.stop()
    await turns()
    assert len(bench.received) == 2


async def test_clearing_loses_everything() -> None:
    """A queue that is cleared hands out nothing more, returned messages included."""
    bench = Bench()
    bench.put(b"1", b"2")
    consumer = bench.consumer("a", 1)
    await turns()
    consumer.stop()
    bench.deliveries[0].requeue()
    bench.queue.clear()
    consumer.start()
    await turns()
    assert (len(bench.received), bench.queue.ready, bench.queue.held_items) == (1, 0, 0)


def test_a_queue_outlives_an_event_loop() -> None:
    """A pump call that a loop took with it to its end does not keep the next loop waiting."""
    bench = Bench()
    bench.put(b"1", b"2")

    async def later() -> None:
        bench.consumer("b", 2)
        await turns()

    loop = asyncio.new_event_loop()
    early = Consumer(bench.queue, 1, bench.deliveries.append, bench.unsettled, loop)
    early.start()
    early.stop()
    loop.close()
    asyncio.run(later())
    assert bench.received == [("b", b"1"), ("b", b"2")]


def test_weight_counts_body_and_headers() -> None:
    """A message weighs what its body and its headers hold."""
    publication = Publication("x", "key", Envelope("t", b"12345", headers={"ab": "cde", "f": ""}))
    assert weigh(publication) == 11
