"""Tests of `flow.runtime.host`: processes that announce steps, and processes that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from brokers.memory import Hub, MemoryBroker
from flow import codec
from flow.catalogue import Announcement, OpenDefinition
from flow.clock import SystemThreads
from flow.errors import MissingSteps, StepConflict
from flow.handler import bind
from flow.ports import StepRecord
from flow.runtime.host import Host, HostPorts, HostSettings
from flow.runtime.service import Endpoint
from flow.step import StepDefinition, StepKind
from flow.testing import SeededChance, VirtualClock
from flow.workflow import WorkflowDefinition
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import settle

OPEN = OpenDefinition(WorkflowDefinition(id="checkout", steps=()), ("ship",))


class Town:
    """Processes on one broker and one database."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.hub = Hub()
        self.database = MemoryDatabase()
        self._seeds = iter(range(100))

    def ports(self, *, has_store: bool) -> HostPorts:
        """Return the ports of another process."""
        return HostPorts(
            broker=MemoryBroker(self.hub),
            store=MemoryStore(self.clock.now_ms, self.database) if has_store else None,
            clock=self.clock,
            chance=SeededChance(next(self._seeds), self.clock.now_ms),
            threads=SystemThreads(),
        )

    def orchestrator(self, *opened: OpenDefinition, **settings: Any) -> Host:
        """Return a process that orchestrates."""
        what = HostSettings(namespace="shop", partitions=2, open_definitions=opened, **settings)
        return Host(self.ports(has_store=True), what)

    def worker(self, service: str, *steps: str) -> Host:
        """Return a process that only works."""
        what = HostSettings(namespace="shop", **serving(service, *steps))
        return Host(self.ports(has_store=False), what)


def serving(service: str, *steps: str) -> dict[str, Any]:
    """Return the settings of a process that declares and serves steps."""
    targets = [f"{service}.{step}" for step in steps]
    made = [
        StepDefinition(id=step, kind=StepKind.CALL, target=target)
        for step, target in zip(steps, targets, strict=True)
    ]
    return {
        "announcements": [Announcement(step=each) for each in made],
        "endpoints": {name: Endpoint(name, bind(lambda: 1).handler) for name in targets},
    }


def steps_of(host: Host) -> list[str]:
    """Return the steps that the workflow has, as an orchestrator knows it."""
    assert host.engine is not None
    return [step.id for step in host.engine.definitions.current("checkout").definition.steps]


async def test_a_worker_announces_its_steps() -> None:
    """The steps of a process without a store reach the orchestrator, which closes its workflow."""
    town = Town()
    async with town.orchestrator(OPEN) as orchestrator:
        with pytest.raises(MissingSteps, match="'ship'"):
            steps_of(orchestrator)
        async with town.worker("sea", "ship"):
            await settle()
            assert steps_of(orchestrator) == ["ship"]


async def test_a_process_with_a_store_sends_no_announcement() -> None:
    """An embedded flow has its own steps in the catalogue at once, without a message."""
    town = Town()
    async with town.orchestrator(OPEN, **serving("sea", "ship")) as host:
        assert steps_of(host) == ["ship"]
        assert not [each for each in town.hub.stats().queues if ".reply." in each.name]


async def test_others_hear_of_a_step_at_once() -> None:
    """An orchestrator that waits for a step closes its workflow when another one is told of it."""
    town = Town()
    async with town.orchestrator() as told, town.orchestrator(OPEN) as waiting:
        await settle()
        with pytest.raises(MissingSteps):
            steps_of(waiting)
        assert told.engine is not None
        (ship,) = serving("sea", "ship")["announcements"]
        await told.engine.catalogue.announce(ship)
        await settle()
        assert steps_of(waiting) == ["ship"]


async def test_who_comes_later_is_heard_of_too() -> None:
    """What a process with a store declares at its start reaches those that were there before."""
    town = Town()
    async with town.orchestrator(OPEN) as waiting:
        async with town.orchestrator(**serving("sea", "ship")):
            await settle()
        town.clock.move_to(town.clock.monotonic() + 10)
        await settle()
        assert steps_of(waiting) == ["ship"]


async def test_what_changes_during_a_start_is_seen() -> None:
    """A step that somebody else keeps right after it was looked for is found by and by."""
    town = Town()
    body = codec.encode_announcement(serving("sea", "ship")["announcements"][0])
    record = StepRecord("ship", "sea", "h", body, 0)

    class Race(MemoryStore):
        """A store that another process writes to as soon as its steps were read."""

        is_late = False

        async def steps(self) -> Sequence[StepRecord]:
            """Return the steps."""
            found = await super().steps()
            if not self.is_late:
                self.is_late = True
                await super().save_step(record)
            return found

    store = Race(town.clock.now_ms, town.database)
    what = HostSettings(namespace="shop", open_definitions=(OPEN,))
    async with Host(replace(town.ports(has_store=True), store=store), what) as host:
        town.clock.move_to(10)
        await settle()
        assert steps_of(host) == ["ship"]


async def test_a_conflict_ends_the_worker() -> None:
    """A process whose step is another one elsewhere fails, and the others go on."""
    town = Town()
    rival = town.worker("air", "ship")

    async def compete() -> None:
        async with rival:
            await asyncio.Event().wait()

    async with town.orchestrator(OPEN) as orchestrator, town.worker("sea", "ship"):
        await settle()
        with pytest.raises(StepConflict, match=r"'air'.*'sea'"):
            await compete()
        assert steps_of(orchestrator) == ["ship"]


async def test_a_conflict_ends_an_embedded_flow_at_its_start() -> None:
    """A process with a store does not even begin to serve what it must not."""
    town = Town()
    async with town.orchestrator(**serving("sea", "ship")):
        pass
    with pytest.raises(StepConflict):
        async with town.orchestrator(**serving("air", "ship")):
            raise AssertionError
    assert town.hub.stats().sessions == 0
