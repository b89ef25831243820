"""Tests of `brokers.rabbitmq.link`."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from brokers.rabbitmq import link as link_module
from brokers.rabbitmq.link import Dial, Link, connect
from brokers.rabbitmq.tls import context_for
from brokers.rabbitmq.url import parse
from flow.errors import BrokerUnavailable
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import DEADLINE_S, silent_server


def dial_of(url: str, heartbeat_s: int = 10) -> Dial:
    """Return how a URL is dialled."""
    address = parse(url)
    return Dial(address, context_for(address), "test", heartbeat_s)


_LEVELS = """
import logging
logging.getLogger("aio_pika").setLevel(logging.INFO)
import brokers.rabbitmq
for name in ("aio_pika", "aiormq.connection"):
    print(logging.getLevelName(logging.getLogger(name).getEffectiveLevel()))
"""


def test_the_drivers_logs_are_silent_unless_somebody_wants_them() -> None:
    """An outage is told once by the adapter, not with a traceback for each try by the driver."""
    done = subprocess.run(
        [sys.executable, "-c", _LEVELS], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["INFO", "CRITICAL"]


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_a_peer_that_says_nothing_is_given_up(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To connect to a server that takes the connection and says nothing ends at the deadline."""
    monkeypatch.setattr(link_module, "CONNECT_S", 0.1)
    async with silent_server() as server, asyncio.timeout(DEADLINE_S):
        with pytest.raises(BrokerUnavailable, match=r"to connect took longer than 0\.1 s"):
            await connect(dial_of(server.url.replace("amqp", scheme)))
        assert server.count == 1


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame of"),
        (b"AMQP\x00\x01\x00\x00", "cannot be reached"),
    ],
)
async def test_a_peer_of_another_kind_is_named(says: bytes, why: str) -> None:
    """A server that speaks something else is not waited for."""
    async with silent_server(says) as server, asyncio.timeout(DEADLINE_S):
        with pytest.raises(BrokerUnavailable, match=why):
            await connect(dial_of(server.url))


async def test_a_peer_that_hangs_up_is_named() -> None:
    """A server that ends the connection at once is told from one that is not there."""
    async with silent_server() as server:
        trying = asyncio.gather(connect(dial_of(server.url)), return_exceptions=True)
        await server.came()
        server.hang_up()
        async with asyncio.timeout(DEADLINE_S):
            (error,) = await trying
        assert isinstance(error, BrokerUnavailable)
        assert "clos" in error.reason or "reset" in error.reason
    with pytest.raises(BrokerUnavailable, match="nobody listens there"):
        await connect(dial_of(server.url))


async def test_connecting_can_be_cancelled() -> None:
    """Whoever is cancelled while connecting leaves no task and no second attempt behind."""
    before = asyncio.all_tasks()
    async with silent_server() as server, asyncio.timeout(DEADLINE_S):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connect(dial_of(server.url))
        await eventually(lambda: asyncio.all_tasks() == before)
        assert server.count == 1


async def test_a_link_that_was_never_up_is_not() -> None:
    """Without a connection there is no channel, and closing is harmless."""
    link = Link("amqp://h")
    assert not link.is_up
    with pytest.raises(BrokerUnavailable, match="not open"):
        await link.channel()
    await link.close()
    await link.close()


async def test_logins_and_hosts_are_refused_with_the_reason(broker_url: str) -> None:
    """A wrong password and a virtual host that is missing are told apart, without the password."""
    wrong = broker_url.replace("guest:guest", "guest:canary")
    with pytest.raises(BrokerUnavailable, match="login was refused") as caught:
        await connect(dial_of(wrong))
    assert "canary" not in str(caught.value)
    with pytest.raises(BrokerUnavailable, match="vhost nowhere not found"):
        await connect(dial_of(broker_url.rpartition("/")[0] + "/nowhere"))


async def test_a_link_is_up_until_it_is_closed(broker_url: str) -> None:
    """A link opens channels while it is up; closing it is no loss, and leaves no task behind."""
    before, losses = asyncio.all_tasks(), list[str]()
    link = await connect(dial_of(broker_url, heartbeat_s=7))
    link.on_lost = lambda _link, reason: losses.append(reason)
    assert link.is_up
    assert link.raw.connection_tune.heartbeat == 7
    channels = [await link.channel(confirms=confirms) for confirms in (True, False)]
    link.drop(channels[0])
    await link.close()
    assert not link.is_up
    with pytest.raises(BrokerUnavailable):
        await link.channel()
    await link.close()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert losses == []


async def test_dropping_a_channel_is_not_interrupted(broker_url: str) -> None:
    """Channels are closed in the background, once each, and the connection goes on."""
    link = await connect(dial_of(broker_url))
    closed = asyncio.Event()
    channel = await link.channel()
    link_module.when_closed(channel, lambda _error: closed.set())
    link.drop(channel)
    link.drop(channel)
    async with asyncio.timeout(DEADLINE_S):
        await closed.wait()
    link.drop(await link.channel())
    assert link.is_up
    await link.close()


async def test_what_the_broker_says_is_kept() -> None:
    """A link remembers why it is blocked, and the broker's last words."""
    link, changes = Link("amqp://h"), list[str]()
    link.note_blocked("low on memory")
    link.on_blocked = lambda each: changes.append(each.blocked)
    link.note_blocked("low on disk")
    link.note_blocked("")
    link.note_blocked(None)
    assert changes == ["low on disk", "the broker gave no reason", ""]
    link.note_closing("bye")
    assert link.last_words == "bye"
