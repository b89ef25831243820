"""Tests of `flow.runtime.publisher`: destinations that confirm nothing, while others do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest

from brokers.memory.broker import MemoryBroker
from flow.errors import BrokerUnavailable
from flow.ports import (
    BrokerHealth,
    Envelope,
    PartlyPublished,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from flow.runtime.bundles import Bundler
from flow.runtime.publisher import Publisher, PublisherSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.trouble import TroubleNote
from tests.flow.runtime.clocks import ManualClock, settle
from tests.flow.runtime.letters import bundler
from tests.flow.runtime.worker_bench import OddBroker

CONFIRMED = Settlement.CONFIRMED
GOOD = Publication("", "good", Envelope("t", b"x"))
BAD = Publication("", "bad", Envelope("t", b"x"))


class SwallowingBroker(OddBroker):
    """A connection on which some queues never confirm."""

    swallows: frozenset[str] = frozenset({"bad"})
    calls: list[str]
    held: asyncio.Event
    state: BrokerHealth | None = None

    @property
    def health(self) -> BrokerHealth:
        """How the test says that the connection is."""
        return self.state or self.inner.health

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and say after ten seconds what was not confirmed."""
        self.calls.append("".join(each.routing_key[0] for each in publications))
        swallowed = [each.routing_key in self.swallows for each in publications]
        if not any(swallowed):
            return await super().publish(publications)
        await self.held.wait()
        if all(swallowed):
            raise BrokerUnavailable(self.url, "no confirm")
        settlements = [None if each else CONFIRMED for each in swallowed]
        raise PartlyPublished(self.url, "no confirm", settlements)


class Scene:
    """A publisher on such a connection."""

    def __init__(self, packs: Bundler | None = None) -> None:
        self.clock = ManualClock()
        self.broker = SwallowingBroker(MemoryBroker())
        self.broker.calls, self.broker.held = [], asyncio.Event()
        self.broker.held.set()
        self.publisher = Publisher(self.broker, self.clock, PublisherSettings(lanes=1), packs)
        self.group = TaskGroup()

    async def __aenter__(self) -> Self:
        """Run it."""
        await self.broker.open()
        await self.broker.declare(Topology(queues=(Queue("good"), Queue("bad"))))
        await self.group.__aenter__()
        self.group.start(self.publisher.run(), "publisher")
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.group.stop()
        await self.broker.close()

    async def send(self, *publications: Publication) -> list[Settlement | BaseException]:
        """Send messages at once; return what became of them."""
        futures = [self.publisher.send(each) for each in publications]
        return await asyncio.gather(*futures, return_exceptions=True)


async def test_what_is_confirmed_stays_so() -> None:
    """Of a call that fails in part, only what is not known fails."""
    async with Scene() as scene:
        outcomes = await scene.send(GOOD, BAD, GOOD)
        assert outcomes[0] is outcomes[2] is CONFIRMED
        assert type(outcomes[1]) is BrokerUnavailable
        assert len(scene.publisher) == 0


async def test_of_bundles_each_message_knows_what_is_known() -> None:
    """Where bundles are confirmed in part, the messages of one fail and those of others do not."""
    async with Scene(bundler()) as scene:
        outcomes = await scene.send(GOOD, BAD, GOOD, BAD)
        assert scene.broker.calls == ["gb"]
        assert outcomes[0] is outcomes[2] is CONFIRMED
        assert [type(each) for each in outcomes[1::2]] == [BrokerUnavailable] * 2
        assert len(scene.publisher) == 0


async def test_a_swallowing_destination_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """From its first failure on it has a lane of its own, until it confirms; that is told once."""
    async with Scene() as scene:
        await scene.send(GOOD, BAD)
        scene.broker.held.clear()
        bad = [scene.publisher.send(BAD) for _ in range(2)]
        await settle()
        assert await scene.send(GOOD, GOOD) == [CONFIRMED] * 2
        assert scene.broker.calls[1:] == ["bb", "gg"]
        assert "published to 'bad' through ''" in scene.publisher.trouble.reason
        scene.broker.held.set()
        await asyncio.wait(bad)
        assert scene.publisher.trouble.failures == 2
        scene.broker.swallows = frozenset()
        assert await scene.send(BAD) == [CONFIRMED]
        assert scene.publisher.trouble == TroubleNote()
        assert await scene.send(GOOD, BAD) == [CONFIRMED] * 2
        assert scene.broker.calls[-1] == "gb"
    assert len(caplog.records) == 2
    assert caplog.messages[-1].startswith("all destinations confirm again")


async def test_a_destination_that_is_quiet_is_forgotten() -> None:
    """What swallowed a message long ago does not make a process unready for ever."""
    async with Scene() as scene:
        await scene.send(GOOD, BAD)
        await scene.clock.advance(59)
        assert scene.publisher.trouble.failures == 1
        await scene.clock.advance(2)
        assert scene.publisher.trouble == TroubleNote()


@pytest.mark.parametrize(
    "state", [BrokerHealth(is_connected=False, generation=1), BrokerHealth(True, 1, blocked="full")]
)
async def test_a_lost_connection_makes_no_suspect(state: BrokerHealth) -> None:
    """What a lost or blocked connection leaves open is not the fault of its destination."""
    async with Scene() as scene:
        scene.broker.state = state
        await scene.send(GOOD, BAD)
        assert scene.publisher.trouble == TroubleNote()
