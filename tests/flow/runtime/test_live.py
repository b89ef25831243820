"""Tests of `flow.runtime.live`: an execution in memory, and its timers."""

from __future__ import annotations

from hypothesis import given, strategies as st

from flow import Flow, StepContext
from flow.runtime.live import (
    FIRST_SILENCE_MS,
    LONGEST_SILENCE_MS,
    LiveExecution,
    next_resend_ms,
)
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import single


@given(st.integers(0, 10**12), st.integers(0, 10**10))
def test_resends_have_a_rhythm(sent: int, passed: int) -> None:
    """The next sending lies ahead, no further than the time since the first, or an hour."""
    due = next_resend_ms(sent, sent + passed)
    assert due > sent + passed
    assert due - (sent + passed) <= max(FIRST_SILENCE_MS, min(2 * passed + 1, LONGEST_SILENCE_MS))
    assert next_resend_ms(sent, due - 1) == due


def test_resends_become_rare() -> None:
    """An attempt is sent again after one, three, seven minutes, and so on, up to every hour."""
    times: list[int] = []
    now = 0
    for _ in range(9):
        now = next_resend_ms(0, now)
        times.append(now // 60_000)
    assert times == [1, 3, 7, 15, 31, 63, 123, 183, 243]


def live_of(app: Flow, execution: str) -> LiveExecution:
    """Return an execution that is in memory."""
    assert app.host is not None
    assert app.host.engine is not None
    live = app.host.engine.residents.get(execution)
    assert live is not None
    return live


async def test_silence_sends_an_attempt_again() -> None:
    """An attempt that nobody answers is sent again and again, and stays the same attempt."""
    app, workflow = single(timeout=86_400)
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = live_of(app, "e-1")
        start = test.clock.now_ms()
        assert live.wake_ms() == start + 60_000
        await test.advance(60)
        assert live.wake_ms() == start + 180_000
        await test.advance(3_600)
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["sent again"] == 5
        assert (await execution.step("s1"))["attempt"] == 1
        # The worker has it, and runs it once.
        assert len(test.calls("work.s1")) == 1


async def test_a_heartbeat_puts_it_off() -> None:
    """An attempt whose worker is heard of is not sent again."""
    app, workflow = single(timeout=86_400)
    async with FlowHarness(app) as test:

        async def work(body: object, context: StepContext) -> int:
            for number in range(20):
                context.heartbeat(number)
                await test.sleep(30)
            return 1

        test.stub("work.s1", work)
        assert await workflow.run() == 1
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["sent again"] == 0
        assert test.clock.monotonic() == 600


async def test_a_deadline_is_due_in_time() -> None:
    """The deadline of an execution is its next time, and none once it has ended."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1", timeout=20)
        await test.settle()
        live = live_of(app, "e-1")
        assert live.wake_ms() == test.clock.now_ms() + 20_000
        assert list(live.due(test.clock.now_ms())) == []
        assert live.bodies.output("s1") is not None
        await test.advance(20)
        assert live.wake_ms() is None
