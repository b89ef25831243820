"""What a broker does for consumers: each thing that can go wrong really does."""

from __future__ import annotations

import asyncio

import pytest

from flow.ports import BrokerEvent, Delivery
from flow.testing.simulation import Simulation, simulate, simulated
from flow.testing.simulation.conditions import RETURNS_MAX
from flow.testing.simulation.faults import NetworkFaults
from tests.conformance.broker_bench import Inbox, bodies_of, send
from tests.flow.testing.simulation.parties import QUEUE, Place, within

BODIES = [b"%d" % number for number in range(10)]
LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED


@simulated(seed=1)
async def test_deliveries_get_lost_and_come_again(simulation: Simulation) -> None:
    """A delivery that gets lost comes again, marked, and not for ever."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    place.spoil(redelivered=1.0)
    await party.run(party.broker.consume(QUEUE, 5, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES[:5]))
    taken = await inbox.take(5)
    assert sorted(bodies_of(taken)) == BODIES[:5]
    assert all(delivery.redelivered for delivery in taken)
    assert place.count("redeliver") == RETURNS_MAX * len(taken)


@simulated(seed=1)
async def test_deliveries_are_delayed(simulation: Simulation) -> None:
    """A delivery that is delayed arrives after later ones, within its time, and once."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    place.spoil(delayed=0.5, delayed_s=60.0)
    await party.run(party.broker.consume(QUEUE, 10, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES))
    took = await within(61.0, lambda: len(inbox) == len(BODIES))
    assert took > 10.0
    arrived = bodies_of(await inbox.take(len(BODIES)))
    assert sorted(arrived) == BODIES
    assert arrived != BODIES


@simulated(seed=2)
async def test_delayed_deliveries_count(simulation: Simulation) -> None:
    """A delivery that is on its way takes room in the prefetch of its consumer."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    place.spoil(delayed=1.0, delayed_s=60.0)
    await party.run(party.broker.consume(QUEUE, 3, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES))
    await within(61.0, lambda: len(inbox) == 3)
    await asyncio.sleep(120.0)
    assert (len(inbox), place.depth()) == (3, 7)


@simulated(seed=3)
async def test_delayed_deliveries_of_before_are_void(simulation: Simulation) -> None:
    """What was on its way when the connection was lost comes once more, and only once."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    place.spoil(delayed=1.0, delayed_s=60.0)
    await party.run(party.broker.consume(QUEUE, 10, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES))
    place.spoil()
    place.hub.cut()
    await asyncio.sleep(120.0)
    taken = await inbox.take(len(inbox))
    assert sorted(bodies_of(taken)) == BODIES
    assert sum(delivery.redelivered for delivery in taken) > 5


@simulated(seed=2)
async def test_consumers_are_cancelled_and_come_back(simulation: Simulation) -> None:
    """A consumer that the broker ends is consumed again: all messages arrive, each once."""
    place = Place(simulation)
    party, received = await place.open(), list[bytes]()

    def receive(delivery: Delivery) -> None:
        received.append(delivery.envelope.body)
        delivery.ack()

    place.spoil(cancelled=0.5)
    await party.run(party.broker.consume(QUEUE, 2, receive))
    for body in BODIES:
        await party.run(send(party.broker, QUEUE, body))
    await within(60.0, lambda: place.unsettled() == 0)
    assert (sorted(received), party.heard) == (BODIES, [])
    assert place.count("cancel") >= 3
    place.spoil()
    await asyncio.sleep(60.0)
    assert [queue.consumers for queue in place.hub.stats().queues] == [1]


@pytest.mark.parametrize("seed", range(5))
def test_a_consumer_that_is_cancelled_twice_comes_back_once(seed: int) -> None:
    """A consumer that the broker ends twice in a row is one consumer afterwards."""

    async def main(simulation: Simulation) -> None:
        place = Place(simulation, NetworkFaults(delay_s=1.0))
        party = await place.open()
        await party.run(party.broker.consume(QUEUE, 2, Inbox()))
        place.conditions.cancel(QUEUE)
        place.conditions.cancel(QUEUE)
        await asyncio.sleep(60.0)
        assert place.count("cancel") == 1
        assert [queue.consumers for queue in place.hub.stats().queues] == [1]

    simulate(main, seed=seed)


@simulated(seed=1)
async def test_what_was_received_before_a_cancel_can_be_settled(simulation: Simulation) -> None:
    """A consumer that the broker ended leaves its deliveries to whoever has them."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    await party.run(party.broker.consume(QUEUE, 2, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES[:2]))
    first, second = await inbox.take(2)
    place.conditions.cancel(QUEUE)
    await asyncio.sleep(30.0)
    assert place.count("cancel") == 1
    first.ack()
    second.requeue()
    assert bodies_of(await inbox.take()) == [second.envelope.body]
    await asyncio.sleep(30.0)
    assert (len(inbox), place.unsettled()) == (0, 1)
