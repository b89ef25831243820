"""A broker that is away, blocked, or has lost a queue."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import BrokerEvent
from flow.testing.simulation import Simulation, simulated
from tests.conformance.broker_bench import Inbox, bodies_of, send
from tests.flow.testing.simulation.parties import QUEUE, Place, within

BODIES = [b"%d" % number for number in range(10)]
LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED


@simulated(seed=1)
async def test_a_deleted_queue_is_declared_again(simulation: Simulation) -> None:
    """A queue that is gone takes its messages with it, is declared again, and is consumed again."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    await party.run(party.broker.consume(QUEUE, 1, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES))
    place.hub.delete_queue(place.hub.find_queue(QUEUE, place.hub.connect()))
    place.conditions.cancel(QUEUE)
    await within(30.0, lambda: bool(place.hub.stats().queues))
    await inbox.take_one()
    await party.run(send(party.broker, QUEUE, b"new"))
    assert bodies_of(await inbox.take()) == [b"new"]
    assert party.heard == []


@simulated(seed=1)
async def test_an_outage_ends_connections_and_keeps_queues(simulation: Simulation) -> None:
    """While there is no broker nobody can connect; then everybody does, and nothing is lost."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    await party.run(party.broker.consume(QUEUE, 2, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES))
    await inbox.take(2)
    place.conditions.stop()
    await within(1.0, lambda: party.heard == [LOST])
    assert not party.broker.health.is_connected
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        await party.run(send(party.broker, QUEUE, b"no"))
    newcomer = place.party()
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        await newcomer.run(newcomer.broker.open())
    await asyncio.sleep(100.0)
    assert (party.heard, place.depth(), place.hub.stats().sessions) == ([LOST], 10, 0)
    place.conditions.start()
    await within(15.0, lambda: party.heard == [LOST, CONNECTED])
    assert party.broker.health.generation == 2
    assert bodies_of(await inbox.take(2)) == BODIES[:2]


@simulated(seed=1)
async def test_whoever_connects_hears_of_a_block(simulation: Simulation) -> None:
    """A new connection to a blocked broker is told so, after it was told to be connected."""
    place = Place(simulation)
    party = await place.open()
    place.hub.block("no disk")
    await within(1.0, lambda: party.heard == [BrokerEvent.BLOCKED])
    place.hub.cut()
    await within(1.0, lambda: len(party.heard) >= 4)
    assert party.heard == [BrokerEvent.BLOCKED, LOST, CONNECTED, BrokerEvent.BLOCKED]
    newcomer = place.party()
    await newcomer.run(newcomer.broker.open())
    assert newcomer.broker.health.blocked == "no disk"
    assert newcomer.heard == [BrokerEvent.BLOCKED]
