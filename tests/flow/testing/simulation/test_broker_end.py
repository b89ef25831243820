"""The broker's end of a connection."""

from __future__ import annotations

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import BrokerEvent, Queue, Topology
from flow.testing.simulation import Simulation, simulate, simulated
from tests.conformance.broker_bench import send
from tests.flow.testing.simulation.parties import QUEUE, Party, Place, within

BODIES = [b"%d" % number for number in range(10)]
LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED


@simulated(seed=1)
async def test_amnesia_ends_connections_and_loses_everything(simulation: Simulation) -> None:
    """After a wipe what is kept is declared again, empty, and what is not kept shows the loss."""
    place = Place(simulation)
    party = await place.open()
    await party.run(send(party.broker, QUEUE, *BODIES))
    place.hub.wipe()
    await within(15.0, lambda: party.heard == [LOST, CONNECTED])
    assert (place.depth(), place.hub.stats().sessions) == (0, 1)


def test_a_seed_repeats_its_faults() -> None:
    """The same seed gives the same faults at the same times, another one gives others."""

    def hash_of(seed: int) -> str:
        async def main(simulation: Simulation) -> str:
            place = Place(simulation)
            party: Party = await place.open()
            place.spoil(lost=0.1, unconfirmed=0.1, duplicated=0.2, reordered=0.3)
            for body in BODIES:
                try:
                    await party.run(send(party.broker, QUEUE, body))
                except BrokerUnavailable:
                    await within(60.0, lambda: party.broker.health.is_connected)
            return simulation.hash

        return simulate(main, seed=seed)

    assert hash_of(3) == hash_of(3) != hash_of(4)


@simulated(seed=1)
async def test_an_answer_may_get_lost(simulation: Simulation) -> None:
    """A connection may break when the broker has done something and has not said so."""
    place = Place(simulation)
    party = await place.open()
    place.spoil(unconfirmed=1.0)
    with pytest.raises(BrokerUnavailable, match="lost before the answer"):
        await party.run(party.broker.declare(Topology(queues=(Queue("new"),)), keep=False))
    place.spoil()
    assert place.hub.depth("new") == 0
    await within(15.0, lambda: party.heard == [LOST, CONNECTED])
