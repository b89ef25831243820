"""Tests of `brokers.rabbitmq.consuming`; most of what it does is proved by the conformance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from brokers.rabbitmq.consuming import Consumer
from brokers.rabbitmq.declaring import declare
from brokers.rabbitmq.link import Link, connect
from brokers.rabbitmq.publishing import Publishing
from brokers.rabbitmq.tasks import Tasks
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Envelope, Publication, Queue, Topology
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import DEADLINE_S
from tests.brokers.rabbitmq.test_link import dial_of
from tests.conformance.broker_bench import Inbox, bodies_of

pytestmark = pytest.mark.usefixtures("wire")


@pytest.fixture
async def link(broker_url: str) -> AsyncGenerator[Link, None]:
    """Give a connection with a queue `q`."""
    link = await connect(dial_of(broker_url))
    await declare(link, Topology(queues=(Queue("q"),)))
    yield link
    await link.close()


@pytest.fixture
async def tasks() -> AsyncGenerator[Tasks, None]:
    """Give an owner of tasks, which has none in the end."""
    tasks = Tasks()
    yield tasks
    await tasks.stop()


class Ends:
    """Notes consumers that have to be started again."""

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self._came = asyncio.Event()

    def __call__(self, consumer: Consumer) -> None:
        """Note one."""
        self.consumers.append(consumer)
        self._came.set()

    async def one(self) -> None:
        """Wait for one."""
        async with asyncio.timeout(DEADLINE_S):
            await self._came.wait()
        self._came.clear()


async def send(link: Link, *bodies: bytes) -> None:
    """Publish messages to the queue."""
    publications = [Publication("", "q", Envelope("t", body)) for body in bodies]
    await Publishing(link, lambda: "made").publish(publications, DEADLINE_S)


async def spoil(link: Link) -> None:
    """Have the broker close every channel, as it does when a consumer is too slow."""
    for channel in list(link.raw.channels.values()):
        if channel is not None and not channel.is_closed:
            await channel.basic_ack(999_999)


async def test_a_closed_channel_voids_its_deliveries(link: Link, tasks: Tasks) -> None:
    """What came through a channel that the broker has closed cannot be settled, and comes again."""
    inbox, ends = Inbox(), Ends()
    consumer = Consumer("q", 10, inbox, tasks, ends)
    await send(link, b"1", b"2")
    await consumer.start(link)
    before = await inbox.take(2)
    await spoil(link)
    await ends.one()
    assert ends.consumers == [consumer]
    await consumer.start(link)
    before[0].ack()
    before[1].reject()
    again = await inbox.take(2)
    assert bodies_of(again) == [b"1", b"2"]
    again[0].ack()
    again[1].ack()
    await consumer.cancel()
    await consumer.finish()


async def test_starting_twice_consumes_once(link: Link, tasks: Tasks) -> None:
    """Two that start a consumer on one connection at the same time start it once."""
    inbox = Inbox()
    consumer = Consumer("q", 10, inbox, tasks, Ends())
    await asyncio.gather(consumer.start(link), consumer.start(link), consumer.start(link))
    channel = await link.channel()
    found = await channel.queue_declare("q", passive=True)
    link.drop(channel)
    assert found.consumer_count == 1
    await consumer.finish()


async def test_a_deleted_queue_ends_the_consumer_but_not_the_rest(link: Link, tasks: Tasks) -> None:
    """When its queue is deleted the consumer is to be started again; settling harms nothing."""
    inbox, ends = Inbox(), Ends()
    consumer = Consumer("q", 10, inbox, tasks, ends)
    await send(link, b"1")
    await consumer.start(link)
    (delivery,) = await inbox.take(1)
    channel = await link.channel()
    await channel.queue_delete("q")
    await ends.one()
    delivery.ack()
    with pytest.raises(ConfigurationError, match="'q'"):
        await consumer.start(link)
    assert ends.consumers == [consumer]
    await declare(link, Topology(queues=(Queue("q"),)))
    await consumer.start(link)
    await send(link, b"2")
    assert bodies_of(await inbox.take()) == [b"2"]
    assert link.is_up
    await consumer.finish()


async def test_a_cancelled_consumer_closes_its_channel_at_the_end(link: Link, tasks: Tasks) -> None:
    """The channel of a cancelled consumer lives until its last delivery is settled."""
    inbox = Inbox()
    consumer = Consumer("q", 10, inbox, tasks, Ends())
    await send(link, b"1", b"2")
    await consumer.start(link)
    first, second = await inbox.take(2)
    await consumer.cancel()
    await consumer.cancel()
    channels = len(link.raw.channels)
    first.ack()
    second.ack()
    await eventually(lambda: len(link.raw.channels) < channels and len(tasks) == 0)
    first.requeue()
    assert link.is_up


async def test_cancelling_while_it_starts(link: Link, tasks: Tasks) -> None:
    """A consumer that is cancelled while it starts does not receive in the end."""
    inbox = Inbox()
    consumer = Consumer("q", 10, inbox, tasks, Ends())
    await asyncio.gather(consumer.start(link), consumer.cancel())
    await send(link, b"1")
    heir = Consumer("q", 10, heirloom := Inbox(), tasks, Ends())
    await heir.start(link)
    assert bodies_of(await heirloom.take()) == [b"1"]
    assert len(inbox) == 0
    await heir.finish()


async def test_a_refresh_leaves_no_gap(link: Link, tasks: Tasks) -> None:
    """A consumer that moves to another channel is there once, and still settles what it had."""
    inbox, ends = Inbox(), Ends()
    consumer = Consumer("q", 2, inbox, tasks, ends)
    await consumer.refresh()
    await consumer.start(link)
    await send(link, b"1")
    (before,) = await inbox.take()
    assert (consumer.received, consumer.has_room, consumer.is_idle) == (1, True, False)
    await consumer.refresh()
    assert (consumer.has_room, consumer.is_idle) == (True, True)
    await send(link, b"2", b"3")
    taken = await inbox.take(2)
    assert bodies_of(taken) == [b"2", b"3"]
    assert not consumer.has_room
    before.ack()
    await eventually(lambda: len(tasks) == 1)
    await consumer.finish()
    heir = Consumer("q", 10, heirloom := Inbox(), tasks, Ends())
    await heir.start(link)
    assert bodies_of(await heirloom.take(2)) == [b"2", b"3"]
    await heir.finish()
    assert (ends.consumers, len(heirloom)) == ([], 0)


async def test_cancelling_while_it_moves(link: Link, tasks: Tasks) -> None:
    """A consumer that is cancelled while it moves does not receive in the end."""
    consumer = Consumer("q", 10, Inbox(), tasks, Ends())
    await consumer.start(link)
    await asyncio.gather(consumer.refresh(), consumer.cancel())
    channel = await link.channel()
    # The queue hears of it a moment later.
    count: int | None = None
    async with asyncio.timeout(DEADLINE_S):
        while count != 0:
            count = (await channel.queue_declare("q", passive=True)).consumer_count
    link.drop(channel)
    await consumer.restart()
    await eventually(lambda: len(tasks) == 0)
    assert consumer.is_cancelled


async def test_a_restart_gives_back_what_is_unsettled(link: Link, tasks: Tasks) -> None:
    """A consumer that is restarted asks to be started again, and gets what it had once more."""
    inbox, ends = Inbox(), Ends()
    consumer = Consumer("q", 10, inbox, tasks, ends)
    await consumer.start(link)
    await send(link, b"1")
    (before,) = await inbox.take()
    await consumer.restart()
    assert (ends.consumers, consumer.is_running) == ([consumer], False)
    before.ack()
    await consumer.start(link)
    again = await inbox.take_one()
    assert (again.envelope.body, again.redelivered) == (b"1", True)
    await consumer.finish()


async def test_a_receiver_that_raises_gives_the_message_back(link: Link, tasks: Tasks) -> None:
    """An error of the receiver is reported; the message is neither lost nor dead-lettered."""
    reports, inbox = list[str](), Inbox()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context["message"]))

    def receive(delivery: object) -> None:
        if not reports:
            raise ValueError(delivery)
        inbox(delivery)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - it is one

    consumer = Consumer("q", 1, receive, tasks, Ends())
    await consumer.start(link)
    await send(link, b"1")
    again = await inbox.take_one()
    assert (again.envelope.body, again.redelivered) == (b"1", True)
    assert reports == ["a receiver raised; the message goes back"]
    await consumer.finish()


async def test_nothing_is_consumed_without_a_connection(link: Link, tasks: Tasks) -> None:
    """On a connection that is closed a consumer does not start, and can be cancelled."""
    consumer = Consumer("q", 1, Inbox(), tasks, Ends())
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await consumer.start(link)
    await consumer.cancel()
    await consumer.finish()
    assert len(tasks) == 0
