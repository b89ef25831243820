"""Tests of `orchestrator.requests`: control, views and definitions, through the harness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flow import ExecutionAborted, ExecutionFailed, Status
from flow.codec import Cause
from flow.errors import (
    InvalidInput,
    NotPossible,
    UnknownExecution,
    UnknownStep,
    UnknownWorkflow,
)
from flow.kernel.events import AbortRequested
from flow.runtime.orchestrator.batch import Batch
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import RETRY, chain, single, statuses, stub_chain


async def test_suspend_lets_land_what_is_out() -> None:
    """While it is suspended results are recorded and no new attempt is made, until it resumes."""
    app, workflow = chain()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s1", wait)
        execution = await workflow.execute()
        await test.settle()
        assert await execution.suspend(reason="lunch") is Status.SUSPENDING
        gate.set()
        await test.settle()
        report = await execution.describe()
        assert report["status"] == "SUSPENDED"
        assert statuses(report) == {"s1": "SUCCESS", "s2": "PENDING", "s3": "PENDING"}
        await test.advance(10_000)
        assert test.calls("work.s2") == []
        assert await execution.resume() is Status.RUNNING
        assert await execution.result() == 3


async def test_suspend_with_nothing_out_is_done_at_once() -> None:
    """An execution that only waits for a retry is SUSPENDED at once."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute()
        await test.settle()
        assert await execution.suspend() is Status.SUSPENDED
        assert await execution.suspend() is Status.SUSPENDED
        await test.advance(100)
        assert len(test.calls("work.s1")) == 1
        assert await execution.resume() is Status.RUNNING
        # The retry came due meanwhile, so it is made at once.
        await test.settle()
        assert len(test.calls("work.s1")) == 2
        assert await execution.result() == 1


async def test_a_stopped_clock_stops_deadlines() -> None:
    """With clock="stop" a suspension counts neither for the deadline nor for a backoff."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute(timeout=60)
        await test.settle()
        await execution.suspend(clock="stop")
        await test.advance(3_600)
        await execution.resume()
        await test.settle()
        assert len(test.calls("work.s1")) == 1
        await test.advance(1)
        assert await execution.result() == 1


async def test_a_running_clock_goes_on() -> None:
    """With clock="run" the deadline passes meanwhile, and takes effect when it resumes."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute(timeout=60)
        await test.settle()
        await execution.suspend()
        await test.advance(3_600)
        assert await execution.status() is Status.SUSPENDED
        assert await execution.resume() is Status.FAILURE
        with pytest.raises(ExecutionFailed):
            await execution.result()


async def test_abort_cancels_what_runs() -> None:
    """An abort cancels the running handler, and whoever waits is told the reason."""
    app, workflow = single()
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with FlowHarness(app) as test:
        test.stub("work.s1", work)
        execution = await workflow.execute()
        await test.settle()
        assert await execution.abort("changed my mind") is Status.ABORTED
        with pytest.raises(ExecutionAborted, match="changed my mind"):
            await execution.result()
        await test.settle()
        assert seen == ["cancelled"]
        assert await execution.abort() is Status.ABORTED


async def test_refusals_name_the_status() -> None:
    """What cannot be done is refused with the present status, and changes nothing."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        done = await workflow.execute(id="done")
        await done.result()
        for verb in (done.suspend, done.resume, done.abort):
            with pytest.raises(NotPossible, match="'done': it is SUCCESS") as caught:
                await verb()
            assert (caught.value.execution, caught.value.status) == ("done", "SUCCESS")
        test.stub("work.s1", NEVER)
        running = await workflow.execute(id="running")
        with pytest.raises(NotPossible, match="it is RUNNING; abort it first"):
            await running.delete()


async def test_resume_repeats_only_what_failed() -> None:
    """A failed execution that is resumed tries the failed step again, and nothing before it."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", [ValueError("no"), 2])
        execution = await workflow.execute()
        with pytest.raises(ExecutionFailed):
            await execution.result()
        assert await execution.resume() is Status.RUNNING
        assert await execution.result() == 3
        assert [len(test.calls(f"work.s{n}")) for n in (1, 2, 3)] == [1, 2, 1]


async def test_a_deleted_execution_is_gone() -> None:
    """An execution that has ended can be deleted, and its id be used again."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        execution = await workflow.execute(id="e-1")
        assert await execution.result() == 1
        await execution.delete()
        with pytest.raises(UnknownExecution):
            await execution.describe()
        with pytest.raises(UnknownExecution):
            await execution.history()
        assert await app.executions.list() == []
        again = await workflow.execute({"other": "input"}, id="e-1")
        await again.result()
        assert (await again.describe())["input"] == {"other": "input"}


async def test_unknown_things_are_named() -> None:
    """Whoever asks for what does not exist is told, with the nearest name."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        with pytest.raises(UnknownExecution, match="no execution 'nobody'"):
            await app.executions.get("nobody").status()
        execution = await workflow.execute()
        with pytest.raises(UnknownStep, match="did you mean 's1'"):
            await execution.step("s11")
        with pytest.raises(UnknownWorkflow, match="did you mean 'single'"):
            await app.workflows.load("singel")
        with pytest.raises(UnknownWorkflow, match="did you mean 'single'"):
            await app.workflows.remove("singel")


async def test_a_step_shows_its_story() -> None:
    """A step's view has its request and response, its attempts, times and failures."""
    app, workflow = chain(retry=RETRY)
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", [ConnectionError("away"), 2])
        execution = await workflow.execute({"n": 1})
        await test.settle()
        step = await execution.step("s2")
        assert (step["status"], step["attempt"]) == ("RETRYING", 1)
        assert step["failure"]["message"] == "away"
        assert step["due_ms"] == test.clock.now_ms() + 1_000
        await execution.result()
        step = await execution.step("s2")
        assert (step["request"], step["response"], step["attempt"]) == ({"n": 1}, 2, 2)
        assert (step["requires"], step["level"]) == (["s1"], 1)
        step = await execution.step("s3")
        assert (step["status"], step["response"]) == ("SUCCESS", 3)


async def test_a_step_that_nobody_serves_says_so() -> None:
    """A step that waits for a worker shows the endpoint that is missing."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        execution = await workflow.execute()
        await test.advance(5)
        (step,) = (await execution.describe())["steps"]
        assert (step["status"], step["waiting_for"]) == ("RUNNING", "work.s1")
        test.stub("work.s1", 1)
        assert await execution.result() == 1
        (step,) = (await execution.describe())["steps"]
        assert "waiting_for" not in step


async def test_an_execution_can_be_followed() -> None:
    """Iterating over an execution gives its events as they happen, until it has ended."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute()
        types = [event.type async for event in execution]
        assert types == ["ExecutionStarted", "StepFailed", "TimerFired", "StepSucceeded"]
        assert [event.type async for event in execution] == types


async def test_a_request_that_makes_no_sense_is_refused() -> None:
    """An unknown verb, and arguments that are not what they should be, are refused."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        execution = await workflow.execute(id="e-1")
        await execution.result()
        ask = app.client.ask
        with pytest.raises(InvalidInput, match="no verb 'explode'"):
            await ask("explode", {})
        with pytest.raises(InvalidInput, match="'run' or 'stop'"):
            await ask("suspend", {"clock": "sometimes"}, "e-1")
        with pytest.raises(InvalidInput, match="not a whole number"):
            await ask("history", {"after": "x"}, "e-1")
        with pytest.raises(UnknownExecution):
            await ask("show", {}, "")


async def test_the_same_command_works_once() -> None:
    """A command that is delivered again after its opposite does not undo that."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 1])
        execution = await workflow.execute()
        await test.settle()
        ask = app.client.ask
        arguments = {"command": "c-1"}
        assert (await ask("suspend", arguments, execution.id))["status"] == "SUSPENDED"
        await execution.resume()
        assert (await ask("suspend", arguments, execution.id))["status"] == "SUSPENDED"
        assert await execution.status() is Status.RUNNING
        assert await execution.result() == 1


async def test_a_delete_and_whoever_comes_at_the_same_moment() -> None:
    """While a deletion is being written nobody sees the execution, and its id is not reused."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", [1, 2])
        execution = await workflow.execute(id="e-1")
        await execution.result()
        deleted, shown, started = await asyncio.gather(
            execution.delete(),
            execution.describe(),
            workflow.execute(id="e-1"),
            return_exceptions=True,
        )
        assert deleted is None
        assert isinstance(shown, UnknownExecution)
        assert isinstance(started, NotPossible)
        assert await workflow.run(id="e-1") == 2
        assert [call.attempt for call in test.calls("work.s1")] == [1, 1]


async def test_a_watcher_is_told_what_is_durable() -> None:
    """Who watches hears of an end with the record that tells of it, and never before."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        watching = asyncio.gather(app.client.ask("watch", {"after": 1}, "e-1"))
        await test.settle()
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        live = engine.residents.get("e-1")
        assert live is not None
        engine.apply(live, AbortRequested("c-1", ""), Cause("AbortRequested", "c-1", "me"))
        # An earlier batch is written only now.
        engine.waiters.changed("e-1", ended=False)
        (answer,) = await watching
        assert answer == {"status": "RUNNING", "seq": 1}
        engine.committer.notify()
        assert await app.executions.get("e-1").status() is Status.ABORTED


@pytest.mark.parametrize("is_durable", [True, False])
async def test_an_end_is_told_after_its_own_commit(
    monkeypatch: pytest.MonkeyPatch, *, is_durable: bool
) -> None:
    """An end that is written is told at once, and one that is not waits for its commit."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        waiting = asyncio.gather(app.client.ask("result", {}, "e-1"))
        await test.settle()
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        live = engine.residents.get("e-1")
        assert live is not None
        late: list[int | None] = []
        after = Batch.after

        def note(batch: Batch, action: Callable[[], None], partition: int | None = None) -> None:
            late.append(partition)
            after(batch, action, partition)

        monkeypatch.setattr(Batch, "after", note)
        engine.apply(live, AbortRequested("c-1", ""), Cause("AbortRequested", "c-1", "me"))
        if not is_durable:
            # An earlier batch is written only now.
            engine.waiters.changed("e-1", ended=True)
        engine.committer.notify()
        (answer,) = await waiting
        assert answer["status"] == "ABORTED"
        assert late == ([] if is_durable else [live.partition])
