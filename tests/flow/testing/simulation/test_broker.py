"""A process's connection to a broker, over losses and until the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from brokers.memory import MemoryBroker
from flow.errors import BrokerUnavailable
from flow.ports import (
    Broker,
    BrokerEvent,
    Publication,
    Settlement,
    Topology,
)
from flow.testing.simulation import Simulation, simulate, simulated
from flow.testing.simulation.faults import NetworkFaults
from flow.testing.simulation.processes import present_process
from tests.conformance.broker_bench import Inbox, message, send
from tests.flow.testing.simulation.parties import QUEUE, Place, within

LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED


@simulated(seed=1)
async def test_everything_runs_where_it_belongs(simulation: Simulation) -> None:
    """Deliveries and events reach the process in its context, whoever has caused them."""
    place = Place(simulation)
    party, other = await place.open(), await place.open("other")
    found: list[object] = []
    party.broker.watch(lambda _: found.append(present_process()))
    await party.run(party.broker.consume(QUEUE, 5, lambda _: found.append(present_process())))
    await other.run(send(other.broker, QUEUE, b"1"))
    await within(1.0, lambda: len(found) == 1)
    place.hub.cut()
    await within(1.0, lambda: len(found) == 4)
    assert found == [party.process] * 4


@simulated(seed=1)
async def test_the_real_broker_runs_outside(simulation: Simulation) -> None:
    """Whatever a process asks for, the real broker is called in the outside world."""
    place = Place(simulation)
    found: list[object] = []

    class Looking(MemoryBroker):
        async def publish(self, publications: object) -> list[Settlement]:
            found.append(present_process())
            return [Settlement.CONFIRMED]

        async def close(self) -> None:
            found.append(present_process())
            await super().close()

    party = place.party()
    party.broker._connect = lambda: Looking(place.hub)
    await party.run(party.broker.open())
    await party.run(party.broker.publish([Publication("", QUEUE, message())]))
    await party.run(party.broker.close())
    assert found == [None, None]


@simulated(seed=1)
async def test_closing_while_it_connects_again_ends_that(simulation: Simulation) -> None:
    """A connection that is closed while it is made again is not made again."""
    place = Place(simulation)
    party = await place.open()
    place.conditions.stop()
    await within(1.0, lambda: party.heard == [LOST])
    await party.run(party.broker.close())
    place.conditions.start()
    await asyncio.sleep(60.0)
    assert (party.heard, place.hub.stats().sessions) == ([LOST], 0)
    assert party.broker.health.trouble == "the connection is not open"


@simulated(seed=1)
async def test_dying_while_it_connects_leaves_nothing(simulation: Simulation) -> None:
    """A process that dies while it connects leaves no connection behind."""
    place = Place(simulation, NetworkFaults(delay_s=2.0))
    party = place.party()
    party.start(party.broker.open())
    await within(5.0, lambda: place.hub.stats().sessions == 1)
    assert not party.broker.health.is_connected
    party.kill()
    await within(5.0, lambda: place.hub.stats().sessions == 0)


def test_nothing_works_when_the_simulation_is_over() -> None:
    """What is left of a run cannot use its broker, and changes nothing there."""
    refused: list[str] = []

    async def main(simulation: Simulation) -> Place:
        place = Place(simulation)
        party, inbox = await place.open(), Inbox()
        broker: Broker = party.broker
        subscription = await party.run(broker.consume(QUEUE, 5, inbox))
        await party.run(send(broker, QUEUE, b"1", b"2"))
        delivery = await inbox.take_one()
        operations: dict[str, Callable[[], Awaitable[object]]] = {
            "open": place.party().broker.open,
            "declare": lambda: broker.declare(Topology()),
            "publish": lambda: send(broker, QUEUE, b"late"),
            "consume": lambda: broker.consume(QUEUE, 5, inbox),
            "look": lambda: broker.has_exchange("any"),
        }

        async def refuse() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                for name, operation in operations.items():
                    with pytest.raises(BrokerUnavailable):
                        await operation()
                    refused.append(name)
                delivery.ack()
                await subscription.cancel()
                await broker.close()
                refused.append("close")

        party.start(refuse())
        await asyncio.sleep(1.0)
        return place

    place = simulate(main, seed=1)
    assert refused == ["open", "declare", "publish", "consume", "look", "close"]
    assert place.unsettled() == 2
