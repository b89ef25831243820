"""Tests of `orchestrator.orchestrator`: executions as they run, through the harness."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flow import (
    ExecutionFailed,
    Fail,
    Flow,
    Message,
    Retry,
    RetryPolicy,
    Skip,
    Status,
    Step,
    StepContext,
    workflow_input,
)
from flow.errors import FlowError, InvalidInput, UnknownExecution
from flow.runtime.orchestrator.batch import Batch
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import (
    RETRY,
    UnsteadyStore,
    away,
    chain,
    echo,
    single,
    statuses,
    stub_chain,
)


async def test_steps_run_one_after_the_other() -> None:
    """A step goes out when the one that it requires has succeeded."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        execution = await workflow.execute({"n": 1}, id="e-1")
        assert await execution.result() == 3
        assert await execution.status() is Status.SUCCESS
        assert [len(test.calls(f"work.s{n}")) for n in (1, 2, 3)] == [1, 1, 1]
        assert test.calls("work.s2")[0].input == {"n": 1}
        assert test.clock.monotonic() == 0


async def test_a_level_runs_in_parallel() -> None:
    """Steps that require nothing of each other are out at the same time."""
    app = Flow("world", broker="memory://", store="memory://")
    steps: list[Step[Any]] = [Step.call(f"work.s{n}") for n in range(5)]
    join: Step[Any] = Step.call("work.join", requires=steps)
    workflow = app.workflow("fan", *steps, join)
    meeting = asyncio.Barrier(5)

    async def meet() -> str:
        await meeting.wait()
        return "met"

    async with FlowHarness(app) as test:
        for step in steps:
            test.stub(step.target, meet)
        test.stub("work.join", "joined")
        assert await workflow.run() == {"join": "joined"}


async def test_a_retry_waits_its_backoff() -> None:
    """A failed attempt is followed by another after the policy's delay, in virtual time."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError("no"), ConnectionError("no"), "done"])
        assert await workflow.run() == "done"
        assert [call.attempt for call in test.calls("work.s1")] == [1, 2, 3]
        assert len({call.idempotency_key for call in test.calls("work.s1")}) == 1
        assert test.clock.monotonic() == 3.0


async def test_an_error_without_a_policy_is_final() -> None:
    """Without a policy the first error of a handler fails the execution, which names it."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", ValueError("not like this"))
        with pytest.raises(ExecutionFailed, match="not like this") as caught:
            await workflow.run()
        assert statuses(dict(caught.value.report)) == {
            "s1": "SUCCESS",
            "s2": "FAILURE",
            "s3": "PENDING",
        }
        assert test.calls("work.s3") == []


async def test_verdicts_decide() -> None:
    """Skip skips, Fail is final whatever the policy says, and Retry asks for another attempt."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", Skip("nothing to do"))
        execution = await workflow.execute()
        assert await execution.result() is None
        step = await execution.step("s1")
        assert (step["status"], step["reason"]) == ("SKIPPED", "nothing to do")
        test.stub("work.s1", Fail("never"))
        with pytest.raises(ExecutionFailed, match="never"):
            await workflow.run()
        assert len(test.calls("work.s1")) == 2
        before = test.clock.monotonic()
        test.stub("work.s1", [Retry(after=42), "done"])
        assert await workflow.run() == "done"
        assert test.clock.monotonic() - before == 42


async def test_retry_works_without_a_policy() -> None:
    """A handler that raises Retry is tried again although its step has no policy."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", [Retry(after=1), Retry(after=1), 7])
        assert await workflow.run() == 7
        assert test.clock.monotonic() == 2


async def test_a_non_retryable_type_is_final() -> None:
    """A policy can name the errors that another attempt cannot mend."""
    app, workflow = single(retry=RetryPolicy(max_attempts=5, non_retryable=("KeyError",)))
    async with FlowHarness(app) as test:
        test.stub("work.s1", KeyError("x"))
        with pytest.raises(ExecutionFailed):
            await workflow.run()
        assert len(test.calls("work.s1")) == 1


async def test_a_fallback_stands_in() -> None:
    """The output of a fallback is that of the step that it stands in for."""
    app = Flow("world", broker="memory://", store="memory://")
    plan_b: Step[Any] = Step.call("work.b")
    plan_a: Step[Any] = Step.call("work.a", fallback=plan_b)
    after: Step[Any] = Step.call("work.after", input={"got": plan_a.output})
    workflow = app.workflow("w", plan_a, plan_b, after, output=after)
    async with FlowHarness(app) as test:
        test.stub("work.a", [RuntimeError(), "a"])
        test.stub("work.b", "b")
        test.stub("work.after", echo)
        assert await workflow.run() == {"got": "b"}
        assert await workflow.run() == {"got": "a"}
        assert len(test.calls("work.b")) == 1


async def test_an_optional_step_may_fail() -> None:
    """The execution goes on without an optional step, whose output is null."""
    app = Flow("world", broker="memory://", store="memory://")
    nice: Step[Any] = Step.call("work.nice", optional=True)
    last: Step[Any] = Step.call("work.last", input={"nice": nice.output})
    workflow = app.workflow("w", nice, last, output=last)
    async with FlowHarness(app) as test:
        test.stub("work.nice", RuntimeError("no"))
        test.stub("work.last", echo)
        assert await workflow.run() == {"nice": None}


async def test_a_sub_workflow_is_a_step() -> None:
    """A workflow inside of another one runs as one step of it, and gives its result."""
    app = Flow("world", broker="memory://", store="memory://")
    inner_1: Step[Any] = Step.call("work.i1")
    inner_2: Step[Any] = Step.call("work.i2", input={"one": inner_1.output, "x": workflow_input.x})
    inner = app.workflow("inner", inner_1, inner_2, output=inner_2)
    first: Step[Any] = Step.call("work.first")
    sub: Step[Any] = Step.sub_workflow(inner.definition, input={"x": first.output})
    outer = app.workflow("outer", first, sub, output=sub)
    async with FlowHarness(app) as test:
        test.stub("work.first", 5)
        test.stub("work.i1", 1)
        test.stub("work.i2", echo)
        execution = await outer.execute()
        assert await execution.result() == {"one": 1, "x": 5}
        step = await execution.step("inner/i2")
        assert step["request"] == {"one": 1, "x": 5}
        test.stub("work.i2", ValueError("inside"))
        with pytest.raises(ExecutionFailed, match="inside"):
            await outer.run()


async def test_hooks_run_at_the_end() -> None:
    """The hook for the outcome runs with it, and the one for both after either."""
    app = Flow("world", broker="memory://", store="memory://")
    step: Step[Any] = Step.call("work.s1")
    workflow = app.workflow(
        "w",
        step,
        output=step,
        on_success=Step.call("work.good"),
        on_failure=Step.call("work.bad"),
        on_end=Step.call("work.end"),
    )
    async with FlowHarness(app) as test:
        test.stub("work.s1", [1, ValueError("no")])
        for name in ("good", "bad", "end"):
            test.stub(f"work.{name}", None)
        assert await workflow.run() == 1
        with pytest.raises(ExecutionFailed):
            await workflow.run()
        await test.settle()
        assert [len(test.calls(f"work.{name}")) for name in ("good", "bad", "end")] == [1, 1, 2]
        assert test.calls("work.good")[0].input["status"] == "SUCCESS"
        assert test.calls("work.bad")[0].input["status"] == "FAILURE"


async def test_concurrency_is_bounded() -> None:
    """At most so many steps of a target are out at the same time."""
    app = Flow("world", broker="memory://", store="memory://")
    steps: list[Step[Any]] = [Step.call("work.same", id=f"s{n}", concurrency=2) for n in range(7)]
    workflow = app.workflow("w", *steps)
    present = peak = 0

    async with FlowHarness(app) as test:

        async def work() -> None:
            nonlocal present, peak
            present += 1
            peak = max(peak, present)
            await test.sleep(1)
            present -= 1

        test.stub("work.same", work)
        await workflow.run()
        assert peak == 2
        assert test.clock.monotonic() == 4


async def test_a_barrier_keeps_levels_apart() -> None:
    """With a barrier a level begins when the one before it is through."""
    app = Flow("world", broker="memory://", store="memory://")
    slow: Step[Any] = Step.call("work.slow")
    quick: Step[Any] = Step.call("work.quick")
    after: Step[Any] = Step.call("work.after", requires=[quick])
    workflow = app.workflow("w", slow, quick, after)
    async with FlowHarness(app) as test:

        async def wait() -> None:
            await test.sleep(10)

        test.stub("work.slow", wait)
        test.stub("work.quick", 1)
        test.stub("work.after", test.clock.monotonic)
        assert (await workflow.run())["after"] == 0
        start = test.clock.monotonic()
        assert (await workflow.run(barrier=True))["after"] == start + 10


async def test_a_publish_step_needs_nobody() -> None:
    """A message is published to its topic, and its step succeeds whoever listens."""
    app = Flow("world", broker="memory://", store="memory://")
    step: Step[Any] = Step.call("work.s1")
    told: Step[Any] = Step.publish("orders.paid", input={"receipt": step.output})
    workflow = app.workflow("w", step, told)
    async with FlowHarness(app) as test:
        test.stub("work.s1", 9)
        execution = await workflow.execute(headers={"tenant": "t1"})
        await execution.result()
        (message,) = test.published("orders.paid")
        assert message.json() == {"receipt": 9}
        assert message.headers["tenant"] == "t1"
        assert message.headers["flow-key"] == f"{execution.id}:steps/orders.paid"
        assert (await execution.steps())["orders.paid"] is Status.SUCCESS


async def test_headers_travel() -> None:
    """The metadata of a start reaches every handler, and that of a response is kept."""
    app, workflow = single()
    async with FlowHarness(app) as test:

        async def answer(context: StepContext) -> Message:
            return Message.of("ok", {"shard": context.headers["tenant"] + "-7"})

        test.stub("work.s1", answer)
        execution = await workflow.execute(headers={"tenant": "t1"})
        assert await execution.result() == "ok"
        assert test.calls("work.s1")[0].headers == {"tenant": "t1"}
        assert (await execution.step("s1"))["headers"] == {"shard": "t1-7"}


async def test_a_heartbeat_shows_progress() -> None:
    """What a handler says of its progress is shown while it is at it."""
    app, workflow = single(timeout=600)
    done = asyncio.Event()

    async def work(context: StepContext) -> None:
        context.heartbeat({"done": 3})
        await done.wait()

    async with FlowHarness(app) as test:
        test.stub("work.s1", work)
        execution = await workflow.execute()
        await test.settle()
        (step,) = (await execution.describe())["steps"]
        assert step["progress"] == {"done": 3}
        done.set()
        await execution.result()


async def test_a_step_that_takes_too_long_fails() -> None:
    """The time of an attempt is counted by its worker, and spends an attempt."""
    app, workflow = single(timeout=5, retry=RetryPolicy(max_attempts=2, initial=1, jitter=0))
    async with FlowHarness(app) as test:
        test.stub("work.s1", [NEVER, "done"])
        assert await workflow.run() == "done"
        assert test.clock.monotonic() == 6
        test.stub("work.s1", NEVER)
        with pytest.raises(ExecutionFailed, match="no answer within 5 s"):
            await workflow.run()


async def test_an_execution_that_takes_too_long_fails() -> None:
    """The deadline of an execution ends it, and cancels what is out."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", NEVER)
        with pytest.raises(ExecutionFailed) as caught:
            await workflow.run(timeout=30)
        assert test.clock.monotonic() == 30
        assert statuses(dict(caught.value.report))["s2"] == "ABORTED"


async def test_a_step_has_to_begin_in_time() -> None:
    """With start_within an attempt that no worker begins with fails."""
    app, workflow = single(start_within=20)
    async with FlowHarness(app) as test:
        with pytest.raises(ExecutionFailed, match="start_within"):
            await workflow.run()
        assert test.clock.monotonic() == 20
        test.stub("work.s1", "now")
        assert await workflow.run() == "now"


async def test_a_loss_while_loading_forgets_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered although its execution is forgotten while another one is loaded."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        execution = await workflow.execute(id="e-1")
        await test.settle()
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        load = engine.store.load

        async def lose(ids: Sequence[str]) -> Any:
            stored = await load(ids)
            if "nobody" in ids:
                monkeypatch.undo()
                engine.failed(Batch(), again=True)
            return stored

        monkeypatch.setattr(engine.store, "load", lose)
        absent = asyncio.gather(app.executions.get("nobody").status(), return_exceptions=True)
        assert await execution.suspend() is Status.SUSPENDING
        (error,) = await absent
        assert isinstance(error, UnknownExecution)
        assert engine.counters["lost batches"] == 1


async def test_an_absent_store_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While executions cannot be loaded requests wait, and nothing ends."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        execution = await workflow.execute(id="e-1")
        await execution.result()
        assert app.host is not None
        engine = app.host.engine
        assert engine is not None
        faults, load = [away(), away(), away()], engine.store.load

        async def fail(ids: Sequence[str]) -> Any:
            if faults:
                raise faults.pop()
            return await load(ids)

        monkeypatch.setattr(engine.store, "load", fail)
        engine.residents.clear()
        assert await execution.status() is Status.SUCCESS
        # Three pauses of half a second to a whole one.
        assert 1.5 <= test.clock.monotonic() <= 3
        assert engine.trouble.present.failures == 3


async def test_an_id_that_no_execution_can_have_stops_nobody() -> None:
    """A store that cannot even be asked about an id is not asked; whoever asks is refused."""

    class Strict(UnsteadyStore):
        """A store that knows no text with a null character in it, as PostgreSQL does not."""

        async def load(self, executions: Sequence[str]) -> Any:
            """Load executions."""
            if any("\0" in name for name in executions):
                raise InvalidInput("a value", "it holds a null character")
            return await super().load(executions)

    app, workflow = single()
    async with FlowHarness(app, store=Strict) as test:
        test.stub("work.s1", 5)
        for verb in ("result", "start", "suspend"):
            with pytest.raises(FlowError):
                await app.client.ask(verb, {"workflow": "single"}, "a\0b")
        assert await workflow.run() == 5
