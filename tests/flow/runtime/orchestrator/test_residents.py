"""Tests of `orchestrator.residents`: which executions are in memory, through the harness."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from flow import Flow, Status
from flow.codec import Cause
from flow.errors import CorruptRecord, ExecutionFailed
from flow.kernel.tree import Changes
from flow.ports import JournalRecord
from flow.runtime.orchestrator.engine import Engine, EngineSettings
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import RETRY, Unsteady, away, chain, single, stub_chain

TINY = EngineSettings(live_bytes=20_000)


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def test_many_wait_outside_of_memory() -> None:
    """Executions that wait for a retry leave the memory, and come back when they are due."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app, engine=TINY) as test:
        test.stub("work.s1", [*[ConnectionError()] * 300, 1])
        executions = [await workflow.execute(id=f"e{n}") for n in range(300)]
        await test.settle()
        engine = engine_of(app)
        assert len(engine.residents) < 20
        assert len(test.calls("work.s1")) == 300
        assert [await each.result() for each in executions] == [1] * 300
        assert test.clock.monotonic() == 1
        assert len(test.calls("work.s1")) == 600


async def test_those_that_have_ended_leave_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of executions that have ended only a few stay in memory, and all others that run."""
    monkeypatch.setattr("flow.runtime.orchestrator.residents.ENDED_KEPT", 5)
    app, workflow = single(timeout=600)
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app) as test:
        test.stub("work.s1", wait)
        await asyncio.gather(*(workflow.execute(id=f"open{n}") for n in range(30)))
        await test.settle()
        test.stub("work.s1", [2] * 30)
        ended = [await workflow.execute(id=f"e{n}") for n in range(30)]
        assert [await each.result() for each in ended] == [2] * 30
        await test.settle()
        residents = engine_of(app).residents
        residents.evict()
        assert residents.absent(f"open{n}" for n in range(30)) == []
        assert len(residents.absent(f"e{n}" for n in range(30))) == 25
        assert [await each.result() for each in ended] == [2] * 30
        gate.set()


async def test_one_that_has_ended_and_goes_on_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution that had failed and was resumed is not one that has ended."""
    monkeypatch.setattr("flow.runtime.orchestrator.residents.ENDED_KEPT", 0)
    app, workflow = single(timeout=600)
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app) as test:
        test.stub("work.s1", [ValueError("no")])
        execution = await workflow.execute(id="e")
        with pytest.raises(ExecutionFailed):
            await execution.result()
        test.stub("work.s1", wait)
        await execution.resume()
        await test.settle()
        engine_of(app).residents.note_end("e")
        engine_of(app).residents.evict()
        assert engine_of(app).residents.absent(["e"]) == []
        gate.set()
        assert await execution.result() == 1


async def test_a_reply_brings_its_execution_back() -> None:
    """An execution that is out of memory is loaded when its worker answers."""
    app, workflow = chain()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app, engine=TINY) as test:
        stub_chain(test)
        test.stub("work.s1", wait)
        executions = [await workflow.execute(id=f"e{n}") for n in range(60)]
        await test.settle()
        await test.advance(2)
        assert len(engine_of(app).residents) < 20
        gate.set()
        assert [await each.result() for each in executions] == [3] * 60


async def test_those_who_run_come_back_to_be_sent_again() -> None:
    """The silence of a worker is noticed for executions that are out of memory too."""
    app, workflow = single(timeout=600)
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app, engine=TINY) as test:
        test.stub("work.s1", wait)
        executions = [await workflow.execute(id=f"e{n}") for n in range(50)]
        await test.advance(59)
        engine = engine_of(app)
        assert engine.counters["sent again"] == 0
        await test.advance(2)
        assert engine.counters["sent again"] == 50
        gate.set()
        assert [await each.result() for each in executions] == [1] * 50
        # The worker has them all, and runs none of them twice.
        assert len(test.calls("work.s1")) == 50


async def test_what_is_not_written_stays() -> None:
    """Nothing leaves the memory before what was decided about it is durable."""
    app, workflow = single()
    async with FlowHarness(app, engine=EngineSettings(live_bytes=0)) as test:
        test.stub("work.s1", 1)
        results = await asyncio.gather(*(workflow.run(id=f"e{n}") for n in range(50)))
        assert results == [1] * 50
        engine = engine_of(app)
        engine.residents.evict()
        assert len(engine.residents) == 0
        batch = engine.committer.batch
        (live,) = await engine.residents.ensure(["e0"])
        batch.touch(live, Cause("Touched"), Changes((), ()))
        engine.residents.evict()
        assert engine.residents.get("e0") is live
        live.pins -= 1
        batch.touches.clear()
        engine.residents.evict()
        assert engine.residents.get("e0") is None


async def test_a_damaged_record_parks_its_execution() -> None:
    """An execution that cannot be loaded is put aside, and tells why; others go on."""
    app, workflow = chain()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        stub_chain(test)
        bad = await workflow.execute(id="bad")
        await bad.result()
        row = unsteady.store._database.row("bad")
        assert row is not None
        row.records[0] = JournalRecord(1, b'{"not": "a record"}', is_snapshot=True)
        await test.restart()
        with pytest.raises(CorruptRecord, match="execution 'bad'"):
            await bad.describe()
        assert await workflow.run(id="good") == 3
        assert list(engine_of(app).residents.parked) == ["bad"]
        assert [row["status"] for row in await app.executions.list()] == [Status.SUCCESS.value] * 2


@pytest.mark.parametrize(
    ("good", "odd"),
    [
        (b'"steps/s1"', b"17"),
        (b'"sent_ms":', b'"sent_ms":"long ago","x":'),
        (b'"RUNNING",{', b'"RUNNING",7,{'),
    ],
)
async def test_a_record_of_odd_types_parks_its_execution(good: bytes, odd: bytes) -> None:
    """A record that can be read and makes no sense stops nobody but its execution."""
    app, workflow = single()
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        bad = await workflow.execute(id="bad")
        await test.settle()
        row = unsteady.store._database.row("bad")
        assert row is not None
        record = row.records[0].record
        assert good in record
        row.records[0] = JournalRecord(1, record.replace(good, odd), is_snapshot=True)
        test.crash()
        await test.restart()
        test.stub("work.s1", 3)
        with pytest.raises(CorruptRecord, match="execution 'bad'"):
            await bad.describe()
        assert await workflow.run(id="good") == 3


async def test_an_absent_store_parks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away executions are not at hand; they are not taken for broken."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        execution = await workflow.execute(id="e-1")
        await execution.result()
        engine = engine_of(app)
        faults, definitions = [away(), away()], engine.store.definitions

        async def fail(*args: Any, **kwargs: Any) -> Any:
            if faults:
                raise faults.pop()
            return await definitions(*args, **kwargs)

        monkeypatch.setattr(engine.store, "definitions", fail)
        engine.definitions._known.clear()
        engine.residents.clear()
        assert await execution.status() is Status.SUCCESS
        assert engine.residents.parked == {}
        assert 1 <= test.clock.monotonic() <= 2


async def test_who_is_forgotten_while_loading_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before everybody was forgotten may not be true, and is not kept."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await workflow.run(id="e-1")
        engine = engine_of(app)
        load = engine.store.load

        async def forget(ids: Sequence[str]) -> Any:
            stored = await load(ids)
            engine.residents.clear()
            return stored

        monkeypatch.setattr(engine.store, "load", forget)
        engine.residents.clear()
        assert await engine.residents.ensure(["e-1"]) == []
        assert engine.residents.get("e-1") is None


async def test_who_is_somebody_elses_is_forgotten() -> None:
    """Those of a lost partition leave the memory, loadable or not; others stay."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        for name in ("e-1", "e-2"):
            await workflow.run(id=name)
        residents = engine_of(app).residents
        one, two = residents.get("e-1"), residents.get("e-2")
        assert one is not None
        assert two is not None
        assert one.partition != two.partition
        residents.parked["e-1"] = CorruptRecord("a record", "the test says so")
        generation = residents.generation
        assert residents.forget({one.partition}) == ["e-1"]
        assert residents.generation == generation + 1
        assert residents.parked == {}
        assert (residents.has(one), residents.has(two)) == (False, True)
        await residents.ensure(["e-1"])
        again = residents.get("e-1")
        assert again is not None
        # It is in memory again, but it is not the one that somebody may have kept.
        assert (residents.has(one), residents.has(again)) == (False, True)


async def test_who_is_not_ours_is_not_brought_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a partition that is not held nobody comes in, who would be out of date when it is."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        for name in ("e-1", "e-2"):
            await workflow.run(id=name)
        engine = engine_of(app)
        lost = engine.partition_of("e-1")
        engine.residents.clear()
        monkeypatch.setattr(engine.residents, "holds", partial(operator.ne, lost))
        assert [live.id for live in await engine.residents.ensure(["e-1", "e-2"])] == ["e-2"]
        assert engine.residents.get("e-1") is None


async def test_the_engine_says_which_partitions_are_held() -> None:
    """Whose partition is given up is not brought in by anybody who does not know that yet."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await workflow.run(id="e-1")
        engine = engine_of(app)
        engine.lose([engine.partition_of("e-1")])
        assert await engine.residents.ensure(["e-1"]) == []
