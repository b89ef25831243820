"""Tests of `worker.announcer`: steps are told until they are known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from brokers.memory import Hub, MemoryBroker
from flow import codec
from flow.catalogue import Announcement
from flow.errors import BrokerUnavailable, FlowError, InvalidInput, StepConflict, StoreUnavailable
from flow.ports import Delivery, Publication, Subscription
from flow.runtime.addresses import Addresses
from flow.runtime.protocol import ANNOUNCE, Answer
from flow.runtime.publisher import Publisher
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.announcer import Announcer
from flow.step import StepDefinition, StepKind
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle

ADDRESSES = Addresses("shop")
CONFLICT = StepConflict("ship", "b", "1", "a", "2")


def announced(id: str) -> Announcement:
    """Return what a service announces."""
    return Announcement(step=StepDefinition(id=id, kind=StepKind.CALL, target=f"work.{id}"))


class ShakyBroker(MemoryBroker):
    """A connection that is away at first."""

    faults = 0

    async def consume(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> Subscription:
        """Consume, or fail."""
        if self.faults:
            self.faults -= 1
            raise BrokerUnavailable(self.url, "not yet")
        return await super().consume(queue, prefetch, receive)


class Room:
    """An announcer, and somebody who answers as the test says."""

    def __init__(self) -> None:
        hub = Hub()
        self.clock = ManualClock()
        self.broker = ShakyBroker(hub)
        self.office = MemoryBroker(hub)
        self.publisher = Publisher(self.broker, self.clock)
        self.announcer = Announcer(
            self.broker, self.publisher, ADDRESSES, self.clock, CountingChance()
        )
        self.heard: list[str] = []
        self.answers: list[FlowError | None] = []
        self.group = TaskGroup()

    async def __aenter__(self) -> Self:
        await self.broker.open()
        await self.office.open()
        await self.broker.declare(ADDRESSES.exchanges())
        await self.group.__aenter__()
        self.group.start(self.publisher.run(), "publisher")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.group.__aexit__(kind, error, traceback)

    def announce(self, *steps: str) -> asyncio.Task[None]:
        """Begin to announce."""
        return self.group.start(self.announcer.run([announced(each) for each in steps]), "it")

    async def open_office(self) -> None:
        """Begin to answer."""
        await self.office.declare(ADDRESSES.orchestrator(1))
        await self.office.consume(ADDRESSES.announce, 10, self._hear)

    def _hear(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        assert envelope.type == ANNOUNCE
        self.heard.append(codec.decode_announcement(envelope.body).step.id)
        delivery.ack()
        error = self.answers.pop(0) if self.answers else None
        answer = Answer({"step": self.heard[-1]}, error)
        told = answer.envelope(envelope.message_id, envelope.correlation_id)
        publication = Publication("", envelope.reply_to, told, mandatory=False)
        self.group.start(self._answer(publication), "answer")

    async def _answer(self, publication: Publication) -> None:
        await self.office.publish([publication])


async def test_steps_are_announced_once() -> None:
    """Each step is told once if it is answered, and then nothing waits and nothing is due."""
    async with Room() as room:
        await room.open_office()
        task = room.announce("pay", "ship")
        await settle()
        assert (room.heard, task.done()) == (["pay", "ship"], True)
        assert room.clock.armed == 0


async def test_nothing_to_announce_costs_nothing() -> None:
    """A worker without steps declares no queue and sends nothing."""
    async with Room() as room:
        room.broker.faults = 1
        task = room.announce()
        await settle()
        assert (task.done(), room.broker.faults) == (True, 1)


async def test_orchestrators_may_come_later() -> None:
    """Steps are told again and again until somebody is there to hear of them."""
    async with Room() as room:
        task = room.announce("pay")
        await room.clock.advance(60)
        assert not task.done()
        await room.open_office()
        await room.clock.advance(3)
        assert (room.heard, task.done()) == (["pay"], True)


async def test_a_store_that_is_away_is_waited_for() -> None:
    """An orchestrator that cannot keep a step now is asked again, with pauses that grow."""
    async with Room() as room:
        await room.open_office()
        room.answers = [StoreUnavailable("memory://", "gone")] * 3
        task = room.announce("pay")
        await settle()
        assert (len(room.heard), task.done()) == (1, False)
        await room.clock.advance(0.5)
        assert len(room.heard) == 2
        await room.clock.advance(10)
        assert (len(room.heard), task.done()) == (4, True)


async def test_a_connection_that_is_away_is_waited_for() -> None:
    """Announcing begins once answers can be received."""
    async with Room() as room:
        await room.open_office()
        room.broker.faults = 2
        task = room.announce("pay")
        await settle()
        assert room.heard == []
        await room.clock.advance(5)
        assert (room.heard, task.done()) == (["pay"], True)


async def test_a_conflict_ends_the_process() -> None:
    """A step that is another one elsewhere must not be served: the error leaves the group."""
    room = Room()

    async def run() -> None:
        async with room:
            await room.open_office()
            room.answers = [CONFLICT]
            await room.announce("ship", "pay")

    with pytest.raises(StepConflict, match="'a' has announced another step"):
        await run()
    assert room.heard == ["ship"]


async def test_any_other_refusal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A step that cannot be kept is told of in the log; the others are announced all the same."""
    async with Room() as room:
        await room.open_office()
        room.answers = [InvalidInput("the announced step 'pay'", "it is odd")]
        with caplog.at_level(logging.ERROR):
            task = room.announce("pay", "ship")
            await settle()
        assert (room.heard, task.done()) == (["pay", "ship"], True)
    assert "step 'pay' is not in the catalogue: the announced step 'pay': it is odd" in caplog.text
