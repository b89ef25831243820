"""Tests of `orchestrator.live`: an execution in memory, and its timers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from flow import Flow, StepContext
from flow.ports import Binding, Queue, Topology
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.orchestrator.live import (
    FIRST_SILENCE_MS,
    LONGEST_SILENCE_MS,
    LiveExecution,
    next_resend_ms,
)
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import Unsteady, single


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


async def keep_requests(test: FlowHarness, app: Flow) -> str:
    """Declare the queue of the service, so that requests wait in it; return its name."""
    assert app.host is not None
    addresses = app.host.addresses
    queue = f"{addresses.steps}.work.s1"
    await test._broker.declare(
        Topology(
            queues=(Queue(queue, dead_letter=addresses.dead),),
            bindings=(Binding(queue, addresses.steps, "work.s1"),),
        )
    )
    return queue


def counters_of(app: Flow) -> Counter[str]:
    """Return what the orchestrator has counted."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine.counters


async def test_silence_sends_an_attempt_again() -> None:
    """An attempt that nobody answers is sent again and again, and stays the same attempt."""
    app, workflow = single(timeout=86_400)
    async with FlowHarness(app) as test:
        queue = await keep_requests(test, app)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        live = live_of(app, "e-1")
        start = test.clock.now_ms()
        assert live.wake_ms() == start + 60_000
        assert not live.is_listening
        await test.advance(60)
        assert live.wake_ms() == start + 180_000
        await test.advance(3_600)
        assert counters_of(app)["sent again"] == 5
        assert (await execution.step("s1"))["attempt"] == 1
        assert test._hub.depth(queue) == 6
        test.stub("work.s1", 1)
        assert await execution.result() == 1
        # The worker gets all of them, and runs the first.
        assert len(test.calls("work.s1")) == 1


async def test_a_long_step_is_not_sent_again_while_its_worker_beats() -> None:
    """Its worker gives signs of life, whatever the handler does; its request is settled."""
    app, workflow = single(timeout=86_400)
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.advance(7_200)
        assert counters_of(app)["sent again"] == 0
        assert len(test.calls("work.s1")) == 1
        assert live_of(app, "e-1").is_listening
        step = await execution.step("s1")
        assert (step["status"], step["started_ms"] is not None) == ("RUNNING", True)
        stats = {each.name: each.unsettled for each in test._hub.stats().queues}
        assert stats["world.steps.work.s1"] == 0


async def test_heartbeats_are_not_written_down() -> None:
    """A long step costs a record when it begins and none for each sign of life."""
    app, workflow = single(heartbeat=6)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        records = live_of(app, "e-1").seq
        assert records == 2
        await test.advance(50)
        assert live_of(app, "e-1").seq == records


async def test_a_long_step_whose_worker_is_silent_is_sent_again() -> None:
    """After three heartbeats' time of silence another worker gets the very same attempt."""
    app, workflow = single(heartbeat=10, timeout=3_600)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [NEVER, 7])
        execution = await workflow.execute(id="e-1")
        await test.advance(100)
        assert counters_of(app)["sent again"] == 0
        # Its process dies without a word: here, its worker does.
        test._workers.cancel()
        await test._workers.stop()
        await test._workers.start()
        await test.advance(26)
        assert counters_of(app)["sent again"] == 0
        await test.advance(4)
        assert counters_of(app)["sent again"] == 1
        test._serve("work.s1")
        assert await execution.result() == 7
        assert [call.attempt for call in test.calls("work.s1")] == [1, 1]


async def test_after_a_takeover_a_long_step_has_its_whole_time() -> None:
    """A new owner knows that the attempt began, and not what was heard since: it waits anew."""
    app, workflow = single(heartbeat=100, timeout=3_600)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [NEVER, 7])
        execution = await workflow.execute(id="e-1")
        await test.advance(1_000)
        await test.restart()
        await test.advance(299)
        assert counters_of(app)["sent again"] == 0
        await test.advance(2)
        assert counters_of(app)["sent again"] == 1
        assert await app.executions.get(execution.id).result() == 7


async def test_what_is_listened_to_stays_in_memory() -> None:
    """Only memory knows when something was heard, so a long step that goes on is not let go."""
    app, workflow = single(heartbeat=10)
    async with FlowHarness(app, engine=EngineSettings(live_bytes=1)) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.advance(5)
        assert live_of(app, "e-1").is_listening


async def test_a_heartbeat_puts_it_off() -> None:
    """An attempt whose worker is heard of is not sent again."""
    app, workflow = single(timeout=600)
    async with FlowHarness(app) as test:

        async def work(body: object, context: StepContext) -> int:
            for number in range(18):
                context.heartbeat(number)
                await test.sleep(30)
            return 1

        test.stub("work.s1", work)
        assert await workflow.run() == 1
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["sent again"] == 0
        assert test.clock.monotonic() == 540


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
