"""The process's end of a connection: silence, death, and what is settled when."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import BrokerEvent, Delivery, Queue, Topology
from flow.testing.simulation import Simulation, simulate, simulated
from tests.conformance.broker_bench import Inbox, bodies_of, send
from tests.flow.testing.simulation.parties import QUEUE, SILENCE_S, Party, Place, within

BODIES = [b"%d" % number for number in range(10)]
LOST, CONNECTED = BrokerEvent.LOST, BrokerEvent.CONNECTED


async def consuming(place: Place, prefetch: int = 3) -> tuple[Party, Inbox]:
    """Return a process that has received as many messages as it may."""
    party, inbox = await place.open(), Inbox()
    await party.run(party.broker.consume(QUEUE, prefetch, inbox))
    await party.run(send(party.broker, QUEUE, *BODIES[:prefetch]))
    await within(1.0, lambda: len(inbox) == prefetch)
    return party, inbox


@simulated(seed=1)
async def test_a_short_pause_is_not_noticed(simulation: Simulation) -> None:
    """A process that is held up for less than the heartbeats keeps its deliveries."""
    place = Place(simulation)
    party, inbox = await consuming(place)
    heir_inbox = Inbox()
    heir = await place.open("heir")
    await heir.run(heir.broker.consume(QUEUE, 10, heir_inbox))
    party.process.pause()
    await asyncio.sleep(9.0)
    party.process.resume()
    for delivery in await inbox.take(3):
        delivery.ack()
    await asyncio.sleep(SILENCE_S)
    assert (party.heard, len(heir_inbox), place.unsettled()) == ([], 0, 0)


@simulated(seed=1)
async def test_a_long_pause_costs_the_connection(simulation: Simulation) -> None:
    """The broker gives a paused process up; what it had goes to others; it finds out later."""
    place = Place(simulation)
    party, inbox = await consuming(place)
    heir_inbox = Inbox()
    heir = await place.open("heir")
    await heir.run(heir.broker.consume(QUEUE, 10, heir_inbox))
    party.process.pause()
    took = await within(SILENCE_S, lambda: len(heir_inbox) == 3)
    assert took > 9.0
    assert party.heard == []
    for delivery in await inbox.take(3):
        party.process.context.run(delivery.reject)
    party.process.resume()
    await within(1.0, lambda: party.heard == [LOST, CONNECTED])
    assert party.broker.health.generation == 2
    assert place.unsettled() == 3
    inherited = await heir_inbox.take(3)
    assert [delivery.redelivered for delivery in inherited] == [True] * 3


@pytest.mark.parametrize(
    ("there", "back"), [(True, True), (True, False), (False, True)], ids=["both", "there", "back"]
)
def test_a_long_cut_costs_the_connection(there: bool, back: bool) -> None:  # noqa: FBT001 - a parameter
    """However a way is cut, both sides give up in the end, and connect when it is mended."""

    async def main(simulation: Simulation) -> None:
        place = Place(simulation)
        party, _ = await consuming(place)
        party.link.cut(there=there, back=back)
        with pytest.raises(BrokerUnavailable):
            await party.run(send(party.broker, QUEUE, b"cut"))
        await within(2 * SILENCE_S, lambda: place.hub.stats().sessions == 0)
        await within(SILENCE_S, lambda: party.heard == [LOST])
        await asyncio.sleep(200.0)
        assert party.heard == [LOST]
        party.link.heal()
        await within(SILENCE_S, lambda: party.heard == [LOST, CONNECTED])
        assert party.broker.health.generation == 2
        await within(SILENCE_S, lambda: place.hub.stats().sessions == 1)
        await party.run(send(party.broker, QUEUE, b"mended"))

    simulate(main, seed=1)


@simulated(seed=1)
async def test_a_short_cut_delays(simulation: Simulation) -> None:
    """Calls and deliveries that meet a short cut wait for its end, and nothing is lost."""
    place = Place(simulation)
    party, inbox = await consuming(place, 10)
    for delivery in await inbox.take(10):
        delivery.ack()
    party.link.cut()
    call = party.run(send(party.broker, QUEUE, *BODIES))
    await asyncio.sleep(5.0)
    assert not call.done()
    party.link.heal()
    await call
    assert bodies_of(await inbox.take(10)) == BODIES
    assert party.heard == []


@simulated(seed=1)
async def test_what_a_dead_process_sent_counts(simulation: Simulation) -> None:
    """Settlements on their way when a process dies count; the rest goes to others at once."""
    place = Place(simulation)
    party, inbox = await consuming(place)
    mine = Topology(queues=(Queue("mine", exclusive=True),))
    await party.run(party.broker.declare(mine))
    heir_inbox = Inbox()
    heir = await place.open("heir")
    await heir.run(heir.broker.consume(QUEUE, 10, heir_inbox))
    first, second, third = await inbox.take(3)
    first.ack()
    first.ack()
    first.reject()
    party.kill()
    second.ack()
    third.reject()
    await within(1.0, lambda: len(heir_inbox) == 2)
    assert bodies_of(await heir_inbox.take(2)) == BODIES[1:3]
    assert [queue.name for queue in place.hub.stats().queues] == [QUEUE]
    assert place.hub.stats().sessions == 1
    assert (place.count("ack"), place.count("reject")) == (1, 0)


@simulated(seed=1)
async def test_a_dead_process_behind_a_cut_is_noticed(simulation: Simulation) -> None:
    """Nobody hears a process die whose way is cut, but it is silent from then on."""
    place = Place(simulation)
    party, _ = await consuming(place)
    party.link.cut()
    party.kill()
    await asyncio.sleep(5.0)
    assert place.hub.stats().sessions == 1
    await within(SILENCE_S, lambda: place.hub.stats().sessions == 0)
    assert place.depth() == 3


@simulated(seed=1)
async def test_settlements_are_lost_with_the_connection(simulation: Simulation) -> None:
    """A settlement on its way when the connection breaks does nothing: the message comes again."""
    place = Place(simulation)
    party, inbox = await consuming(place)
    first, second, third = await inbox.take(3)
    place.spoil(lost=1.0)
    first.ack()
    await within(1.0, lambda: party.heard == [LOST])
    place.spoil()
    second.ack()
    third.requeue()
    again = await inbox.take(3)
    assert bodies_of(again) == BODIES[:3]
    assert [delivery.redelivered for delivery in again] == [True] * 3


@simulated(seed=1)
async def test_a_receiver_that_raises_is_reported(simulation: Simulation) -> None:
    """A receiver that raises is reported, and its message goes back."""
    place = Place(simulation)
    party, received = await place.open(), list[bool]()

    def receive(delivery: Delivery) -> None:
        received.append(delivery.redelivered)
        if not delivery.redelivered:
            raise ValueError("the first time")

    await party.run(party.broker.consume(QUEUE, 1, receive))
    await party.run(send(party.broker, QUEUE, b"1"))
    await within(1.0, lambda: received == [False, True])
    errors, simulation.loop.errors = simulation.loop.errors, []
    assert [error["message"] for error in errors] == ["a receiver raised; the message goes back"]


# --------------------------------------------------------------------------- failpoints

PASSED = [
    *("publish.before", "publish.done", "publish.after"),
    *("deliver.before", "deliver.after"),
    *("ack.before", "ack.after"),
]


async def go_through_points(place: Place) -> tuple[Party, Inbox]:
    """Publish a message, receive it and acknowledge it, passing all points."""
    party, inbox = await place.open(), Inbox()
    await party.run(party.broker.consume(QUEUE, 1, inbox))
    points = place.conditions.failpoints
    assert points is not None
    points.is_counting = True

    async def live() -> None:
        await send(party.broker, QUEUE, b"1")
        (await inbox.take_one()).ack()

    party.start(live())
    await asyncio.sleep(5.0)
    return party, inbox


@simulated(seed=1)
async def test_points_are_passed(simulation: Simulation) -> None:
    """A message passes the points of its publication, its delivery and its acknowledgement."""
    place = Place(simulation)
    points = place.crash_at()
    points.is_counting = False
    party, _ = await go_through_points(place)
    passed = [each.point for each in points.passed]
    assert sorted(passed) == sorted(PASSED)
    assert (party.process.is_dead, place.unsettled()) == (False, 0)


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("publish.before", 0),
        ("publish.done", 1),
        ("publish.after", 1),
        ("deliver.before", 1),
        ("deliver.after", 1),
        ("ack.before", 1),
        ("ack.after", 0),
    ],
)
def test_processes_die_at_points(point: str, left: int) -> None:
    """A process dies where it is told, and the broker has exactly what had left it by then."""

    async def number_of(simulation: Simulation) -> int:
        place = Place(simulation)
        points = place.crash_at()
        points.is_counting = False
        await go_through_points(place)
        return [each.point for each in points.passed].index(point)

    number = simulate(number_of, seed=1)

    async def main(simulation: Simulation) -> None:
        place = Place(simulation)
        points = place.crash_at(number)
        points.is_counting = False
        party, _ = await go_through_points(place)
        assert [each.point for each in points.crashes] == [point]
        assert party.process.is_dead
        assert (place.depth(), place.unsettled(), place.hub.stats().sessions) == (left, left, 0)

    simulate(main, seed=1)
