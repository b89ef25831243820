"""Tests of `orchestrator.starts`: how executions begin, through the harness."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow import ExecutionFailed, Flow, Status, Step
from flow.errors import (
    CorruptRecord,
    ExecutionConflict,
    InvalidInput,
    InvalidName,
    InvalidOption,
    MissingResults,
    RequestError,
    TooLarge,
    UnknownExecution,
    UnknownStep,
    UnknownWorkflow,
)
from flow.ports import JournalRecord
from flow.testing import FlowHarness
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.worlds import chain, echo, single, stub_chain


async def test_the_same_id_is_the_same_execution() -> None:
    """A start that is repeated finds the execution, whether it runs or has ended."""
    app, workflow = single()
    async with FlowHarness(app) as test:

        async def work() -> int:
            await test.sleep(5)
            return 1

        test.stub("work.s1", work)
        results = await asyncio.gather(*(workflow.run({"n": 1}, id="e-1") for _ in range(5)))
        assert results == [1] * 5
        assert await workflow.run({"n": 1}, id="e-1") == 1
        assert len(test.calls("work.s1")) == 1


async def test_inputs_are_compared_as_values() -> None:
    """The order of fields and the way a number is written make no other input."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await workflow.run({"a": 1, "b": [1.0]}, id="e-1")
        assert await workflow.run({"b": [1.0], "a": 1}, id="e-1") == 1
        with pytest.raises(ExecutionConflict, match="another input") as caught:
            await workflow.run({"a": 2, "b": [1.0]}, id="e-1")
        assert caught.value.execution == "e-1"


async def test_the_same_id_means_the_same_start() -> None:
    """An id that belongs to another workflow, or other options, is refused."""
    app, workflow = single()
    other = app.workflow("other", Step.call("work.s1"))
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await workflow.run(id="e-1")
        with pytest.raises(ExecutionConflict, match="another workflow"):
            await other.run(id="e-1")
        with pytest.raises(ExecutionConflict, match="other start options"):
            await workflow.run(id="e-1", timeout=5)


async def test_a_start_at_a_step_needs_results() -> None:
    """A start in the middle runs with supplied results, and says which are missing."""
    app = Flow("world", broker="memory://", store="memory://")
    one: Step[Any] = Step.call("work.s1")
    two: Step[Any] = Step.call("work.s2", input={"one": one.output})
    three: Step[Any] = Step.call("work.s3", input={"two": two.output})
    workflow = app.workflow("w", one, two, three, output=three)
    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s2", echo)
        with pytest.raises(MissingResults, match="'s1' \\(for 's2'\\)"):
            await workflow.run(start="s2")
        execution = await workflow.execute(start=two, results={"s1": 10})
        assert await execution.result() == 3
        assert test.calls("work.s1") == []
        assert test.calls("work.s2")[0].input == {"one": 10}
        assert (await execution.steps())["s1"] is Status.SKIPPED
        with pytest.raises(UnknownStep, match="did you mean 's1'"):
            await workflow.run(start="s2", results={"s11": 1})
        with pytest.raises(UnknownStep):
            await workflow.run(start="s22")


async def test_results_come_from_an_earlier_execution() -> None:
    """The results of the steps that do not run are taken from an execution that has them."""
    app = Flow("world", broker="memory://", store="memory://")
    one: Step[Any] = Step.call("work.s1")
    two: Step[Any] = Step.call("work.s2", input={"one": one.output})
    workflow = app.workflow("w", one, two, output=two)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [10, 20])
        test.stub("work.s2", [ValueError("no"), "ok"])
        with pytest.raises(ExecutionFailed):
            await workflow.run(id="first")
        second = await workflow.execute(start="s2", results_from="first", id="second")
        assert await second.result() == "ok"
        assert test.calls("work.s2")[1].input == {"one": 10}
        assert len(test.calls("work.s1")) == 1
        # The same start again, which does not look for the results any more.
        assert await workflow.run(start="s2", results_from="first", id="second") == "ok"
        with pytest.raises(UnknownExecution, match="nobody"):
            await workflow.run(start="s2", results_from="nobody")
        supplied = {"s1": 99}
        await workflow.run(start="s2", results_from="first", results=supplied)
        assert test.calls("work.s2")[-1].input == {"one": 99}


async def test_results_that_were_taken_back_are_none() -> None:
    """What was undone is no result any more; what had nothing to undo is one still."""
    app = Flow("world", broker="memory://", store="memory://")
    kept: Step[Any] = Step.call("work.kept")
    gone: Step[Any] = Step.call("work.gone", undo="work.back")
    last: Step[Any] = Step.call("work.last", input={"a": kept.output, "b": gone.output})
    workflow = app.workflow("w", kept, gone, last, on_error="compensate")
    async with FlowHarness(app) as test:
        for name, answer in (("kept", 1), ("gone", 2), ("back", None), ("last", ValueError("no"))):
            test.stub(f"work.{name}", answer)
        with pytest.raises(ExecutionFailed):
            await workflow.run(id="first")
        with pytest.raises(MissingResults, match="'gone'") as caught:
            await workflow.run(start="last", results_from="first")
        assert set(caught.value.needed) == {"gone"}


async def test_reverse_runs_from_the_leaves() -> None:
    """In reverse a step goes out when those that require it are done."""
    app, workflow = chain()
    order: list[str] = []
    async with FlowHarness(app) as test:
        for number in (1, 2, 3):
            name = f"s{number}"
            test.stub(f"work.{name}", lambda name=name: order.append(name))
        await workflow.run(reverse=True)
        assert order == ["s3", "s2", "s1"]


async def test_options_shape_one_execution() -> None:
    """Steps can be skipped, made optional, retried and replaced for one execution only."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        execution = await workflow.execute(skip=["s2"])
        assert await execution.result() == 3
        assert (await execution.steps())["s2"] is Status.SKIPPED
        test.stub("work.s2", [ValueError(), ValueError(), ValueError(), 2])
        assert await workflow.run(optional=["s2"]) == 3
        assert await workflow.run(max_attempts={"s2": 3}) == 3
        assert len(test.calls("work.s2")) == 4
        assert await workflow.run(output="s2") == 2
        with pytest.raises(InvalidOption, match="timeout"):
            await workflow.run(timeout=0)


async def test_what_is_too_large_is_refused() -> None:
    """An input, a result or headers above their caps are refused, and named."""
    app, workflow = chain()
    huge = "x" * 300_000
    async with FlowHarness(app) as test:
        stub_chain(test)
        with pytest.raises(TooLarge, match="the input"):
            await workflow.run(huge)
        with pytest.raises(TooLarge, match="the result of step 's1'"):
            await workflow.run(start="s2", results={"s1": huge})
        with pytest.raises(TooLarge, match="headers"):
            await workflow.run(headers={"a": "x" * 20_000})
        test.stub("work.s2", huge)
        with pytest.raises(ExecutionFailed, match="at most 262,144 are allowed"):
            await workflow.run()
        assert len(test.calls("work.s2")) == 1


async def test_what_is_wrong_is_refused() -> None:
    """An unknown workflow, a bad id and a system header are refused with what would be right."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        with pytest.raises(UnknownWorkflow, match="did you mean 'single'"):
            await app.client.ask("start", {"workflow": "singel"}, "e-1")
        with pytest.raises(InvalidName, match="execution 'a b'"):
            await workflow.run(id="a b")
        with pytest.raises(InvalidName, match="flow-path"):
            await workflow.run(headers={"flow-path": "x"})
        with pytest.raises(InvalidInput, match="results: it is not an object"):
            await app.client.ask("start", {"workflow": "single", "results": [1]}, "e-1")
        assert await app.executions.list() == []


async def test_an_execution_keeps_its_definition() -> None:
    """An execution goes on with the definition that it began with, whatever is saved later."""
    app, workflow = chain()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app) as test:
        stub_chain(test)
        test.stub("work.s1", wait)
        before = await workflow.execute()
        await test.settle()
        old = workflow.hash
        changed = await app.workflows.create("chain", Step.call("work.s1"))
        after = await changed.execute()
        gate.set()
        assert await before.result() == 3
        assert await after.result() == {"s1": 1}
        reports = [await each.describe() for each in (before, after)]
        assert [report["definition"] for report in reports] == [old, changed.hash]
        # It is loaded from the store too, where the old definition is not the current one.
        await test.restart()
        assert await before.result() == 3


async def test_labels_come_from_both() -> None:
    """The labels of a workflow go with every execution, and those of a start win."""
    app = Flow("world", broker="memory://", store="memory://")
    labels = {"team": "a", "tier": "1"}
    workflow = app.workflow("w", Step.call("work.s1"), labels=labels)
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        execution = await workflow.execute(labels={"tier": "2"})
        await execution.result()
        assert (await execution.describe())["labels"] == {"team": "a", "tier": "2"}


async def test_an_id_that_cannot_be_loaded_is_not_free() -> None:
    """A start under the id of an execution that cannot be loaded is refused, and costs nobody."""
    app, workflow = single()
    database = MemoryDatabase()
    async with FlowHarness(app, store=lambda clock: MemoryStore(clock.now_ms, database)) as test:
        test.stub("work.s1", 1)
        await workflow.run(id="e-1")
        row = database.row("e-1")
        assert row is not None
        row.records[0] = JournalRecord(1, b"{", is_snapshot=True)
        await test.restart()
        with pytest.raises(CorruptRecord, match="it cannot be loaded"):
            await workflow.execute(id="e-1")
        assert await workflow.run(id="e-2") == 1
        assert app.host is not None
        assert app.host.engine is not None
        assert app.host.engine.counters["lost batches"] == 0


async def test_strange_options_never_stop_the_others() -> None:
    """Options that nobody can read are refused, also with results of an earlier execution."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await workflow.run(id="e-1")
        start = {"workflow": "single", "input": None, "results_from": "e-1"}
        with pytest.raises(InvalidInput, match="options"):
            await app.client.ask("start", {**start, "options": [1]}, "e-2")
        with pytest.raises(RequestError, match="the request failed"):
            await app.client.ask("start", {**start, "options": {"skip": 3}}, "e-2")
        assert await workflow.run(id="e-3") == 1
