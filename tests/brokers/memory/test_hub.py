"""Tests of `brokers.memory.hub`: what a test of the port cannot see."""

from __future__ import annotations

import pytest

from brokers.memory.hub import Hub, Listener, QueueStats, Session
from flow.errors import ConfigurationError
from flow.ports import (
    Binding,
    Delivery,
    Envelope,
    Exchange,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from tests.brokers.memory.waiting import turns

TWO = Topology(
    exchanges=(Exchange("all", "fanout"), Exchange("dead", "fanout")),
    queues=(Queue("a", dead_letter="dead"), Queue("b"), Queue("grave")),
    bindings=(Binding("a", "all"), Binding("b", "all"), Binding("grave", "dead")),
)


class Ear(Listener):
    """Notes what the hub does by itself."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def lost(self) -> None:
        """Note it."""
        self.heard.append("lost")

    def blocked(self, reason: str) -> None:
        """Note it."""
        self.heard.append(f"blocked {reason}")

    def declared(self, queue: str) -> None:
        """Note it."""
        self.heard.append(f"declared {queue}")


def publish(session: Session, exchange: str, key: str, body: bytes = b"x") -> Settlement:
    """Publish one message."""
    return session.publish([Publication(exchange, key, Envelope("t", body))])[0]


async def test_refused_by_one_is_refused_by_all() -> None:
    """A message that one of its queues has no room for is put into none of them."""
    hub = Hub(items_max=1)
    session = hub.connect()
    session.declare(TWO)
    assert publish(session, "", "b") is Settlement.CONFIRMED
    assert publish(session, "all", "") is Settlement.REFUSED
    assert (hub.depth("a"), hub.depth("b")) == (0, 1)
    assert publish(session, "", "a") is Settlement.CONFIRMED


async def test_bytes_are_bounded_until_they_are_settled() -> None:
    """What was handed out still takes room; what is acked makes room."""
    hub, taken = Hub(bytes_max=10), list[Delivery]()
    session = hub.connect()
    session.declare(TWO)
    session.consume("b", 10, taken.append)
    assert publish(session, "", "b", b"12345678") is Settlement.CONFIRMED
    await turns()
    assert publish(session, "", "b", b"123") is Settlement.REFUSED
    taken[0].ack()
    assert publish(session, "", "b", b"123") is Settlement.CONFIRMED


async def test_delivery_limit_ends_in_the_dead_letter_exchange() -> None:
    """A message that is given back too often goes to the grave with the reason."""
    hub, taken, buried = Hub(returns_max=1), list[Delivery](), list[Delivery]()
    session = hub.connect()
    session.declare(TWO)
    session.consume("a", 1, taken.append)
    session.consume("grave", 1, buried.append)
    publish(session, "", "a")
    for number in range(2):
        await turns()
        taken[number].requeue()
    await turns()
    assert dict(buried[0].envelope.headers) == {
        "flow-death-reason": "delivery_limit",
        "flow-death-queue": "a",
    }
    assert (hub.stats().dead_lettered, hub.stats().dropped) == (1, 0)


@pytest.mark.parametrize(
    ("dead_letter", "why"),
    [("", "none"), ("missing", "does not exist"), ("empty", "no queue"), ("dead", "no room")],
)
async def test_what_cannot_be_buried_is_dropped(dead_letter: str, why: str) -> None:
    """Where no dead-letter exchange takes a message, it is dropped and counted."""
    hub, taken = Hub(items_max=1), list[Delivery]()
    session = hub.connect()
    session.declare(TWO)
    session.declare(
        Topology((Exchange("empty", "direct"),), (Queue("q", dead_letter=dead_letter),))
    )
    publish(session, "", "grave")
    session.consume("q", 1, taken.append)
    publish(session, "", "q")
    await turns()
    taken[0].reject()
    assert (hub.stats().dead_lettered, hub.stats().dropped, why) == (0, 1, why)


async def test_stats_tell_what_is_held() -> None:
    """Queues are listed in the order of their declaration, with what they hold."""
    hub, taken = Hub(), list[Delivery]()
    session = hub.connect()
    session.declare(TWO)
    session.consume("a", 1, taken.append)
    publish(session, "all", "", b"12")
    publish(session, "all", "", b"345")
    await turns()
    stats = hub.stats()
    assert stats.sessions == 1
    assert stats.queues == (
        QueueStats("a", ready=1, unsettled=1, held_bytes=5, consumers=1),
        QueueStats("b", ready=2, unsettled=0, held_bytes=5, consumers=0),
        QueueStats("grave", ready=0, unsettled=0, held_bytes=0, consumers=0),
    )
    session.close()
    stats = hub.stats()
    assert (stats.sessions, stats.queues[0].ready, stats.queues[0].consumers) == (0, 2, 0)


async def test_depth_of_nothing_is_an_error() -> None:
    """The depth of a queue that does not exist is no number, and the nearest name is told."""
    hub = Hub()
    hub.connect().declare(Topology(queues=(Queue("orders"),)))
    with pytest.raises(ConfigurationError, match=r"'order'.*did you mean 'orders'"):
        hub.depth("order")


async def test_conflicts_name_both_sides() -> None:
    """The error of a conflicting declaration shows what exists and what was asked for."""
    session = Hub().connect()
    session.declare(TWO)
    with pytest.raises(ConfigurationError, match=r"kind='fanout'.*kind='topic'"):
        session.declare(Topology(exchanges=(Exchange("all", "topic"),)))
    with pytest.raises(ConfigurationError, match=r"dead_letter='dead'.*dead_letter=''"):
        session.declare(Topology(queues=(Queue("a"),)))
    with pytest.raises(ConfigurationError, match=r"exclusive=False.*exclusive=True"):
        session.declare(Topology(queues=(Queue("b", exclusive=True),)))


@pytest.mark.parametrize(
    "topology",
    [
        Topology(exchanges=(Exchange("", "direct"),)),
        Topology(queues=(Queue(""),)),
        Topology(queues=(Queue("a"),), bindings=(Binding("a", "", "other"),)),
    ],
)
async def test_the_default_exchange_is_left_alone(topology: Topology) -> None:
    """Nobody declares or binds the default exchange, nor a queue without a name."""
    session = Hub().connect()
    with pytest.raises(ConfigurationError, match=r"default exchange|needs a name"):
        session.declare(topology)
    assert session.has_exchange("")


async def test_blocking_tells_every_session() -> None:
    """Those who listen are told once when the hub takes no messages, and when it does again."""
    hub, ear = Hub(), Ear()
    hub.connect(ear)
    hub.connect()
    for reason in ("no memory", "no memory", "", ""):
        hub.block(reason)
    assert ear.heard == ["blocked no memory", "blocked "]
    assert hub.blocked == ""


async def test_new_queues_are_told_to_every_session() -> None:
    """A queue is told to all when it is new, and not when it is declared again."""
    hub, ear = Hub(), Ear()
    hub.connect(ear)
    session = hub.connect()
    for _ in range(2):
        session.declare(TWO)
    assert ear.heard == ["declared a", "declared b", "declared grave"]


async def test_cutting_loses_no_message() -> None:
    """When all sessions are ended, what they had not settled is in its queue again."""
    hub, ear, taken = Hub(), Ear(), list[Delivery]()
    session = hub.connect(ear)
    session.declare(Topology(queues=(Queue("kept"), Queue("mine", exclusive=True))))
    publish(session, "", "kept")
    session.consume("kept", 1, taken.append)
    await turns()
    hub.cut()
    assert (len(taken), session.is_open, ear.heard[-1]) == (1, False, "lost")
    assert [(queue.name, queue.ready) for queue in hub.stats().queues] == [("kept", 1)]


async def test_pausing_holds_deliveries_back() -> None:
    """A paused session receives nothing, with consumers that it starts meanwhile too."""
    hub, taken = Hub(), list[Delivery]()
    session = hub.connect()
    session.declare(TWO)
    session.consume("a", 5, taken.append)
    session.pause()
    session.consume("b", 5, taken.append)
    publish(session, "all", "")
    await turns()
    assert taken == []
    session.resume()
    await turns()
    assert len(taken) == 2


async def test_closing_twice_gives_back_once() -> None:
    """A second close changes nothing, and settling afterwards neither."""
    hub, taken = Hub(), list[Delivery]()
    session, other = hub.connect(), hub.connect()
    session.declare(TWO)
    session.consume("a", 5, taken.append)
    publish(other, "", "a")
    await turns()
    session.close()
    session.close()
    for settle in (taken[0].ack, taken[0].reject, taken[0].requeue):
        settle()
    assert (hub.depth("a"), hub.stats().dropped, hub.stats().sessions) == (1, 0, 1)


async def test_a_wiped_hub_has_lost_everything() -> None:
    """Wiping ends every session, tells its owner, and leaves nothing but the default exchange."""
    hub, lost = Hub(), list[bool]()

    class Witness(Listener):
        def lost(self) -> None:
            lost.append(hub.has_exchange("all"))

    session = hub.connect(Witness())
    quiet = hub.connect()
    session.declare(TWO)
    publish(session, "all", "")
    hub.wipe()
    assert (session.is_open, quiet.is_open, lost) == (False, False, [False])
    assert hub.stats().queues == ()
    assert hub.stats().sessions == 0
    fresh = hub.connect()
    assert fresh.has_exchange("")
    assert publish(fresh, "", "a") is Settlement.UNROUTABLE


async def test_a_purged_queue_has_lost_what_waits() -> None:
    """Purging loses what waits in one queue; what was handed out, or is elsewhere, stays."""
    hub, received = Hub(), list[Delivery]()
    session = hub.connect()
    session.declare(TWO)
    session.consume("a", 1, received.append)
    for _ in range(3):
        publish(session, "all", "")
    await turns()
    hub.purge("a")
    hub.purge("unknown")
    assert (hub.depth("a"), hub.depth("b")) == (0, 3)
    assert {each.name: each.held_bytes for each in hub.stats().queues}["a"] == 1
    received[0].requeue()
    await turns()
    received[1].ack()
    assert {each.name: each.held_bytes for each in hub.stats().queues}["a"] == 0
    assert len(received) == 2


async def test_the_same_calls_have_the_same_effects() -> None:
    """Two hubs that see the same calls deliver the same messages in the same order."""

    async def run() -> list[tuple[str, bytes]]:
        hub, seen = Hub(), list[tuple[str, bytes]]()

        def receive(delivery: Delivery) -> None:
            seen.append((delivery.routing_key, delivery.envelope.body))
            if len(seen) % 3:
                delivery.requeue()
            else:
                delivery.ack()

        sessions = [hub.connect() for _ in range(5)]
        for session in sessions:
            session.declare(TWO)
            session.consume("a", 2, receive)
            session.consume("b", 1, receive)
        for number in range(50):
            publish(sessions[number % 5], "all", str(number), b"%d" % number)
        sessions[2].close()
        await turns(500)
        return seen

    first = await run()
    assert len(first) > 100
    assert await run() == first
