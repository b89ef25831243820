"""Traffic while everything goes wrong: what was confirmed arrives, and all of it is settled."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pytest

from flow.errors import BrokerUnavailable
from flow.ports import BrokerEvent, Delivery, Publication, Settlement
from flow.testing.simulation import Simulation, simulate
from flow.testing.simulation.faults import NetworkFaults
from flow.testing.simulation.processes import OUTSIDE
from flow.testing.simulation.tasks import Tasks
from tests.conformance.broker_bench import message
from tests.flow.testing.simulation.parties import QUEUE, Party, Place, within

TROUBLE_S: Final = 60.0
"""Virtual seconds for which things go wrong."""
RATES: Final = {
    "lost": {"lost": 0.1},
    "unconfirmed": {"unconfirmed": 0.3},
    "duplicated": {"duplicated": 0.5},
    "reordered": {"reordered": 0.8},
    "redelivered": {"redelivered": 0.6},
    "delayed": {"delayed": 0.5, "delayed_s": 30.0},
    "cancelled": {"cancelled": 0.3},
    "all": {
        "lost": 0.03,
        "unconfirmed": 0.05,
        "duplicated": 0.1,
        "reordered": 0.2,
        "redelivered": 0.2,
        "delayed": 0.1,
        "delayed_s": 30.0,
        "cancelled": 0.05,
    },
}
TOLD: Final = {
    "lost": ("lost", "lost"),
    "unconfirmed": ("lost", "lost before the confirm"),
    "duplicated": ("duplicate", ""),
    "reordered": ("reorder", ""),
    "redelivered": ("redeliver", ""),
    "cancelled": ("cancel", ""),
}
"""What the trace says when a fault happens."""


@dataclass
class Ledger:
    """What was confirmed, and what was done with it."""

    published: int = 0
    sent: set[bytes] = field(default_factory=set[bytes])
    confirmed: set[bytes] = field(default_factory=set[bytes])
    unknown: set[bytes] = field(default_factory=set[bytes])
    received: list[bytes] = field(default_factory=list[bytes])
    acknowledged: list[bytes] = field(default_factory=list[bytes])


class Traffic:
    """Processes that publish, and processes that consume, for as long as there is trouble."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ledger = Ledger()
        self.is_over = False
        self.disturbances: Counter[str] = Counter()
        self._random = random.Random(place.simulation.seed)

    async def produce(self, party: Party) -> None:
        """Publish messages of which each is there once, a few at a time."""
        ledger = self.ledger
        while not self.is_over:
            count = self._random.randint(1, 5)
            bodies = [b"%d" % (ledger.published + number) for number in range(count)]
            ledger.published += count
            ledger.sent.update(bodies)
            publications = [Publication("", QUEUE, message(body)) for body in bodies]
            try:
                outcome = await party.broker.publish(publications)
                assert list(outcome) == [Settlement.CONFIRMED] * count
                ledger.confirmed.update(bodies)
            except BrokerUnavailable:
                ledger.unknown.update(bodies)
            await asyncio.sleep(self._random.random())

    def receive(self, party: Party, delivery: Delivery) -> None:
        """Take a message, work on it, and acknowledge it or give it back."""
        self.ledger.received.append(delivery.envelope.body)

        def settle() -> None:
            if self._random.random() < 0.1:
                delivery.requeue()
                return
            self.ledger.acknowledged.append(delivery.envelope.body)
            delivery.ack()

        seconds = self._random.random()
        party.link.loop.call_later(seconds, settle, context=party.process.context)


async def expect_all(traffic: Traffic) -> None:
    """Wait until everything is settled, and look at what was promised."""
    place, ledger = traffic.place, traffic.ledger
    await within(200.0, lambda: place.unsettled() == 0)
    assert ledger.confirmed
    assert ledger.confirmed <= {*ledger.acknowledged}
    assert {*ledger.received} <= ledger.sent
    for party in place.parties:
        if not party.process.is_dead:
            expect_health(party)


def expect_health(party: Party) -> None:
    """Look at what a watcher was told, and whether the connection is as it says."""
    health = party.broker.health
    ups_and_downs = [
        event for event in party.heard if event in (BrokerEvent.LOST, BrokerEvent.CONNECTED)
    ]
    times = len(ups_and_downs) // 2
    assert ups_and_downs == [BrokerEvent.LOST, BrokerEvent.CONNECTED] * times
    assert (health.is_connected, health.generation) == (True, 1 + times)
    assert (health.blocked, health.trouble) == ("", "")


async def go(simulation: Simulation, rates: dict[str, float]) -> Traffic:
    """Have traffic for a while, with trouble, and then without."""
    place = Place(simulation, NetworkFaults(delay_s=0.01))
    traffic = Traffic(place)
    for number in range(4):
        party = await place.open(f"process {number}")
        if number % 2:
            party.start(traffic.produce(party))
        else:
            await party.run(
                party.broker.consume(QUEUE, 5, functools.partial(traffic.receive, party))
            )
    place.spoil(**rates)
    await asyncio.sleep(TROUBLE_S)
    traffic.is_over = True
    place.spoil()
    await asyncio.sleep(40.0)
    await expect_all(traffic)
    return traffic


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fault", RATES)
def test_nothing_that_was_confirmed_is_lost(fault: str, seed: int) -> None:
    """With each fault at a high rate, all that was confirmed is received and settled."""
    rates = RATES[fault]
    traffic = simulate(lambda simulation: go(simulation, rates), seed=seed)
    for name in TOLD if fault == "all" else {fault} & {*TOLD}:
        what, detail = TOLD[name]
        assert traffic.place.count(what, detail) >= 3, f"{name} did not happen"
    if fault in ("lost", "unconfirmed", "all"):
        assert len(traffic.ledger.unknown) >= 10


def test_the_traffic_is_calm_without_faults() -> None:
    """Without faults nothing is lost, unknown, redelivered by the broker, or reordered."""
    traffic = simulate(lambda simulation: go(simulation, {}), seed=1)
    place, ledger = traffic.place, traffic.ledger
    assert not ledger.unknown
    assert sorted(ledger.acknowledged) == sorted(ledger.confirmed)
    assert all(party.heard == [] for party in place.parties)
    assert [place.count(what) for what, _ in TOLD.values()] == [0] * len(TOLD)


async def disturb(traffic: Traffic, chance: random.Random) -> None:
    """Do one thing after the other to processes, to their ways, and to the broker."""
    place = traffic.place
    while not traffic.is_over:
        await asyncio.sleep(chance.random() * 20)
        party = chance.choice(place.parties)
        what = chance.choice((kill, pause, cut, stop, cut_all))
        traffic.disturbances[what.__name__] += 1
        await what(place, party, chance.random() * 40)


async def kill(place: Place, party: Party, _: float) -> None:
    """End a process for good, unless too few are left."""
    if sum(not each.process.is_dead for each in place.parties) > 3:
        party.kill()


async def pause(_: Place, party: Party, seconds: float) -> None:
    """Hold a process up for a while."""
    party.process.pause()
    await asyncio.sleep(seconds)
    party.process.resume()


async def cut(_: Place, party: Party, seconds: float) -> None:
    """Cut the way to the broker for a while, in one direction or in both."""
    party.link.cut(there=party.link.happens(0.7), back=party.link.happens(0.7))
    await asyncio.sleep(seconds)
    party.link.heal()


async def stop(place: Place, _: Party, seconds: float) -> None:
    """Have no broker for a while."""
    place.conditions.stop()
    await asyncio.sleep(seconds / 2)
    place.conditions.start()


async def cut_all(place: Place, *_: object) -> None:
    """End all connections."""
    place.hub.cut()


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_by_whatever_happens_to_processes(seed: int) -> None:
    """Kills, pauses, cuts and outages lose nothing that was confirmed."""

    async def main(simulation: Simulation) -> None:
        place = Place(simulation, NetworkFaults(delay_s=0.01, slow=0.05, slow_s=2.0))
        traffic = Traffic(place)
        for number in range(8):
            party = await place.open(f"process {number}")
            await party.run(
                party.broker.consume(QUEUE, 5, functools.partial(traffic.receive, party))
            )
            party.start(traffic.produce(party))
        place.spoil(**RATES["all"])
        Tasks(simulation.loop).start(
            disturb(traffic, random.Random(seed)), "nemesis", OUTSIDE.copy()
        )
        await asyncio.sleep(TROUBLE_S)
        traffic.is_over = True
        place.spoil()
        await asyncio.sleep(150.0)
        await expect_all(traffic)
        assert traffic.disturbances.total() >= 2

    simulate(main, seed=seed)
