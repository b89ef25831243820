"""Declaring with fewer rights than an administrator has: what others own is only looked up."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from brokers.rabbitmq.broker import RabbitBroker
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Binding, Envelope, Exchange, Publication, Queue, Settlement, Topology
from tests.servers.rabbitmq import RabbitServer

SHARED = Topology(
    exchanges=(Exchange("shop.in", "direct"), Exchange("shop.dead", "fanout")),
    queues=(Queue("shop.dead"),),
    bindings=(Binding("shop.dead", "shop.dead"),),
)
OWN = Topology(
    queues=(Queue("own.replies", exclusive=True), Queue("own.work", dead_letter="shop.dead")),
    bindings=(Binding("own.work", "shop.in", "work"),),
)


async def guest_of(server: RabbitServer, url: str) -> str:
    """Return the URL of a user who may declare nothing but `own.…`, and bind it to `shop.in`."""
    vhost = url.rpartition("/")[2]
    name = f"guest-of-{vhost}"
    await server.ctl("add_user", name, "secret")
    rights = (r"^own\.", r"^own\.|^shop\.(in|dead)$", r"^own\.|^shop\.in$")
    await server.ctl("set_permissions", "-p", vhost, name, *rights)
    return url.replace("guest:guest", f"{name}:secret")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[RabbitBroker, None]:
    """Give a connection."""
    broker = RabbitBroker(url)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


async def test_what_others_own_is_looked_up(rabbitmq: RabbitServer, broker_url: str) -> None:
    """A user who may not declare what is shared can use it, and declare what is its own."""
    guest = await guest_of(rabbitmq, broker_url)
    async with opened(broker_url) as owner, opened(guest) as broker:
        await owner.declare(SHARED)
        await broker.declare(SHARED)
        await broker.declare(OWN)
        message = Envelope("test", b"{}", "m1")
        settled = await broker.publish([Publication("shop.in", "work", message)])
        assert settled == [Settlement.CONFIRMED]


async def test_what_is_not_there_yet_is_waited_for(rabbitmq: RabbitServer, broker_url: str) -> None:
    """If others have not declared it yet, it is unavailable for now, which is no mistake."""
    guest = await guest_of(rabbitmq, broker_url)
    async with opened(guest) as broker:
        with pytest.raises(BrokerUnavailable, match=r"'shop\.in' is not there yet"):
            await broker.declare(SHARED)


@pytest.mark.parametrize(
    ("topology", "what"),
    [
        (Topology(queues=(Queue("shop.mine", exclusive=True),)), "queue 'shop.mine'"),
        (
            Topology(
                queues=(Queue("own.work"),),
                bindings=(Binding("own.work", "shop.dead"),),
            ),
            "binding of queue 'own.work'",
        ),
    ],
)
async def test_what_is_refused_is_a_mistake(
    rabbitmq: RabbitServer, broker_url: str, topology: Topology, what: str
) -> None:
    """A queue of one's own, or a binding, that is not permitted is an error with its name."""
    guest = await guest_of(rabbitmq, broker_url)
    async with opened(broker_url) as owner, opened(guest) as broker:
        await owner.declare(SHARED)
        with pytest.raises(ConfigurationError, match=what):
            await broker.declare(topology)
