"""Tests of `orchestrator.revisions`: what others have changed is read again."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import StoreUnavailable, UnknownWorkflow
from flow.runtime.orchestrator.revisions import Revisions
from flow.runtime.tasks import TaskGroup
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle
from tests.flow.runtime.clusters import Cluster


async def test_it_reads_when_the_number_changes() -> None:
    """The first number is taken as it is; each other one has everything read again, once."""
    clock, reads, faults = ManualClock(), list[int](), [StoreUnavailable("x://", "away")]
    revisions = Revisions(clock, CountingChance())

    async def refresh() -> None:
        if len(reads) == 2 and faults:
            raise faults.pop()
        reads.append(1)

    revisions.refresh_with(refresh)
    async with TaskGroup() as tasks:
        tasks.start(revisions.run(), "revisions")
        revisions.note(5)
        revisions.note(5)
        await settle()
        assert len(reads) == 0
        revisions.note(6)
        await settle()
        assert len(reads) == 1
        revisions.hear()
        await settle()
        assert len(reads) == 2
        revisions.note(7)
        await settle()
        assert len(reads) == 2
        # The store was away; it is asked again after a while.
        await clock.advance(2)
        assert len(reads) == 3
        assert clock.armed == 0


async def test_a_crowd_reads_once() -> None:
    """Whoever asks gets what was read after that, one reading at a time, and they share it."""
    gate, begun = asyncio.Event(), list[int]()
    revisions, ended = Revisions(ManualClock(), CountingChance()), list[str]()

    async def refresh() -> None:
        begun.append(1)
        await gate.wait()
        if len(begun) == 2:
            raise StoreUnavailable("x://", "away")

    async def ask(name: str) -> None:
        try:
            await revisions.refresh()
        except StoreUnavailable:
            name += " in vain"
        ended.append(name)

    revisions.refresh_with(refresh)
    async with TaskGroup() as tasks:
        tasks.start(ask("first"), "first")
        await settle()
        for number in range(100):
            tasks.start(ask(f"{number}"), "crowd")
        await settle()
        # What is being read may be older than their questions.
        assert (len(begun), ended) == (1, [])
        gate.set()
        await settle(200)
    assert len(begun) == 3
    assert ended[:3] == ["first", "0 in vain", "1"]
    assert len(ended) == 101


async def test_a_workflow_that_one_saves_all_know() -> None:
    """A definition that is saved at one orchestrator is known to the others at once."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        definition = cluster.app.workflow("late", *cluster.steps).definition
        await one.engine.definitions.save([definition])
        await cluster.settle()
        assert two.engine.definitions.current("late").definition.id == "late"
        await two.engine.definitions.remove("late")
        await cluster.settle()
        assert "late" not in [each.definition.id for each in one.engine.definitions.all()]


async def test_without_news_the_renewal_tells() -> None:
    """If the news are lost, the others know of a definition with their next renewal."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.advance(1)
        definition = cluster.app.workflow("late", *cluster.steps).definition
        one.engine.definitions.on_change(lambda: None)
        await one.engine.definitions.save([definition])
        await cluster.settle()
        assert two.engine.definitions.hash_of("late") == ""
        await cluster.advance(6)
        assert two.engine.definitions.hash_of("late") != ""


async def test_a_start_may_overtake_the_news() -> None:
    """A start of a workflow that another orchestrator has just saved is not refused."""
    async with Cluster() as cluster:
        one, two = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        late = cluster.app.workflow("late", *cluster.steps, output=cluster.steps[-1])
        one.engine.definitions.on_change(lambda: None)
        await one.engine.definitions.save([late.definition])
        name = next(f"e{n}" for n in range(99) if two.engine.partition_of(f"e{n}") in two.open)
        assert await cluster.until(late.run(3, id=name)) == 3
        reads = two.store.calls["definitions"]
        unknown = cluster.app.workflow("unknown", *cluster.steps)
        with pytest.raises(UnknownWorkflow):
            await cluster.until(unknown.run(3, id=f"{name}-x"))
        assert sum(each.store.calls["definitions"] for each in (one, two)) <= reads + 10
