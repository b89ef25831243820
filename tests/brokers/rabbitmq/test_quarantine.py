"""A queue without a leader costs the connection at most once, and is named."""

from __future__ import annotations

import logging

import pytest

from brokers.rabbitmq import quarantine as quarantine_module
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.quarantine import FIRST_S, LONGEST_S, Quarantine
from brokers.rabbitmq.tasks import Tasks
from flow.errors import BrokerUnavailable
from flow.ports import BrokerEvent, Level, Queue, Settlement, Topology
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import (
    close_connections,
    connected,
    depose_leader,
    queue_on,
    send,
    silent_server,
)
from tests.brokers.rabbitmq.test_link import dial_of
from tests.conformance.broker_bench import Ear, Inbox, bodies_of
from tests.flow.runtime.clocks import CountingChance, ManualClock
from tests.servers.rabbitmq import RabbitServer

AWAY = "amqp://guest:guest@127.0.0.1:1/"


class Ward:
    """A quarantine, its time, and the links that it has done with."""

    def __init__(self, url: str) -> None:
        self.clock = ManualClock()
        self.farewells = Tasks()
        self.quarantine = Quarantine(dial_of(url), self.clock, CountingChance(), self._discard)

    def _discard(self, link: Link) -> None:
        self.farewells.start(link.close(), "close a link")


def lost_link(words: str) -> Link:
    """Return a link that was lost."""
    link = Link(AWAY)
    link.last_words = words
    return link


async def test_only_what_the_queue_may_have_done_makes_a_suspect() -> None:
    """An internal error makes a suspect; a connection that was lost otherwise does not."""
    quarantine = Ward(AWAY).quarantine
    quarantine.suspect("q", lost_link("CONNECTION_FORCED - shutdown"))
    await quarantine.admit("q")
    assert not quarantine.holds("q")
    quarantine.suspect("q", lost_link("INTERNAL_ERROR"))
    assert quarantine.holds("q")
    assert 0 < quarantine.wait_s("q") <= FIRST_S
    with pytest.raises(BrokerUnavailable, match="'q' is not tried yet"):
        await quarantine.admit("q")
    # Nothing is said of a suspect that was not tried.
    assert (quarantine.trouble, quarantine.findings) == ("", [])
    quarantine.forget()
    await quarantine.admit("q")


async def test_a_trial_needs_a_connection() -> None:
    """A broker that is away is not the queue's fault."""
    async with silent_server(b"x" * 8) as server:
        ward = Ward(server.url)
        ward.quarantine.doubt("q")
        server.hang_up()
        with pytest.raises(BrokerUnavailable):
            await ward.quarantine.admit("q")
        assert ward.quarantine.trouble == ""


async def test_the_innocent_are_acquitted(broker_url: str) -> None:
    """A queue that can be consumed, is gone or is somebody's own is free; no message is lost."""
    ward = Ward(broker_url)
    async with connected(broker_url) as broker:
        await broker.declare(Topology(queues=(Queue("own", exclusive=True),)))
        await send(broker, await queue_on(broker), b"1")
        for queue in ("q", "own", "gone"):
            ward.quarantine.doubt(queue)
            assert ward.quarantine.wait_s(queue) == 0
            await ward.quarantine.admit(queue)
            assert not ward.quarantine.holds(queue)
        await ward.farewells.join()
        inbox = Inbox()
        await broker.consume("q", 10, inbox)
        assert bodies_of(await inbox.take()) == [b"1"]


async def test_trials_become_rare(
    broker_url: str, rabbitmq: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The pause between two trials doubles up to a minute; the queue is warned of once."""
    caplog.set_level(logging.WARNING, "flow.rabbitmq")
    ward = Ward(broker_url)
    pauses = list[float]()
    async with connected(broker_url) as broker:
        await queue_on(broker, "no leader")
    await depose_leader(rabbitmq, broker_url, "no leader")
    ward.quarantine.doubt("no leader")
    for _ in range(9):
        with pytest.raises(BrokerUnavailable, match="no leader"):
            await ward.quarantine.admit("no leader")
        pauses.append(ward.quarantine.wait_s("no leader"))
        await ward.clock.advance(pauses[-1])
    await ward.farewells.join()
    assert pauses[:3] == pytest.approx([1.5, 3.0, 6.0])
    assert pauses[-2:] == pytest.approx([LONGEST_S * 0.75] * 2)
    (warning,) = [each.getMessage() for each in caplog.records if each.name == "flow.rabbitmq"]
    assert f"delete_queue -p {broker_url.rpartition('/')[2]} 'no leader'" in warning
    assert "guest:guest" not in warning


async def test_a_queue_without_a_leader_costs_the_connection_once(
    broker_url: str, rabbitmq: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that the others go on, health and doctor name it, and once deleted it is consumed."""
    monkeypatch.setattr(quarantine_module, "LONGEST_S", 0.3)
    async with connected(broker_url) as broker:
        ear, inbox = Ear(), Inbox()
        await broker.consume(await queue_on(broker, "other"), 10, inbox)
        await broker.consume(await queue_on(broker), 10, inbox)
        broker.watch(ear)
        await depose_leader(rabbitmq, broker_url, "q")
        await close_connections(rabbitmq, broker_url)
        await ear.hear(BrokerEvent.CONNECTED)
        await eventually(lambda: "'q' cannot be consumed" in broker.health.trouble)
        assert await send(broker, "other", b"1") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"1"]
        finding = (await broker.examine())[-1]
        assert (finding.level, finding.subject) == (Level.PROBLEM, "queue 'q'")
        assert "rabbitmqctl delete_queue" in finding.advice
        with pytest.raises(BrokerUnavailable, match="'q' cannot be consumed"):
            await broker.consume("q", 10, inbox)
        assert broker.health.generation == 2
        # As a person would: this is what the advice says.
        await rabbitmq.ctl("delete_queue", "-p", broker_url.rpartition("/")[2], "q")
        await eventually(lambda: not broker.health.trouble)
        await eventually(lambda: all(each.is_running for each in broker._consumers))
        await send(broker, "q", b"2")
        assert bodies_of(await inbox.take()) == [b"2"]
        assert ear.heard == [BrokerEvent.LOST, BrokerEvent.CONNECTED]
