"""Tests of `orchestrator.live`: an execution in memory, and its timers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from flow import Flow, RetryPolicy, StepContext
from flow.ports import Binding, Queue, StoredExecution, Topology
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.orchestrator.live import (
    FIRST_SILENCE_MS,
    LONGEST_SILENCE_MS,
    LiveExecution,
    next_resend_ms,
    row_wake_ms,
)
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import Unsteady, chain, single


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


async def wake_ms_of(store: Unsteady) -> int | None:
    """Return when the store says that the execution is due."""
    (stored,) = (await store.store.load(["e-1"])).values()
    assert isinstance(stored, StoredExecution)
    return stored.summary.wake_ms


async def test_the_alarm_is_not_moved_by_each_step() -> None:
    """While steps come and go the first alarm stays; once it has rung in vain it is exact."""
    app, workflow = chain()
    store = Unsteady()
    async with FlowHarness(app, store=store) as test:

        async def work(body: object) -> int:
            await test.sleep(10)
            return 1

        test.stub("work.s1", work)
        test.stub("work.s2", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        start, live = test.clock.now_ms(), live_of(app, "e-1")
        await test.advance(20)
        first, exact = start + 60_000, start + 70_000
        assert (live.wake_ms(), live.alarm_ms, await wake_ms_of(store)) == (exact, first, first)
        await test.advance(41)
        assert counters_of(app)["sent again"] == 0
        assert (live.alarm_ms, await wake_ms_of(store)) == (exact, exact)
        await test.advance(9)
        assert counters_of(app)["sent again"] == 1


async def test_who_leaves_the_memory_says_exactly_when_it_is_due() -> None:
    """What has to go is not loaded again by an alarm of a step that is over."""
    app, workflow = chain()
    store = Unsteady()
    async with FlowHarness(app, store=store, engine=EngineSettings(live_bytes=1)) as test:

        async def work(body: object) -> int:
            await test.sleep(10)
            return 1

        test.stub("work.s1", work)
        test.stub("work.s2", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        start = test.clock.now_ms()
        await test.advance(20)
        assert await wake_ms_of(store) == start + 60_000
        # Whoever comes in takes its place.
        await workflow.execute(id="e-2")
        await test.settle()
        assert await wake_ms_of(store) == start + 70_000


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


async def test_a_row_tells_that_an_attempt_is_out() -> None:
    """However rare heartbeats are, the row is due within the longest silence, for a sweep."""
    day_ms, hour_ms = 86_400_000, 3_600_000
    app, workflow = single(heartbeat=86_400, timeout=10 * 86_400)
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        begun, live = test.clock.now_ms(), live_of(app, "e-1")
        assert (live.wake_ms(), await wake_ms_of(unsteady)) == (begun + 3 * day_ms, begun + hour_ms)
        assert app.host is not None
        assert app.host.engine is not None
        # Somebody looks into the store for what is due: it is too soon, and the row moves on.
        app.host.engine.wake_partition(live.partition, begun + hour_ms)
        await test.advance(3_602)
        assert counters_of(app)["sent again"] == 0
        row_ms = await wake_ms_of(unsteady)
        assert row_ms is not None
        assert begun + 2 * hour_ms <= row_ms <= test.clock.now_ms() + hour_ms
        assert live.alarm_ms is not None
        assert live.alarm_ms > begun + 2 * day_ms


async def test_a_row_that_waits_says_when() -> None:
    """The row of an execution that waits for a retry names that time, however far away it is."""
    app, workflow = single(
        retry=RetryPolicy(max_attempts=2, initial=86_400, maximum=86_400, jitter=0)
    )
    unsteady = Unsteady()
    async with FlowHarness(app, store=unsteady) as test:
        test.stub("work.s1", ConnectionError())
        await workflow.execute(id="e-1")
        await test.settle()
        live = live_of(app, "e-1")
        await test.advance(61)
        assert await wake_ms_of(unsteady) == live.wake_ms()
        assert row_wake_ms(live, 0) == live.wake_ms() is not None


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


async def test_what_has_ended_is_not_listened_to() -> None:
    """Once its execution has ended, nothing should be heard of a long step any more."""
    app, workflow = single(heartbeat=10)
    async with FlowHarness(app) as test:

        async def work(_: object) -> int:
            await test.sleep(15)
            return 1

        test.stub("work.s1", work)
        execution = await workflow.execute(id="e-1")
        await test.advance(12)
        assert live_of(app, "e-1").is_listening
        assert await execution.result() == 1
        assert not live_of(app, "e-1").is_listening


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
