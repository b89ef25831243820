"""Tests of `orchestrator.sweeper`: what waits for its endpoint was never at the broker."""

from __future__ import annotations

from flow.testing import FlowHarness
from tests.flow.runtime.worlds import echo, single


async def test_what_waits_for_its_endpoint_is_not_swept() -> None:
    """A broker that was wiped has lost nothing of it, and there is to be no second copy of it."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        execution = await workflow.execute(1, id="e1")
        await test.settle()
        assert len(engine.dispatcher._parking) == 1
        test._hub.wipe()
        await test.advance(20)
        test.stub("work.s1", echo)
        await test.advance(20)
        assert await execution.result() == 1
        assert engine.counters["swept"] == 0
        assert len(test.calls("work.s1")) == 1
