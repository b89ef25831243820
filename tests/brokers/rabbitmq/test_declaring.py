"""Tests of `brokers.rabbitmq.declaring`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from brokers.rabbitmq.declaring import declare, has_exchange
from brokers.rabbitmq.link import Link, connect
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Binding, Exchange, Queue, Topology
from tests.brokers.rabbitmq.test_link import dial_of
from tests.servers.rabbitmq import RabbitServer

TOPOLOGY = Topology(
    (Exchange("e", "topic"), Exchange("dead", "fanout")),
    (Queue("shared", dead_letter="dead"), Queue("mine", exclusive=True)),
    (Binding("shared", "e", "a.#"), Binding("mine", "e", "b")),
)


@pytest.fixture
async def link(broker_url: str) -> AsyncGenerator[Link, None]:
    """Give a connection of its own."""
    link = await connect(dial_of(broker_url))
    yield link
    await link.close()


async def test_queues_are_what_they_should_be(
    link: Link, broker_url: str, rabbitmq: RabbitServer
) -> None:
    """The broker itself says that shared queues are durable quorum queues with a delivery limit."""
    await declare(link, TOPOLOGY)
    vhost = broker_url.rpartition("/")[2]
    columns = ("name", "type", "durable", "auto_delete", "arguments")
    printed = await rabbitmq.ctl("list_queues", "-p", vhost, "--formatter", "json", *columns)
    found = {each["name"]: each for each in json.loads(printed)}
    shared, mine = found["shared"], found["mine"]
    assert (shared["type"], shared["durable"]) == ("quorum", True)
    assert {name: value for name, _, value in shared["arguments"]} == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 100_000,
        "x-dead-letter-exchange": "dead",
    }
    assert (mine["type"], mine["durable"]) == ("classic", False)
    assert not shared["auto_delete"]


async def test_exchanges_are_durable(link: Link, broker_url: str, rabbitmq: RabbitServer) -> None:
    """Exchanges outlive the broker's restart."""
    await declare(link, TOPOLOGY)
    vhost = broker_url.rpartition("/")[2]
    printed = await rabbitmq.ctl(
        "list_exchanges", "-p", vhost, "--formatter", "json", "name", "type", "durable"
    )
    found = {each["name"]: (each["type"], each["durable"]) for each in json.loads(printed)}
    assert (found["e"], found["dead"]) == (("topic", True), ("fanout", True))


async def test_a_difference_is_named_with_the_brokers_words(link: Link) -> None:
    """Who declares something otherwise learns what it is and how it differs; nothing is lost."""
    await declare(link, TOPOLOGY)
    with pytest.raises(ConfigurationError, match=r"queue 'shared'.*x-dead-letter-exchange"):
        await declare(link, Topology(queues=(Queue("shared"),)))
    with pytest.raises(ConfigurationError, match=r"exchange 'e'.*type.*topic"):
        await declare(link, Topology((Exchange("e", "direct"),)))
    with pytest.raises(
        ConfigurationError, match=r"binding of queue 'none' to 'e'.*no queue 'none'"
    ):
        await declare(link, Topology(bindings=(Binding("none", "e"),)))
    assert link.is_up
    await declare(link, TOPOLOGY)


async def test_a_declaration_may_be_cancelled(link: Link) -> None:
    """Whoever is cancelled at any point of a declaration leaves the connection as it was."""
    for turns in range(40):
        declaring = asyncio.gather(declare(link, TOPOLOGY))
        for _ in range(turns):
            await asyncio.sleep(0)
        declaring.cancel()
        await asyncio.wait([declaring])
        assert link.is_up
    await declare(link, TOPOLOGY)
    assert await has_exchange(link, "e")


async def test_exchanges_are_looked_up(link: Link) -> None:
    """An exchange is there or not; the default one always is."""
    assert await has_exchange(link, "")
    assert not await has_exchange(link, "e")
    await declare(link, TOPOLOGY)
    assert await has_exchange(link, "e")


async def test_nothing_is_declared_without_a_connection(link: Link) -> None:
    """On a connection that is closed every question says so."""
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await declare(link, TOPOLOGY)
    with pytest.raises(BrokerUnavailable):
        await has_exchange(link, "e")
