"""Tests of `flow.runtime.gate`: back-pressure, through the harness."""

from __future__ import annotations

import asyncio

from flow.runtime.engine import EngineSettings
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import chain, single, stub_chain


async def test_starts_wait_while_replies_go_on() -> None:
    """At the cap no more starts are taken, but what runs goes on to its end."""
    app, workflow = chain()
    async with FlowHarness(app, engine=EngineSettings(unsettled=10)) as test:
        test.stub("work.s1", 1)
        test.stub("work.s2", 2)
        early = [await workflow.execute(id=f"e{n}") for n in range(10)]
        await test.settle()
        # Ten steps that nobody serves are all that may be on their way.
        late = asyncio.gather(*(workflow.execute(id=f"l{n}") for n in range(20)))
        await test.advance(20)
        assert not late.done()
        assert len(await app.executions.list()) == 10
        test.stub("work.s3", 3)
        assert [await each.result() for each in early] == [3] * 10
        assert [await each.result() for each in await late] == [3] * 20


async def test_a_flood_of_starts_is_taken_in_turns() -> None:
    """Many more starts than may be on their way all run to their end."""
    app, workflow = chain()
    settings = EngineSettings(unsettled=5, batch=7, prefetch=50)
    async with FlowHarness(app, engine=settings) as test:
        stub_chain(test)
        results = await asyncio.gather(*(workflow.run(id=f"e{n}") for n in range(200)))
        assert results == [3] * 200
        assert len(test.calls("work.s2")) == 200
        assert test.clock.monotonic() < 5


async def test_a_start_that_waits_is_not_lost() -> None:
    """A start that waits at the cap when the process dies begins after the restart."""
    app, workflow = single()
    async with FlowHarness(app, engine=EngineSettings(unsettled=1)) as test:
        await workflow.execute(id="first")
        await test.settle()
        waiting = asyncio.gather(workflow.execute(id="second"), return_exceptions=True)
        await test.settle()
        test.crash()
        await waiting
        test.stub("work.s1", 1)
        await test.restart()
        await test.advance(1)
        rows = await app.executions.list()
        assert {row["id"]: row["status"] for row in rows} == {
            "first": "SUCCESS",
            "second": "SUCCESS",
        }
