"""Tests of `flow.testing.harness`: flows in unit tests."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flow import ExecutionFailed, Flow, RetryPolicy, Step, StepContext, Workflow
from flow.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DeadlineExceeded,
    InvalidName,
    InvalidOption,
)
from flow.ports import Commit, CommitResult
from flow.testing import NEVER, FlowHarness
from store.memory import MemoryStore
from tests.flow.runtime.worlds import RETRY, chain, single, stub_chain


def make() -> tuple[Flow, Workflow[Any]]:
    """Return a flow whose URLs do not even go together, with a step of its own."""
    app = Flow("shop", broker="unix:///nowhere.sock", store="postgresql://nowhere/shop")

    @app.step
    def double(number: int) -> int:
        return number * 2

    return app, app.workflow("w", double, output=double)


async def test_the_flow_is_left_as_it_was() -> None:
    """A flow runs in memory whatever its URLs are, and is as before afterwards."""
    app, workflow = make()
    settings, endpoints = app.settings, app.functions.endpoints
    for _ in range(2):
        async with FlowHarness(app) as test:
            assert await workflow.run(4) == 8
            assert [call.input for call in test.calls("shop.double")] == [4]
            # Nothing is left of the time before.
            assert len(await app.executions.list()) == 1
    assert app.settings is settings
    assert app.functions.endpoints is endpoints
    assert app.host is None
    with pytest.raises(ConfigurationError, match="shared by several"):
        await app.__aenter__()


async def test_an_error_leaves_the_block() -> None:
    """An error of the test leaves the block as it is, and the flow as it was."""
    app, workflow = make()
    settings = app.settings
    harness = FlowHarness(app)

    async def break_off() -> None:
        async with harness as test:
            test.stub("shop.double", NEVER)
            await workflow.execute(4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    assert app.settings is settings
    assert harness.clock.waiting == 0


async def test_a_stub_replaces_code() -> None:
    """A stub answers in place of the flow's own code, from the next call on."""
    app, workflow = make()
    harness = FlowHarness(app)
    harness.stub("shop.double", 1)
    async with harness as test:
        assert await workflow.run(4) == 1

        def treble(number: int) -> int:
            return number * 3

        test.stub("shop.double", treble)
        assert await workflow.run(4) == 12
        assert len(test.calls("shop.double")) == 2
        with pytest.raises(InvalidOption, match="it needs an answer"):
            test.stub("shop.double", [])
        with pytest.raises(InvalidName):
            test.stub("double", 1)
    async with FlowHarness(app):
        assert await workflow.run(4) == 8


async def test_a_stub_serves_what_nobody_serves() -> None:
    """Endpoints of other services, even of one that the flow serves in part, can be stubbed."""
    app = Flow("shop", broker="amqp://nowhere")

    @app.service("pay").endpoint
    def charge(total: int) -> int:
        return total

    steps: list[Step[Any]] = [Step.call(f"pay.{name}") for name in ("charge", "refund", "check")]
    workflow = app.workflow("w", *steps)
    async with FlowHarness(app) as test:
        test.stub("pay.refund", "refunded")
        test.stub("pay.check", "checked")
        result = {"charge": 5, "refund": "refunded", "check": "checked"}
        for _ in range(10):
            assert await workflow.run(5) == result
        assert await app.call("pay.refund") == "refunded"
        test.stub("pay.late", "late")
        assert await app.call("pay.late") == "late"
        assert test.clock.monotonic() == 0


async def test_the_same_seed_does_the_same() -> None:
    """Ids, jitter and the order of everything follow from the seed."""

    async def play(seed: int) -> list[object]:
        app, workflow = chain(retry=RetryPolicy(max_attempts=5, jitter=1.0))
        async with FlowHarness(app, seed=seed) as test:
            stub_chain(test)
            test.stub("work.s2", [ConnectionError(), ConnectionError(), ConnectionError(), 2])
            await asyncio.gather(*(workflow.run(n) for n in range(5)))
            return [test.clock.monotonic(), test.calls("work.s1"), test.calls("work.s2")]

    assert await play(1) == await play(1)
    assert await play(1) != await play(2)


async def test_time_goes_by_as_it_is_told() -> None:
    """`advance` lets everything happen that becomes due, in order, and nothing else."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), ConnectionError(), 1])
        execution = await workflow.execute()
        await test.settle()
        for seconds, attempts in ((0.5, 1), (0.5, 2), (1.9, 2), (0.1, 3)):
            await test.advance(seconds)
            assert len(test.calls("work.s1")) == attempts
        assert test.clock.monotonic() == 3
        assert await execution.result() == 1


async def test_time_can_be_kept_from_moving() -> None:
    """With `automatic` off nothing but `advance` moves time, whoever waits."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.automatic = False
        test.stub("work.s1", [ConnectionError(), 1])
        running = asyncio.gather(workflow.run())
        await test.advance(0.9)
        assert not running.done()
        test.automatic = True
        assert test.automatic
        (result,) = await running
        assert result == 1
        assert test.clock.monotonic() == 1


async def test_handlers_of_the_outside_world_are_waited_for() -> None:
    """While a handler awaits the outside world time stands, so that nothing runs out."""
    app, workflow = single(timeout=5)
    async with FlowHarness(app) as test:

        async def work() -> str:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, lambda: "done")

        test.stub("work.s1", work)
        assert await workflow.run() == "done"
        assert test.clock.monotonic() == 0


async def test_handlers_may_ask_the_flow() -> None:
    """A handler that runs a workflow of its own lets time pass for that."""
    app, inner = single(retry=RETRY)
    outer = app.workflow("outer", Step.call("work.outer"))
    async with FlowHarness(app) as test:

        async def ask() -> Any:
            return await inner.run()

        test.stub("work.outer", ask)
        test.stub("work.s1", [ConnectionError(), 7])
        assert await outer.run() == {"outer": 7}
        assert test.clock.monotonic() == 1


async def test_handlers_can_run_in_threads() -> None:
    """Synchronous handlers run where they are called, or in real threads if a test wants that."""
    for threads in (False, True):
        app = Flow("shop", broker="memory://", store="memory://")

        @app.step
        def where() -> int:
            return threading.get_ident()

        workflow = app.workflow("w", where, output=where)
        async with FlowHarness(app, threads=threads):
            assert (await workflow.run() != threading.get_ident()) is threads


async def test_nobody_waits_for_ever() -> None:
    """When only time passes and nothing happens, whoever waits is told what is missing."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        with pytest.raises(DeadlineExceeded, match=r"nobody serves 'work\.s1': stub"):
            await workflow.run(id="e-1")
        test.stub("work.s1", 1)
        assert await workflow.run(id="e-1") == 1


async def test_a_crash_is_sudden() -> None:
    """After a crash nothing answers, and after a restart everything does."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", ValueError())
        with pytest.raises(ExecutionFailed):
            await workflow.run(id="e-0")
        test.crash()
        with pytest.raises(BrokerUnavailable):
            await workflow.run()
        test.crash()
        await test.restart()
        test.stub("work.s2", 2)
        assert await workflow.run(id="e-1") == 3
        await test.restart()
        assert await workflow.run(id="e-1") == 3
        rows = await app.executions.list()
        assert [row["id"] for row in rows] == ["e-1", "e-0"]


async def test_it_can_end_while_it_is_down() -> None:
    """A block can be left after a crash, without a restart."""
    app, _workflow = make()
    async with FlowHarness(app) as test:
        test.crash(broker=True)
    assert app.host is None
    with pytest.raises(ConfigurationError, match="not running"):
        _ = test._host


async def test_a_flow_that_runs_is_refused() -> None:
    """A flow that is running cannot be put into a harness, and goes on as it is."""
    app, workflow = make()
    async with FlowHarness(app) as test:
        with pytest.raises(ConfigurationError, match="running already"):
            await FlowHarness(app).__aenter__()
        await test.restart()
        assert await workflow.run(4) == 8


async def test_a_part_that_fails_fails_the_test() -> None:
    """An unexpected error inside of the flow leaves the block, instead of a test that hangs."""

    class Broken(MemoryStore):
        """A store with a bug."""

        async def commit(self, commit: Commit) -> CommitResult:
            """Fail."""
            raise ZeroDivisionError

    app, workflow = make()

    async def run() -> None:
        async with FlowHarness(app, store=lambda clock: Broken(clock.now_ms)):
            await workflow.run(4)

    with pytest.raises(ZeroDivisionError):
        await run()
    assert app.host is None


async def test_steps_of_every_kind_can_be_tested() -> None:
    """Long steps, steps that run at most once, and effects that happen once need no servers."""
    app = Flow("kinds", broker="memory://", store="memory://")
    effects: list[object] = []

    @app.step(heartbeat=10, timeout=86_400)
    async def wait(days: int) -> int:
        await test.sleep(3_600)
        return days

    @app.step(requires=[wait], at_most_once=True)
    async def charge(wait: int) -> int:
        return wait + 1

    @app.step(requires=[charge], exactly_once=True)
    async def book(charge: int, context: StepContext) -> int:
        effects.append(context.transaction)
        return charge + 1

    workflow = app.workflow("w", book, charge, wait, output=book)
    async with FlowHarness(app) as test:
        assert await workflow.run(5) == 7
        assert len(effects) == 1
        for name in ("wait", "charge", "book"):
            assert len(test.calls(f"kinds.{name}")) == 1
    assert app.inbox is None
