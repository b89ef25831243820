"""What a process has declared and consumes, over losses of its connection."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import (
    Binding,
    BrokerEvent,
    Exchange,
    Publication,
    Queue,
    Topology,
)
from flow.testing.simulation import Simulation, simulate, simulated
from tests.conformance.broker_bench import Inbox, bodies_of, message, send
from tests.flow.testing.simulation.parties import QUEUE, SILENCE_S, Place, within

LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED


@simulated(seed=1)
async def test_a_held_exclusive_queue_is_waited_for(simulation: Simulation) -> None:
    """While the broker still holds a lost connection, its exclusive queue cannot be declared."""
    place = Place(simulation)
    party, sender = await place.open(), await place.open("sender")
    mine = Topology(
        (Exchange("exchange", "direct"),),
        (Queue("mine", exclusive=True),),
        (Binding("mine", "exchange", "key"),),
    )
    await party.run(party.broker.declare(mine))
    inbox = Inbox()
    await party.run(party.broker.consume("mine", 5, inbox))
    party.link.cut(there=False)
    await within(SILENCE_S, lambda: party.heard == [LOST])
    party.link.heal()
    await within(2 * SILENCE_S, lambda: party.heard == [LOST, CONNECTED])
    await sender.run(sender.broker.publish([Publication("exchange", "key", message(b"1"))]))
    assert bodies_of(await inbox.take()) == [b"1"]


@simulated(seed=1)
async def test_what_is_not_kept_is_gone_after_a_wipe(simulation: Simulation) -> None:
    """After a wipe an exchange that was not kept is missing, which is how a wipe is noticed."""
    place = Place(simulation)
    party = await place.open()
    await party.run(party.broker.declare(Topology((Exchange("kept", "fanout"),))))
    await party.run(party.broker.declare(Topology((Exchange("mark", "fanout"),)), keep=False))
    for wipe, expected in ((place.hub.cut, True), (place.hub.wipe, False)):
        count = len(party.heard)
        wipe()
        await within(15.0, lambda count=count: len(party.heard) == count + 2)  # type: ignore[misc]
        assert await party.run(party.broker.has_exchange("kept"))
        assert await party.run(party.broker.has_exchange("mark")) is expected


@simulated(seed=1)
async def test_a_consumer_of_a_lost_moment_comes_back(simulation: Simulation) -> None:
    """A connection that breaks right after a consumer began has it consume on the next one."""
    place = Place(simulation)
    party, inbox = await place.open(), Inbox()
    subscribing = party.run(party.broker.consume(QUEUE, 5, inbox))
    await within(1.0, lambda: place.hub.stats().queues[0].consumers == 1)
    place.hub.cut()
    try:
        await subscribing
    except BrokerUnavailable:
        await party.run(party.broker.consume(QUEUE, 5, inbox))
    await within(15.0, lambda: party.heard == [LOST, CONNECTED])
    await party.run(send(party.broker, QUEUE, b"1"))
    assert bodies_of(await inbox.take()) == [b"1"]


@pytest.mark.parametrize("seed", range(10))
def test_abandoned_consumers_take_nothing(seed: int) -> None:
    """Whoever gives up on starting a consumer leaves none behind at the broker."""

    async def main(simulation: Simulation) -> None:
        place = Place(simulation)
        party, inbox = await place.open(), Inbox()

        async def give_up() -> None:
            try:
                async with asyncio.timeout(party.link.upto(0.01)):
                    await party.broker.consume(QUEUE, 5, inbox)
            except TimeoutError:
                return
            await asyncio.Event().wait()

        abandoned = party.run(give_up())
        await asyncio.sleep(1.0)
        await party.run(send(party.broker, QUEUE, b"1"))
        await asyncio.sleep(1.0)
        if abandoned.done():
            assert (len(inbox), place.depth()) == (0, 1)
            assert place.hub.stats().queues[0].consumers == 0
        else:
            assert len(inbox) == 1

    simulate(main, seed=seed)
