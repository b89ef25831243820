"""What a broker does with messages: each thing that can go wrong really does."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import (
    BrokerEvent,
    Delivery,
    PartlyPublished,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from flow.testing.simulation import Simulation, simulate, simulated
from tests.conformance.broker_bench import Inbox, bodies_of, message, send
from tests.flow.testing.simulation.parties import QUEUE, Place, within

BODIES = [b"%d" % number for number in range(10)]
LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED
CONFIRMED = Settlement.CONFIRMED


def publish_in(seed: int, **rates: float) -> tuple[str, list[bytes], list[BrokerEvent]]:
    """Publish ten messages while something goes wrong.

    Returns:
        The outcome, what is in the queue then, and what the watcher was told.
    """

    async def main(simulation: Simulation) -> tuple[str, list[bytes], list[BrokerEvent]]:
        place = Place(simulation)
        party = await place.open()
        place.spoil(**rates)
        try:
            await party.run(send(party.broker, QUEUE, *BODIES))
            outcome = "confirmed"
        except BrokerUnavailable:
            outcome = "unknown"
        place.spoil()
        count, inbox = place.depth(), Inbox()
        await within(60, lambda: party.broker.health.is_connected)
        await party.run(party.broker.consume(QUEUE, 100, inbox))
        assert place.hub.stats().sessions == 1
        return outcome, bodies_of(await inbox.take(count)), party.heard

    return simulate(main, seed=seed)


def test_a_lost_call_publishes_the_first_messages_only() -> None:
    """A connection that breaks under a call leaves some of its first messages, but not all."""
    counts: set[int] = set()
    for seed in range(40):
        outcome, found, heard = publish_in(seed, lost=1.0)
        assert (outcome, found, heard) == ("unknown", BODIES[: len(found)], [LOST, CONNECTED])
        counts.add(len(found))
    assert counts == set(range(10))


def test_of_a_lost_call_some_outcomes_may_be_known() -> None:
    """Confirms that arrived before the connection broke are told, and none that is not so."""
    told: set[int] = set()

    async def main(simulation: Simulation) -> int:
        place = Place(simulation)
        party = await place.open()
        place.spoil(lost=1.0)
        with pytest.raises(BrokerUnavailable) as unknown:
            await party.run(send(party.broker, QUEUE, *BODIES))
        if not isinstance(unknown.value, PartlyPublished):
            return 0
        settlements = unknown.value.settlements
        count = settlements.count(CONFIRMED)
        assert settlements == (*[CONFIRMED] * count, *[None] * (len(BODIES) - count))
        assert place.depth() >= count
        return count

    for seed in range(40):
        told.add(simulate(main, seed=seed))
    assert {0, 1, 2} < told


def test_an_unconfirmed_call_has_published() -> None:
    """A connection may break when the broker has everything and has not said so."""
    assert publish_in(1, unconfirmed=1.0) == ("unknown", BODIES, [LOST, CONNECTED])


def test_messages_are_duplicated() -> None:
    """What is duplicated is there twice, and confirmed."""
    assert publish_in(1, duplicated=1.0) == ("confirmed", BODIES * 2, [])


def test_messages_are_reordered() -> None:
    """What is reordered is all there, in another order."""
    outcome, found, _ = publish_in(1, reordered=1.0)
    assert outcome == "confirmed"
    assert sorted(found) == BODIES
    assert found != BODIES


@simulated(seed=1)
async def test_settlements_of_reordered_messages_fit(simulation: Simulation) -> None:
    """Each message gets its own settlement, in whichever order they were published."""
    place = Place(simulation)
    party = await place.open()
    place.spoil(reordered=1.0)
    expected = {"nowhere": Settlement.UNROUTABLE, QUEUE: Settlement.CONFIRMED}
    keys = ["nowhere", QUEUE, QUEUE, "nowhere", QUEUE]
    for _ in range(10):
        outcome = await party.run(
            party.broker.publish([Publication("", key, message()) for key in keys])
        )
        assert list(outcome) == [expected[key] for key in keys]
    assert place.count("reorder") == 10


@simulated(seed=1)
async def test_blocked_messages_are_published_later(simulation: Simulation) -> None:
    """What reaches a blocked broker is published when that is over, whoever has given up on it."""
    place = Place(simulation)
    party = await place.open()
    place.conditions.block("no memory")
    call = party.run(send(party.broker, QUEUE, *BODIES))
    with pytest.raises(BrokerUnavailable, match="no answer within"):
        await call
    assert party.heard == [BrokerEvent.BLOCKED]
    assert party.broker.health.blocked == "no memory"
    with pytest.raises(BrokerUnavailable, match="it is blocked: no memory"):
        await party.run(send(party.broker, QUEUE, b"no"))
    assert place.depth() == 0
    place.conditions.block("")
    await within(1.0, lambda: place.depth() == 10)
    await within(1.0, lambda: party.heard[1:] == [BrokerEvent.UNBLOCKED])
    await party.run(send(party.broker, QUEUE, b"yes"))


@simulated(seed=1)
async def test_refused_messages_are_not_there(simulation: Simulation) -> None:
    """A message that the broker refuses is told from the others, and is in no queue."""
    place = Place(simulation)
    party = await place.open()
    place.spoil(refused=0.5)
    publications = [Publication("", QUEUE, message(body)) for body in BODIES]
    outcome = list(await party.run(party.broker.publish(publications)))
    assert {*outcome} == {Settlement.CONFIRMED, Settlement.REFUSED}
    inbox = Inbox()
    place.spoil()
    await party.run(party.broker.consume(QUEUE, 100, inbox))
    taken = [body for body, each in zip(BODIES, outcome, strict=True) if each is CONFIRMED]
    assert bodies_of(await inbox.take(len(taken))) == taken
    assert place.depth() == 0


def test_calls_overtake_each_other() -> None:
    """What is published in two calls at the same time may arrive the other way round."""

    async def main(simulation: Simulation) -> list[bytes]:
        place, inbox = Place(simulation), Inbox()
        party = await place.open()
        first = party.run(send(party.broker, QUEUE, b"1"))
        await asyncio.sleep(0.001)
        await party.run(send(party.broker, QUEUE, b"2"))
        await first
        await party.run(party.broker.consume(QUEUE, 2, inbox))
        return bodies_of(await inbox.take(2))

    orders = {tuple(simulate(main, seed=seed)) for seed in range(20)}
    assert orders == {(b"1", b"2"), (b"2", b"1")}


def test_an_early_acknowledgement_outlives_the_publication() -> None:
    """Whoever acknowledges before the confirm may lose both: each has a connection of its own."""

    async def main(simulation: Simulation) -> int:
        place = Place(simulation)
        party = await place.open()
        await party.run(party.broker.declare(Topology(queues=(Queue("from"),))))
        await party.run(send(party.broker, "from", b"1"))

        def receive(delivery: Delivery) -> None:
            call = party.run(send(party.broker, QUEUE, b"1"))
            call.add_done_callback(lambda done: done.exception())
            party.link.loop.call_later(0.001, delivery.ack)

        await party.run(party.broker.consume("from", 1, receive))
        place.spoil(lost=0.4)
        await asyncio.sleep(1.0)
        place.spoil()
        await asyncio.sleep(60.0)
        return place.unsettled()

    assert {simulate(main, seed=seed) for seed in range(20)} >= {0, 1}


@pytest.mark.parametrize("seed", range(10))
def test_no_connection_outlives_its_process(seed: int) -> None:
    """Whatever breaks while a process hangs up or dies, the broker forgets it at once."""

    async def main(simulation: Simulation) -> None:
        place = Place(simulation)
        dies, leaves = await place.open("dies"), await place.open("leaves")
        place.spoil(lost=0.5, unconfirmed=0.3)
        for _ in range(3):
            for party in (dies, leaves):
                call = party.run(send(party.broker, QUEUE, b"1"))
                call.add_done_callback(lambda done: done.exception())
        await asyncio.sleep(simulation.random.random() / 100)
        dies.kill()
        await leaves.run(leaves.broker.close())
        await asyncio.sleep(1.0)
        assert place.hub.stats().sessions == 0

    simulate(main, seed=seed)
