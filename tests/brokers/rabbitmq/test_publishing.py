"""Tests of `brokers.rabbitmq.publishing`; most of what it does is proved by the conformance."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator

import pytest

from brokers.rabbitmq import (
    broker as broker_module,
    patience as patience_module,
    publishing as publishing_module,
)
from brokers.rabbitmq.declaring import declare
from brokers.rabbitmq.link import Link, connect
from brokers.rabbitmq.publishing import LANES, Publishing
from flow.clock import SystemClock
from flow.errors import BrokerUnavailable, ConfigurationError, TooLarge
from flow.ports import (
    Envelope,
    Exchange,
    PartlyPublished,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from flow.runtime.publisher import Publisher, PublisherSettings
from flow.runtime.tasks import TaskGroup
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import DEADLINE_S, connected, depose_leader, queue_on, send
from tests.brokers.rabbitmq.test_link import dial_of
from tests.conformance.broker_bench import Inbox, bodies_of
from tests.servers.proxy import proxied
from tests.servers.rabbitmq import RabbitServer

CONFIRMED, UNROUTABLE, REFUSED = Settlement.CONFIRMED, Settlement.UNROUTABLE, Settlement.REFUSED
MESSAGE = Publication("", "q", Envelope("t", b"x", "m"))

pytestmark = pytest.mark.usefixtures("wire")


@pytest.fixture
async def link(broker_url: str) -> AsyncGenerator[Link, None]:
    """Give a connection with a queue `q` and an exchange `e`."""
    link = await connect(dial_of(broker_url))
    await declare(link, Topology((Exchange("e", "fanout"),), (Queue("q"),)))
    yield link
    await link.close()


@pytest.fixture
async def publishing(link: Link) -> Publishing:
    """Give what publishes over it."""
    numbers = itertools.count()
    return Publishing(link, lambda: f"made-{next(numbers)}")


async def delete_exchange(link: Link, name: str) -> None:
    """Delete an exchange behind the back of whoever publishes to it."""
    channel = await link.channel()
    await channel.exchange_delete(name)
    link.drop(channel)


async def test_many_calls_share_few_channels(link: Link, publishing: Publishing) -> None:
    """Calls at the same time are spread over a few channels, which stay open."""
    before = len(link.raw.channels)
    for _ in range(3):
        calls = [publishing.publish([MESSAGE] * 5, DEADLINE_S) for _ in range(20)]
        assert await asyncio.gather(*calls) == [[CONFIRMED] * 5] * 20
    assert len(link.raw.channels) - before <= LANES


async def test_large_calls_go_in_parts(publishing: Publishing) -> None:
    """A call may have more messages than may be unconfirmed at the same time."""
    assert await publishing.publish([MESSAGE] * 2500, DEADLINE_S) == [CONFIRMED] * 2500


async def test_an_exchange_that_vanishes_hurts_no_other_message(
    link: Link, publishing: Publishing
) -> None:
    """When a known exchange is gone, only messages for it are unroutable, in any call."""
    lost = Publication("e", "", Envelope("t", b""), mandatory=False)
    assert await publishing.publish([lost], DEADLINE_S) == [CONFIRMED]
    await delete_exchange(link, "e")
    calls = [publishing.publish([MESSAGE, lost, MESSAGE], DEADLINE_S) for _ in range(10)]
    calls += [publishing.publish([MESSAGE, MESSAGE], DEADLINE_S) for _ in range(10)]
    outcomes = await asyncio.gather(*calls)
    assert outcomes[:10] == [[CONFIRMED, UNROUTABLE, CONFIRMED]] * 10
    assert outcomes[10:] == [[CONFIRMED, CONFIRMED]] * 10
    assert link.is_up


async def test_a_deadline_gives_a_channel_up(link: Link, publishing: Publishing) -> None:
    """A call that is too late, or cancelled, leaves its channel to nobody, and nothing leaks."""
    before = len(link.raw.channels)
    for _ in range(LANES * 3):
        with pytest.raises(BrokerUnavailable, match="no confirm in 0 s"):
            await publishing.publish([MESSAGE] * 10, 0)
    for turns in range(LANES * 3):
        call = asyncio.gather(publishing.publish([MESSAGE] * 10, DEADLINE_S))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
    assert await publishing.publish([MESSAGE], DEADLINE_S) == [CONFIRMED]
    await eventually(lambda: len(link.raw.channels) - before <= LANES)
    assert link.is_up


async def test_a_full_queue_refuses(
    publishing: Publishing, broker_url: str, rabbitmq: RabbitServer
) -> None:
    """What the broker answers with a nack is refused, alone, in its place."""
    vhost = broker_url.rpartition("/")[2]
    definition = '{"max-length": 2, "overflow": "reject-publish"}'
    await rabbitmq.ctl("set_policy", "-p", vhost, "small", "^q$", definition)
    outcomes = list[Settlement]()
    async with asyncio.timeout(DEADLINE_S):
        while REFUSED not in outcomes:
            outcomes += await publishing.publish([MESSAGE], DEADLINE_S)
    assert set(outcomes[:-1]) <= {CONFIRMED}
    nowhere = MESSAGE._replace(routing_key="nowhere")
    assert await publishing.publish([MESSAGE, nowhere], DEADLINE_S) == [REFUSED, UNROUTABLE]


async def test_a_message_that_is_too_large_is_named(
    link: Link, publishing: Publishing, rabbitmq: RabbitServer
) -> None:
    """The broker's own limit is learned when it is met, and then no channel is closed for it."""
    key = "rabbit, max_message_size"
    limit = await rabbitmq.evaluate(f"{{ok, Limit}} = application:get_env({key}), Limit.")
    await rabbitmq.evaluate(f"application:set_env({key}, 1000), ok.")
    large = MESSAGE._replace(envelope=Envelope("t", b"x" * 2000))
    try:
        for _ in range(2):
            calls = [publishing.publish([each], DEADLINE_S) for each in (MESSAGE, large, MESSAGE)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert (outcomes[0], outcomes[2]) == ([CONFIRMED], [CONFIRMED])
            assert isinstance(outcomes[1], TooLarge)
            assert (outcomes[1].size, outcomes[1].limit) == (2000, 1000)
    finally:
        await rabbitmq.evaluate(f"application:set_env({key}, {limit}), ok.")
    assert link.is_up


async def test_what_may_not_be_published_is_refused_alone(
    broker_url: str, rabbitmq: RabbitServer
) -> None:
    """A missing permission is an error for the message that lacks it, not for its neighbours."""
    vhost = broker_url.rpartition("/")[2]
    await rabbitmq.ctl("add_user", f"poor-{vhost}", "pw")
    await rabbitmq.ctl("set_permissions", "-p", vhost, f"poor-{vhost}", ".*", "^amq.default$", ".*")
    link = await connect(dial_of(broker_url.replace("guest:guest", f"poor-{vhost}:pw")))
    await declare(link, Topology((Exchange("closed", "fanout"),), (Queue("q"),)))
    publishing = Publishing(link, lambda: "made")
    forbidden = Publication("closed", "", Envelope("t", b""))
    calls = [publishing.publish([each], DEADLINE_S) for each in (MESSAGE, forbidden, MESSAGE)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert (outcomes[0], outcomes[2]) == ([CONFIRMED], [CONFIRMED])
    assert isinstance(outcomes[1], ConfigurationError)
    assert "access to exchange 'closed'" in outcomes[1].reason
    await link.close()


async def test_hurrying_shortens_calls_and_gives_time_back(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is under way ends soon while the broker is blocked, and not if that passes."""
    publishing.hurry(is_blocked=True)
    call = asyncio.gather(publishing.publish([MESSAGE], DEADLINE_S))
    await asyncio.sleep(0)
    publishing.hurry(is_blocked=True)
    publishing.hurry(is_blocked=False)
    assert (await call)[0] == [CONFIRMED]
    monkeypatch.setattr(publishing_module, "BLOCKED_S", 0.0)
    call = asyncio.gather(publishing.publish([MESSAGE], DEADLINE_S * 10))
    await asyncio.sleep(0)
    publishing.hurry(is_blocked=True)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(BrokerUnavailable):
            await call


@pytest.mark.parametrize("turns", [0, 1, 3, 7, 11, 13, 14, 20, 40])
async def test_a_lost_connection_leaves_the_outcome_open(
    link: Link, publishing: Publishing, turns: int
) -> None:
    """Calls that are under way when the connection ends, at any point, fail at once and say so."""
    calls = [publishing.publish([MESSAGE] * 100, DEADLINE_S * 10) for _ in range(8)]
    gathered = asyncio.gather(*calls, return_exceptions=True)
    for _ in range(turns):
        await asyncio.sleep(0)
    await link.close()
    async with asyncio.timeout(DEADLINE_S):
        outcomes = await gathered
    assert {type(outcome) for outcome in outcomes} <= {BrokerUnavailable, PartlyPublished, list}
    with pytest.raises(BrokerUnavailable):
        await publishing.publish([MESSAGE], DEADLINE_S)


async def test_what_is_confirmed_stays_so(
    link: Link, publishing: Publishing, broker_url: str, rabbitmq: RabbitServer
) -> None:
    """A queue without a leader leaves its own messages unknown, and no others."""
    await declare(link, Topology(queues=(Queue("dead"),)))
    dead, nowhere = (MESSAGE._replace(routing_key=key) for key in ("dead", "nowhere"))
    assert await publishing.publish([dead], DEADLINE_S) == [CONFIRMED]
    await depose_leader(rabbitmq, broker_url, "dead")
    with pytest.raises(PartlyPublished, match="no confirm in 1 s") as caught:
        await publishing.publish([MESSAGE, dead, nowhere, MESSAGE], 1)
    assert caught.value.settlements == (CONFIRMED, None, UNROUTABLE, CONFIRMED)
    # A channel that has not published to it before is told that it is not there.
    assert await publishing.publish([dead, MESSAGE], DEADLINE_S) == [REFUSED, CONFIRMED]


async def test_a_connection_that_confirms_nothing_is_given_up(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Call after call without a confirm costs the connection, and one that confirms does not."""
    monkeypatch.setattr(patience_module, "FIRST_S", 0.3)
    async with proxied(broker_url) as proxy, asyncio.timeout(DEADLINE_S):
        link = await connect(dial_of(proxy.url))
        await declare(link, Topology(queues=(Queue("q"),)))
        publishing, lost = Publishing(link, lambda: "made"), list[str]()
        link.on_lost = lambda _, reason: lost.append(reason)
        proxy.sever(there=False)
        with pytest.raises(BrokerUnavailable, match="no confirm"):
            await publishing.publish([MESSAGE], 0.1)
        proxy.mend()
        assert await publishing.publish([MESSAGE], DEADLINE_S) == [CONFIRMED]
        proxy.sever(there=False)
        calls = 0
        while link.is_up:
            with pytest.raises(BrokerUnavailable):
                await publishing.publish([MESSAGE], 0.1)
            calls += 1
        assert calls >= 3
        assert lost == ["nothing that was published on it was confirmed"]
        proxy.mend()
        await link.close()
        assert len(lost) == 1


async def test_late_confirms_hold_nobody_up(broker_url: str) -> None:
    """What comes in on channels that were given up long ago does not hold up the connection."""
    async with proxied(broker_url) as proxy:
        link = await connect(dial_of(proxy.url, heartbeat_s=2))
        await declare(link, Topology(queues=(Queue("q"),)))
        publishing = Publishing(link, lambda: "made")
        await eventually(lambda: not link.raw.channels)
        assert await publishing.publish([MESSAGE], DEADLINE_S) == [CONFIRMED]
        proxy.sever(there=False)
        lost = MESSAGE._replace(routing_key="nowhere")
        with pytest.raises(BrokerUnavailable):
            await publishing.publish([lost] * 50, 0.2)
        # Longer than the library waits for the end of a channel, which is a heartbeat.
        with pytest.raises(BrokerUnavailable):
            await publishing.publish([lost] * 50, 2.5)
        proxy.mend()
        assert await publishing.publish([MESSAGE], 3) == [CONFIRMED]
        assert link.is_up
        await link.close()


async def test_large_bodies_arrive_whole(broker_url: str) -> None:
    """Bodies of any size are put into frames and together again, the empty one too."""
    sizes = [0, 1, 131_063, 131_064, 131_065, 262_128, 1_000_000]
    bodies = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    async with connected(broker_url) as broker:
        queue, inbox = await queue_on(broker), Inbox()
        assert await send(broker, queue, *bodies) == [CONFIRMED] * len(bodies)
        await broker.consume(queue, 10, inbox)
        assert bodies_of(await inbox.take(len(bodies))) == bodies


async def test_a_socket_that_takes_no_more_is_waited_for(broker_url: str) -> None:
    """More than fits on the way to the broker waits in order, and then all of it is confirmed."""
    async with proxied(broker_url) as proxy:
        link = await connect(dial_of(proxy.url))
        await declare(link, Topology(queues=(Queue("q"),)))
        publishing = Publishing(link, lambda: "made")
        assert await publishing.publish([MESSAGE], DEADLINE_S) == [CONFIRMED]
        proxy.sever(back=False)
        large = replaced_body(b"x" * 1_000_000)
        calls = asyncio.gather(
            *(publishing.publish([large] * 8, DEADLINE_S * 2) for _ in range(4)),
            publishing.publish([MESSAGE], DEADLINE_S * 2),
        )
        done, _ = await asyncio.wait([calls], timeout=0.3)
        assert not done
        proxy.mend()
        assert await calls == [*[[CONFIRMED] * 8] * 4, [CONFIRMED]]
        await link.close()


def replaced_body(body: bytes) -> Publication:
    """Return a message with another body."""
    return Publication("", "q", Envelope("t", body))


async def test_a_publisher_outlives_calls_that_are_too_late(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deadlines of the adapter and of the publisher that are over together stop nothing."""
    monkeypatch.setattr(broker_module, "PUBLISH_S", 0.2)
    async with proxied(broker_url) as proxy, connected(proxy.url) as broker, TaskGroup() as group:
        await queue_on(broker)
        publisher = Publisher(broker, SystemClock(), PublisherSettings(deadline_s=0.2))
        group.start(publisher.run(), "publisher")
        for _ in range(3):
            proxy.sever(there=False)
            futures = list[asyncio.Future[Settlement]]()
            for _ in range(6):
                futures += [publisher.send(MESSAGE) for _ in range(200)]
                await asyncio.sleep(0)
            await asyncio.wait(futures)
            assert all(isinstance(each.exception(), BrokerUnavailable) for each in futures)
            proxy.mend()
        lanes = [each for each in asyncio.all_tasks() if each.get_name().startswith("publisher ")]
        assert len(lanes) == PublisherSettings().lanes
        async with asyncio.timeout(DEADLINE_S):
            await confirmed(publisher)


async def confirmed(publisher: Publisher) -> None:
    """Publish until it is confirmed."""
    while True:
        with contextlib.suppress(BrokerUnavailable):
            assert await publisher.publish(MESSAGE) is CONFIRMED
            return
