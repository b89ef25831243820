"""What every broker has to do. An adapter exists when it passes this.

`CASES` are plain functions that take a `Bench`; a file of tests runs each of them against each
adapter. They see a broker through its port alone. They never wait for time to pass, only for what
has to arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import (
    Binding,
    Broker,
    BrokerHealth,
    Delivery,
    Envelope,
    Exchange,
    Level,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from tests.conformance.broker_bench import DEADLINE_S, Bench, Inbox, bodies_of, message, send
from tests.conformance.broker_publishing import PUBLISHING

Case = Callable[[Bench], Awaitable[None]]


async def many_messages_keep_their_order(bench: Bench) -> None:
    """Thousands of messages of several calls arrive once and in order."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    bodies = [b"%d" % number for number in range(3000)]
    inbox = Inbox()

    def receive(delivery: Delivery) -> None:
        inbox(delivery)
        delivery.ack()

    await broker.consume(queue, 50, receive)
    for start in range(0, len(bodies), 500):
        await send(broker, queue, *bodies[start : start + 500])
    assert bodies_of(await inbox.take(len(bodies))) == bodies
    await bench.settled(broker)
    assert len(inbox) == 0


async def publishers_do_not_disturb_each_other(bench: Bench) -> None:
    """Calls that overlap are each answered, and each keeps its own order."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    inbox = Inbox()
    await broker.consume(queue, 1000, inbox)
    groups = [[b"%d.%d" % (group, n) for n in range(20)] for group in range(20)]
    await asyncio.gather(*(send(broker, queue, *group) for group in groups))
    taken = bodies_of(await inbox.take(400))
    for number, group in enumerate(groups):
        assert [body for body in taken if body.startswith(b"%d." % number)] == group


async def messages_wait_for_a_consumer(bench: Bench) -> None:
    """Messages outlive the connection that published them."""
    broker, other = await bench.open(), await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2")
    await broker.close()
    inbox = Inbox()
    await other.consume(queue, 10, inbox)
    assert bodies_of(await inbox.take(2)) == [b"1", b"2"]


async def requeued_messages_come_back_first(bench: Bench) -> None:
    """A message that is given back comes again before those behind it, marked as redelivered."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2")
    inbox = Inbox()
    await broker.consume(queue, 1, inbox)
    (await inbox.take_one()).requeue()
    again = await inbox.take_one()
    assert (again.envelope.body, again.redelivered) == (b"1", True)
    again.ack()
    following = await inbox.take_one()
    assert (following.envelope.body, following.redelivered) == (b"2", False)


async def closing_gives_back(bench: Bench) -> None:
    """What a connection had not settled when it closed comes again elsewhere, in order."""
    broker, other = await bench.open(), await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2", b"3", b"4")
    inbox, heir = Inbox(), Inbox()
    await broker.consume(queue, 3, inbox)
    taken = await inbox.take(3)
    taken[1].ack()
    await broker.close()
    await other.consume(queue, 10, heir)
    inherited = await heir.take(3)
    assert bodies_of(inherited) == [b"1", b"3", b"4"]
    assert [delivery.redelivered for delivery in inherited[:2]] == [True, True]
    # It comes too late and does nothing: neither is the message lost nor does it come twice.
    taken[0].ack()
    taken[2].requeue()
    await bench.settled(other)
    assert len(heir) == 0


async def late_settlements_do_nothing_after_reopening(bench: Bench) -> None:
    """A delivery of an earlier connection cannot settle anything on the next one."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1")
    inbox = Inbox()
    await broker.consume(queue, 1, inbox)
    early = await inbox.take_one()
    await broker.close()
    await broker.open()
    await broker.consume(queue, 1, inbox)
    again = await inbox.take_one()
    early.reject()
    await broker.close()
    await broker.open()
    await broker.consume(queue, 1, inbox)
    assert (await inbox.take_one()).envelope == again.envelope


async def cancelling_keeps_what_was_received(bench: Bench) -> None:
    """After cancel nothing arrives, and what had arrived can still be settled either way."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2", b"3")
    inbox, heir = Inbox(), Inbox()
    subscription = await broker.consume(queue, 2, inbox)
    first, second = await inbox.take(2)
    await subscription.cancel()
    first.ack()
    await bench.settled(broker)
    assert len(inbox) == 0
    await broker.consume(queue, 10, heir)
    assert bodies_of(await heir.take()) == [b"3"]
    second.requeue()
    assert bodies_of(await heir.take()) == [b"2"]
    await bench.settled(broker)
    assert (len(inbox), len(heir)) == (0, 0)


async def cancelling_twice_is_harmless(bench: Bench) -> None:
    """A subscription may be cancelled twice, and after its connection was closed."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    subscription = await broker.consume(queue, 1, Inbox())
    survivor = await broker.consume(queue, 1, Inbox())
    await subscription.cancel()
    await subscription.cancel()
    await broker.close()
    await survivor.cancel()


async def prefetch_bounds_what_is_unsettled(bench: Bench) -> None:
    """A consumer never holds more than its prefetch, and gets one more for each it settles."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, *(b"%d" % number for number in range(6)))
    inbox = Inbox()
    await broker.consume(queue, 2, inbox)
    first, second = await inbox.take(2)
    await bench.settled(broker)
    assert len(inbox) == 0
    first.ack()
    third = await inbox.take_one()
    await bench.settled(broker)
    assert len(inbox) == 0
    second.reject()
    third.ack()
    assert bodies_of(await inbox.take(2)) == [b"3", b"4"]
    await bench.settled(broker)
    assert len(inbox) == 0


async def consumers_share_a_queue(bench: Bench) -> None:
    """Consumers of one queue, of any connection, each get their share, and no message twice."""
    broker, other = await bench.open(), await bench.open()
    queue = await bench.queue(broker)
    inboxes = [Inbox(), Inbox(), Inbox()]
    for each, inbox in zip((broker, broker, other), inboxes, strict=True):
        await each.consume(queue, 2, inbox)
    await send(broker, queue, *(b"%d" % number for number in range(6)))
    taken = [body for inbox in inboxes for body in bodies_of(await inbox.take(2))]
    assert sorted(taken) == [b"%d" % number for number in range(6)]


async def rejected_messages_are_dead_lettered(bench: Bench) -> None:
    """A rejected message goes to the dead-letter exchange, whole, with its key and the reason."""
    broker = await bench.open()
    dead, grave = await bench.exchange(broker, "fanout"), await bench.queue(broker)
    queue = await bench.queue(broker, dead_letter=dead)
    await broker.declare(Topology(bindings=(Binding(grave, dead),)))
    inbox, mourner = Inbox(), Inbox()
    await broker.consume(queue, 10, inbox)
    await broker.consume(grave, 10, mourner)
    envelope = Envelope("test", b"poison", "m-1", "c-1", "back", {"kept": "yes"})
    await broker.publish([Publication("", queue, envelope)])
    (await inbox.take_one()).reject()
    found = await mourner.take_one()
    headers = found.envelope.headers
    assert found.routing_key == queue
    assert (found.envelope.body, found.envelope.message_id) == (b"poison", "m-1")
    assert (found.envelope.correlation_id, found.envelope.reply_to) == ("c-1", "back")
    assert (headers["kept"], headers["flow-death-queue"]) == ("yes", queue)
    assert headers["flow-death-reason"] == "rejected"


async def rejected_messages_are_dropped(bench: Bench) -> None:
    """Without a dead-letter exchange a rejected message is gone, and the next one comes."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2")
    inbox = Inbox()
    await broker.consume(queue, 1, inbox)
    (await inbox.take_one()).reject()
    assert bodies_of(await inbox.take()) == [b"2"]


async def settling_twice_does_nothing(bench: Bench) -> None:
    """Only the first settlement of a delivery counts."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    await send(broker, queue, b"1", b"2", b"3")
    inbox = Inbox()
    await broker.consume(queue, 2, inbox)
    first, second = await inbox.take(2)
    for _ in range(2):
        first.ack()
        first.requeue()
        first.reject()
    third = await inbox.take_one()
    await bench.settled(broker)
    # A second credit for the same message would have let another one through.
    await send(broker, queue, b"4")
    await bench.settled(broker)
    assert (len(inbox), third.envelope.body) == (0, b"3")
    second.ack()
    assert bodies_of(await inbox.take()) == [b"4"]


async def exclusive_queues_belong_to_their_connection(bench: Bench) -> None:
    """Others can publish to an exclusive queue, but neither declare, bind nor consume it."""
    broker, other = await bench.open(), await bench.open()
    exchange, name = await bench.exchange(broker), bench.name("exclusive")
    mine = Topology(queues=(Queue(name, exclusive=True),), bindings=(Binding(name, exchange, "k"),))
    await broker.declare(mine)
    await broker.declare(mine)
    inbox = Inbox()
    await broker.consume(name, 10, inbox)
    await send(other, name, b"1")
    await other.publish([Publication(exchange, "k", message(b"2"))])
    assert bodies_of(await inbox.take(2)) == [b"1", b"2"]
    for theirs in (
        Topology(queues=mine.queues),
        Topology(queues=(Queue(name),)),
        Topology(bindings=mine.bindings),
    ):
        with pytest.raises(ConfigurationError, match=name):
            await other.declare(theirs)
    with pytest.raises(ConfigurationError, match=name):
        await other.consume(name, 1, Inbox())


async def exclusive_queues_end_with_their_connection(bench: Bench) -> None:
    """When its connection closes, an exclusive queue is gone with its messages and bindings."""
    broker, other = await bench.open(), await bench.open()
    exchange, name = await bench.exchange(broker), bench.name("exclusive")
    mine = Topology(queues=(Queue(name, exclusive=True),), bindings=(Binding(name, exchange, "k"),))
    await broker.declare(mine)
    await send(other, name, b"old")
    await broker.close()
    outcome = await other.publish(
        [Publication("", name, message()), Publication(exchange, "k", message())]
    )
    assert list(outcome) == [Settlement.UNROUTABLE] * 2
    await other.declare(mine)
    inbox = Inbox()
    await other.consume(name, 10, inbox)
    await send(other, name, b"new")
    assert bodies_of(await inbox.take()) == [b"new"]


async def exchanges_can_be_looked_up(bench: Bench) -> None:
    """An exchange exists from its declaration on, for every connection."""
    broker, other = await bench.open(), await bench.open()
    assert not await other.has_exchange(bench.name("missing"))
    exchange = await bench.exchange(broker)
    assert await other.has_exchange(exchange)
    assert await broker.has_exchange(exchange)


async def declaring_again_changes_nothing(bench: Bench) -> None:
    """A topology may be declared again, by anyone: messages stay, bindings are not doubled."""
    broker, other = await bench.open(), await bench.open()
    exchange, queue = bench.name("topic"), bench.name("queue")
    topology = Topology(
        (Exchange(exchange, "topic"),),
        (Queue(queue, dead_letter=exchange),),
        (Binding(queue, exchange, "#"),),
    )
    await broker.declare(topology)
    await send(broker, queue, b"1")
    await other.declare(topology)
    await broker.declare(topology)
    await other.publish([Publication(exchange, "key", message(b"2"))])
    inbox = Inbox()
    await other.consume(queue, 10, inbox)
    assert bodies_of(await inbox.take(2)) == [b"1", b"2"]
    await bench.settled(other)
    assert len(inbox) == 0


async def conflicting_declarations_are_refused(bench: Bench) -> None:
    """What exists with other properties, or not at all, is named; the connection goes on."""
    broker = await bench.open()
    exchange, queue = await bench.exchange(broker, "direct"), await bench.queue(broker)
    missing = bench.name("missing")
    wrong = [
        (exchange, Topology(exchanges=(Exchange(exchange, "topic"),))),
        (queue, Topology(queues=(Queue(queue, dead_letter=exchange),))),
        (missing, Topology(bindings=(Binding(missing, exchange, "key"),))),
        (missing, Topology(bindings=(Binding(queue, missing, "key"),))),
    ]
    for name, topology in wrong:
        with pytest.raises(ConfigurationError, match=name):
            await broker.declare(topology)
    await send(broker, queue, b"1")


async def consuming_what_is_not_there_is_refused(bench: Bench) -> None:
    """A consumer needs a queue that exists and a prefetch of at least 1."""
    broker = await bench.open()
    missing, queue = bench.name("missing"), await bench.queue(broker)
    with pytest.raises(ConfigurationError, match=missing):
        await broker.consume(missing, 1, Inbox())
    with pytest.raises(ConfigurationError, match="prefetch"):
        await broker.consume(queue, 0, Inbox())
    await send(broker, queue, b"1")


async def nothing_works_unless_open(bench: Bench) -> None:
    """Before it is opened and after it was closed, a connection refuses every operation."""
    broker = bench.make()
    await expect_unavailable(broker)
    await broker.open()
    queue = await bench.queue(broker)
    await broker.close()
    await broker.close()
    await expect_unavailable(broker)
    await broker.open()
    await send(broker, queue, b"1")
    await broker.close()


async def health_follows_the_connection(bench: Bench) -> None:
    """Health says whether the connection is up, and counts how often it was made."""
    broker = bench.make()
    assert (broker.health.is_connected, broker.health.generation) == (False, 0)
    for generation in (1, 2):
        await broker.open()
        await broker.open()
        assert broker.health == BrokerHealth(is_connected=True, generation=generation)
        await broker.close()
        assert (broker.health.is_connected, broker.health.generation) == (False, generation)
        assert broker.health.trouble


async def examining_finds_no_fault(bench: Bench) -> None:
    """A broker that works is found to, by somebody who is connected."""
    broker = await bench.open()
    findings = await broker.examine()
    assert findings
    assert all(finding.level is not Level.PROBLEM for finding in findings)
    await broker.close()
    with pytest.raises(BrokerUnavailable):
        await broker.examine()


async def expect_unavailable(broker: Broker) -> None:
    """Expect every operation to say that the broker is away."""
    operations: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: broker.declare(Topology()),
        lambda: broker.has_exchange("any"),
        lambda: broker.publish([Publication("", "any", message())]),
        lambda: broker.consume("any", 1, Inbox()),
    )
    for operation in operations:
        with pytest.raises(BrokerUnavailable):
            async with asyncio.timeout(DEADLINE_S):
                await operation()


CASES: Final[tuple[Case, ...]] = (
    *PUBLISHING,
    many_messages_keep_their_order,
    publishers_do_not_disturb_each_other,
    messages_wait_for_a_consumer,
    requeued_messages_come_back_first,
    closing_gives_back,
    late_settlements_do_nothing_after_reopening,
    cancelling_keeps_what_was_received,
    cancelling_twice_is_harmless,
    prefetch_bounds_what_is_unsettled,
    consumers_share_a_queue,
    rejected_messages_are_dead_lettered,
    rejected_messages_are_dropped,
    settling_twice_does_nothing,
    exclusive_queues_belong_to_their_connection,
    exclusive_queues_end_with_their_connection,
    exchanges_can_be_looked_up,
    declaring_again_changes_nothing,
    conflicting_declarations_are_refused,
    consuming_what_is_not_there_is_refused,
    nothing_works_unless_open,
    health_follows_the_connection,
    examining_finds_no_fault,
)
"""Every case, for a file of tests to run. `broker_losses` has more for those who can do more."""
