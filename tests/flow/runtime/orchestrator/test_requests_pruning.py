"""Tests of `orchestrator.requests`: what is said of executions that were pruned."""

from __future__ import annotations

from typing import Any

import pytest

from flow import ExecutionFailed, Status
from flow.errors import ExecutionConflict, ExecutionPruned, InvalidOption, UnknownExecution
from flow.executions import PruneResult
from flow.runtime.orchestrator import lookups
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.clusters import Cluster
from tests.flow.runtime.plain import plain_client
from tests.flow.runtime.worlds import echo, single

DAY_S = 300
"""A short day: leases are renewed every few seconds of it."""


async def test_what_ended_long_ago_is_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old executions go, page by page; what is young or runs stays, and ids are free in the end."""
    monkeypatch.setattr(lookups, "PRUNE_PAGE", 3)
    app, workflow = single(timeout=100 * DAY_S)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [*range(10), NEVER, 11])
        for number in range(10):
            await workflow.run(number, id=f"e{number}")
        await workflow.execute(10, id="running")
        await test.advance(2 * DAY_S)
        await workflow.run(11, id="young")
        assert await app.executions.prune(older_than=DAY_S) == PruneResult(10, 0)
        assert [row["id"] for row in await app.executions.list()] == ["young", "running"]
        assert await app.executions.prune(older_than=DAY_S) == PruneResult(0, 0)
        await test.advance(5 * DAY_S)
        assert await app.executions.prune(DAY_S, dedupe_for=20 * DAY_S) == PruneResult(1, 0)
        assert await app.executions.prune(DAY_S, dedupe_for=5 * DAY_S) == PruneResult(0, 10)
        test.stub("work.s1", "again")
        assert await workflow.run(77, id="e1") == "again"


async def test_the_same_start_is_told_how_it_ended() -> None:
    """A start that comes again after the prune begins nothing, and its result is gone."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", echo)
        await workflow.run({"a": 1, "b": 2.0}, id="e-1")
        await test.advance(10)
        await app.executions.prune(older_than=1)
        await test.restart()
        execution = await workflow.execute({"b": 2, "a": 1}, id="e-1")
        looks, changes = (execution.report, execution.describe), (execution.abort, execution.delete)
        for ask in (execution.result, *looks, *changes):
            with pytest.raises(ExecutionPruned, match="ended in SUCCESS"):
                await ask()
        with pytest.raises(ExecutionPruned) as caught:
            await workflow.run({"b": 2, "a": 1}, id="e-1")
        assert caught.value.ended_ms > 0
        assert len(test.calls("work.s1")) == 1


async def test_another_start_is_refused() -> None:
    """The id of a pruned execution cannot be used for something else."""
    app, workflow = single()
    other = app.workflow("other", *[app.step(echo)])
    async with FlowHarness(app) as test:
        test.stub("work.s1", echo)
        await workflow.run(1, id="e-1")
        await test.advance(10)
        await app.executions.prune(older_than=1)
        await test.restart()
        with pytest.raises(ExecutionConflict, match="another input"):
            await workflow.execute(2, id="e-1")
        with pytest.raises(ExecutionConflict, match="another workflow"):
            await other.execute(1, id="e-1")
        with pytest.raises(ExecutionPruned):
            await workflow.run(1, id="e-2", results_from="e-1", start="s1")


async def test_a_failure_that_was_pruned_is_not_resumed() -> None:
    """Whoever still has it in memory finds out when it writes, and nothing comes back to life."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", ValueError("no"))
        with pytest.raises(ExecutionFailed):
            await workflow.run(1, id="e-1")
        await test.advance(10)
        assert await app.executions.get("e-1").status() is Status.FAILURE
        await app.executions.prune(older_than=1)
        with pytest.raises(ExecutionPruned, match="ended in FAILURE"):
            await app.executions.get("e-1").resume()
        assert await app.executions.list() == []


async def test_a_trigger_of_a_pruned_execution_is_answered() -> None:
    """A duplicate that comes very late is told how it ended, and starts nothing."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        await client.trigger("single", b"1", {"flow-id": "e-1"})
        await test.advance(10)
        await app.executions.prune(older_than=1)
        await test.restart()
        first = await client.trigger("single", b"1", {"flow-id": "e-1"})
        second = await client.trigger("single", b"1", {"flow-id": "e-1", "flow-wait": "result"})
        await test.settle()
        assert client.answers_to(first) == [("success", {"execution": "e-1", "status": "SUCCESS"})]
        ((outcome, answer),) = client.answers_to(second)
        assert (outcome, answer["type"]) == ("failure", "ExecutionPruned")
        assert len(test.calls("work.s1")) == 1


async def test_odd_prunes_are_refused() -> None:
    """A prune of nothing in particular is refused, and deletes nothing."""
    app, workflow = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        await workflow.run(1, id="e-1")
        with pytest.raises(InvalidOption, match="older_than"):
            await app.executions.prune(older_than=-1)
        odd: list[dict[str, Any]] = [{}, *({"older_than_s": each} for each in (-5, "x", 1.5))]
        for arguments in odd:
            asked = await client.ask("prune", **arguments)
            await test.settle()
            ((outcome, answer),) = client.answers_to(asked)
            assert (outcome, answer["type"]) == ("failure", "InvalidInput")
        assert len(await app.executions.list()) == 1


async def test_what_was_never_there_is_unknown_still() -> None:
    """An id that nothing is known of is told apart from one that was pruned."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", echo)
        await workflow.run(1, id="e-1")
        await test.advance(10)
        await app.executions.prune(older_than=1)
        await test.restart()
        with pytest.raises(ExecutionPruned):
            await app.executions.get("e-1").describe()
        with pytest.raises(UnknownExecution):
            await app.executions.get("e-2").describe()


async def test_all_owners_forget_what_was_pruned() -> None:
    """Whoever has a pruned execution in memory is told, whoever has pruned it."""
    async with Cluster() as cluster:
        await cluster.start("a", "b", "c")
        await cluster.work()
        await cluster.advance(1)
        executions = await cluster.execute(20)
        await cluster.results(executions)
        await cluster.advance(10)
        pruned = await cluster.until(cluster.app.executions.prune(older_than=2))
        assert pruned == PruneResult(20, 0)
        await cluster.settle()
        for execution in executions:
            with pytest.raises(ExecutionPruned):
                await cluster.until(execution.result())
