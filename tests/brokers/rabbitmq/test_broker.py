"""Tests of `brokers.rabbitmq.broker`, beyond those that every broker has to pass."""

from __future__ import annotations

import asyncio
import json

import pytest

from brokers.rabbitmq import RabbitBroker, broker as broker_module
from flow.errors import BrokerUnavailable, ConfigurationError
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
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import (
    DEADLINE_S,
    close_connections,
    connected,
    delete_queue,
    queue_on,
    send,
)
from tests.conformance.broker_bench import Ear, Inbox, bodies_of, message
from tests.servers.rabbitmq import RabbitServer


async def send_when_routable(broker: Broker, publication: Publication) -> None:
    """Publish again and again until somebody gets it."""
    outcome = Settlement.UNROUTABLE
    async with asyncio.timeout(DEADLINE_S):
        while outcome is Settlement.UNROUTABLE:
            (outcome,) = await broker.publish([publication])
    assert outcome is Settlement.CONFIRMED


async def expect_unavailable(broker: Broker, queue: str) -> None:
    """Expect everything to fail at once, with the reason that health has."""
    assert broker.health.trouble
    for operation in (
        send(broker, queue, b"x"),
        broker.has_exchange("e"),
        broker.declare(Topology()),
        broker.consume(queue, 1, Inbox()),
        broker.examine(),
    ):
        with pytest.raises(BrokerUnavailable) as caught:
            await operation
        assert caught.value.reason == broker.health.trouble


async def test_connections_have_names(broker_url: str, rabbitmq: RabbitServer) -> None:
    """The broker's list of connections tells who it is, and what each connection is for."""
    async with connected(broker_url, name="shop worker 1"), connected(broker_url):
        printed = await rabbitmq.ctl(
            "list_connections", "--formatter", "json", "vhost", "client_properties"
        )
    vhost = broker_url.rpartition("/")[2]
    mine = [each["client_properties"] for each in json.loads(printed) if each["vhost"] == vhost]
    names = {value for each in mine for name, _, value in each if name == "connection_name"}
    assert names == {
        "shop worker 1 (publishes)",
        "shop worker 1 (receives)",
        "flow (publishes)",
        "flow (receives)",
    }


async def test_a_deleted_queue_is_declared_and_consumed_again(
    broker_url: str, rabbitmq: RabbitServer
) -> None:
    """A queue that was kept is there and bound again soon after an administrator deleted it."""
    async with connected(broker_url) as broker:
        ear, inbox = Ear(), Inbox()
        broker.watch(ear)
        await broker.declare(
            Topology(
                (Exchange("e", "direct"), Exchange("dead", "fanout")),
                (Queue("q", dead_letter="dead"), Queue("bystander")),
                (Binding("q", "e", "key"),),
            )
        )
        await broker.consume("q", 10, inbox)
        for body in (b"1", b"2"):
            await delete_queue(rabbitmq, broker_url, "q")
            await send_when_routable(broker, Publication("e", "key", message(body)))
            (delivery,) = await inbox.take()
            assert delivery.envelope.body == body
            delivery.ack()
        # The connection had nothing to do with it.
        assert (ear.heard, broker.health.generation) == ([], 1)


async def test_a_deleted_queue_that_was_not_kept_is_waited_for(
    broker_url: str, rabbitmq: RabbitServer
) -> None:
    """A queue that others own is not declared again, but consumed again once it is there."""
    async with connected(broker_url) as broker, connected(broker_url) as owner:
        inbox = Inbox()
        queue = await queue_on(owner)
        await broker.consume(queue, 10, inbox)
        await delete_queue(rabbitmq, broker_url, queue)
        assert await send(broker, queue, b"lost") == [Settlement.UNROUTABLE]
        await eventually(lambda: not any(each.is_running for each in broker._consumers))
        await queue_on(owner)
        assert await send(owner, queue, b"1") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"1"]


async def test_a_consumer_is_revived_however_soon_it_is_tried(
    broker_url: str, rabbitmq: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying again before the new connection is up does not make a consumer be forgotten."""

    def hurry(attempt: int, chance: float) -> float:
        return 0.0001

    monkeypatch.setattr(broker_module, "backoff_s", hurry)
    monkeypatch.setattr(broker_module, "DELETED_S", 0.0)
    async with connected(broker_url) as broker:
        ear, inbox, late = Ear(), Inbox(), Topology(queues=(Queue("late", exclusive=True),))
        broker.watch(ear)
        await broker.declare(late, keep=False)
        await broker.consume("late", 10, inbox)
        for _ in range(20):
            await broker.consume(await queue_on(broker), 10, Inbox())
        await close_connections(rabbitmq, broker_url)
        await ear.hear(BrokerEvent.CONNECTED)
        await broker.declare(late, keep=False)
        assert await send(broker, "late", b"1") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"1"]


async def test_an_administrator_may_close_all_connections(
    broker_url: str, rabbitmq: RabbitServer
) -> None:
    """After all connections were closed everything is as before, without losses."""
    async with connected(broker_url) as broker:
        ear, inbox = Ear(), Inbox()
        broker.watch(ear)
        queue = await queue_on(broker)
        await broker.consume(queue, 10, inbox)
        await send(broker, queue, b"1", b"2")
        await inbox.take(2)
        await close_connections(rabbitmq, broker_url)
        await ear.hear(BrokerEvent.CONNECTED)
        assert bodies_of(await inbox.take(2)) == [b"1", b"2"]
        assert await send(broker, queue, b"3") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"3"]
        assert ear.heard[:2] == [BrokerEvent.LOST, BrokerEvent.CONNECTED]


async def test_trouble_is_told_until_it_is_over(own_rabbitmq: RabbitServer) -> None:
    """While the broker is down health says why, publishing fails at once, and then it is over."""
    async with connected(own_rabbitmq.url) as broker:
        ear, inbox = Ear(), Inbox()
        broker.watch(ear)
        queue = await queue_on(broker)
        await broker.consume(queue, 10, inbox)
        await send(broker, queue, b"1")
        (await inbox.take_one()).ack()
        await send(broker, queue, b"2")
        await inbox.take()
        await own_rabbitmq.settle()
        await own_rabbitmq.kill()
        await ear.hear(BrokerEvent.LOST)
        async with asyncio.timeout(1):
            await expect_unavailable(broker, queue)
        await own_rabbitmq.start()
        await ear.hear(BrokerEvent.CONNECTED)
        assert broker.health.trouble == ""
        # What was confirmed was written down, and comes again; what was settled does not.
        again = await inbox.take_one()
        assert (again.envelope.body, again.redelivered) == (b"2", True)
        assert await send(broker, queue, b"3") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"3"]


async def test_a_wiped_broker_is_noticed_and_filled_again(own_rabbitmq: RabbitServer) -> None:
    """After a broker has lost everything, what was kept is there again and the rest is missing."""
    async with connected(own_rabbitmq.url) as broker:
        ear, inbox = Ear(), Inbox()
        broker.watch(ear)
        queue = await queue_on(broker)
        await broker.declare(Topology((Exchange("incarnation.1", "direct"),)), keep=False)
        await broker.consume(queue, 10, inbox)
        await own_rabbitmq.kill()
        own_rabbitmq.wipe()
        await own_rabbitmq.start()
        await ear.hear(BrokerEvent.CONNECTED)
        assert not await broker.has_exchange("incarnation.1")
        assert await send(broker, queue, b"1") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"1"]


async def test_closing_twice_and_without_opening_is_harmless(broker_url: str) -> None:
    """A connection may be closed at any time, and leaves no task behind."""
    before = asyncio.all_tasks()
    broker = RabbitBroker(broker_url)
    await broker.close()
    await broker.open()
    queue = await queue_on(broker)
    await broker.consume(queue, 10, Inbox())
    await broker.consume(queue, 10, Inbox())
    await asyncio.gather(broker.close(), broker.close())
    await broker.close()
    await eventually(lambda: not asyncio.all_tasks() - before)
    assert not broker.health.is_connected


async def test_wrong_arguments_are_named(broker_url: str) -> None:
    """A wrong URL, and a wrong prefetch, say so before anything is sent."""
    with pytest.raises(ConfigurationError, match="amqp or amqps"):
        RabbitBroker("redis://h")
    async with connected(broker_url) as broker:
        with pytest.raises(ConfigurationError, match="prefetch of queue 'q'"):
            await broker.consume("q", 0, Inbox())
        assert list(await broker.publish([])) == []
