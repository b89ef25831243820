"""Tests of `worker.intake`; how it waits for a broker is in `test_worker_ending.py`."""

from __future__ import annotations

from collections.abc import Callable

from brokers.memory.broker import MemoryBroker
from flow.errors import BrokerUnavailable
from flow.ports import Delivery, Envelope, Publication, Queue, Subscription, Topology
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.intake import Intake, Source
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle

TOPOLOGY = (Topology(queues=(Queue("a"),)), Topology(queues=(Queue("b"),)))


class Room:
    """An intake of two queues, of which the second is consumed until the end."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self.clock = ManualClock()
        self.received: list[bytes] = []
        sources = (
            Source("a", 10, self.receive),
            Source("b", 10, self.receive, until_end=True),
        )
        self.intake = Intake(self.broker, self.clock, CountingChance(), TOPOLOGY, sources)

    def receive(self, delivery: Delivery) -> None:
        """Keep a message."""
        self.received.append(delivery.envelope.body)
        delivery.ack()

    async def send(self) -> None:
        """Send a message to each queue."""
        for queue in ("a", "b"):
            envelope = Envelope("t", queue.encode())
            await self.broker.publish([Publication("", queue, envelope)])
        await settle()


async def test_it_receives_until_it_is_closed_and_ended() -> None:
    """Closing stops all but what is consumed until the end."""
    room = Room()
    await room.broker.open()
    async with TaskGroup() as group:
        task = group.start(room.intake.run(), "intake")
        await room.intake.is_open.wait()
        await room.send()
        await room.intake.close()
        await room.send()
        await room.intake.end()
        await room.send()
        assert (room.received, task.done()) == ([b"a", b"b", b"b"], True)
        assert not room.intake.is_open.is_set()


async def test_another_try_replaces_the_consumers() -> None:
    """When the second queue cannot be consumed at first, each has one consumer in the end."""

    class Failing(MemoryBroker):
        """A connection that is lost whenever the second queue is consumed, three times."""

        failures = 3

        async def consume(
            self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
        ) -> Subscription:
            """Fail, or consume."""
            if queue == "b" and self.failures:
                self.failures -= 1
                raise BrokerUnavailable("memory://", "gone")
            return await super().consume(queue, prefetch, receive)

    room = Room(Failing())
    await room.broker.open()
    async with TaskGroup() as group:
        task = group.start(room.intake.run(), "intake")
        await settle()
        assert not room.intake.is_open.is_set()
        await room.clock.advance(1)
        assert task.done()
        assert room.intake.is_open.is_set()
        assert [queue.consumers for queue in room.broker.hub.stats().queues] == [1, 1]
        assert room.clock.armed == 0


async def test_a_close_in_the_middle_leaves_no_consumer() -> None:
    """When it is closed while it connects, what was consumed so far is cancelled."""

    class Closing(MemoryBroker):
        """A connection on which the intake is closed while it consumes."""

        async def consume(
            self, queue: str, prefetch: int, receive: Callable[[Delivery], None]
        ) -> Subscription:
            """Close the intake, then consume."""
            await room.intake.close()
            return await super().consume(queue, prefetch, receive)

    room = Room(Closing())
    await room.broker.open()
    await room.intake.run()
    assert [queue.consumers for queue in room.broker.hub.stats().queues] == [0, 0]


async def test_a_consumer_that_is_gone_need_not_be_cancelled() -> None:
    """Cancelling over a dead connection may fail, and that changes nothing."""

    class Gone:
        """A consumer of a connection that is no more."""

        async def cancel(self) -> None:
            """Fail."""
            raise BrokerUnavailable("memory://", "gone")

    room = Room()
    room.intake._subscriptions.append((Source("a", 1, room.receive), Gone()))
    await room.intake.end()
    assert room.intake._subscriptions == []
