"""Tests of `orchestrator.bulk`: one command for many executions, through the harness."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from typing import Any

import pytest

from flow import ExecutionFailed, Flow, Step, Workflow
from flow.errors import InvalidOption, UnknownWorkflow
from flow.executions import BulkResult
from flow.ports import ExecutionQuery
from flow.runtime.orchestrator import bulk
from flow.runtime.orchestrator.bulk import Joint
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.clusters import Cluster
from tests.flow.runtime.plain import plain_client
from tests.flow.runtime.sagas import BACKWARD, NO, stub_trip, trip
from tests.flow.runtime.worlds import echo


def two() -> tuple[Flow, Workflow[Any], Workflow[Any]]:
    """Return a flow with two workflows: one whose steps end, and one whose step never does."""
    app = Flow("world", broker="memory://", store="memory://")
    quick: Step[Any] = Step.call("work.quick")
    slow: Step[Any] = Step.call("work.slow", timeout=10_000)
    return app, app.workflow("quick", quick, output=quick), app.workflow("slow", slow, output=slow)


async def statuses(app: Flow, **chosen: Any) -> Counter[str]:
    """Return how many executions there are in each status."""
    return Counter(row["status"] for row in await app.executions.list(limit=10_000, **chosen))


async def test_all_that_match_are_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of any size reach every execution that matches once, and no other."""
    monkeypatch.setattr(bulk, "PAGE", 7)
    app, quick, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.quick", echo)
        test.stub("work.slow", NEVER)
        for number in range(30):
            await slow.execute(number, id=f"s{number}", labels={"odd": str(number % 2)})
        for number in range(5):
            await quick.run(number, id=f"q{number}")
        result = await app.executions.suspend_all(labels={"odd": "1"}, reason="lunch")
        assert result == BulkResult(15, 15, 0, {}, 0, ())
        assert await statuses(app) == {"SUSPENDING": 15, "RUNNING": 15, "SUCCESS": 5}
        result = await app.executions.suspend_all(workflow="slow")
        assert (result.matched, result.done) == (15, 15)
        history = await app.executions.get("s1").history()
        assert [(event.type, event.reason) for event in history][-1] == (
            "SuspendRequested",
            "lunch",
        )
        result = await app.executions.resume_all()
        assert (result.matched, result.done) == (30, 30)
        result = await app.executions.abort_all(workflow="slow", reason="enough")
        assert (result.matched, result.done) == (30, 30)
        assert await statuses(app) == {"ABORTED": 30, "SUCCESS": 5}


async def test_what_is_refused_is_counted_by_reason() -> None:
    """Executions that cannot obey are counted, and the others obey."""
    app, quick, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.quick", echo)
        test.stub("work.slow", NEVER)
        await quick.run(1, id="q1")
        await quick.run(2, id="q2")
        await slow.execute(3, id="s3")
        result = await app.executions.abort_all(status=["SUCCESS", "RUNNING"])
        assert result == BulkResult(3, 1, 2, {"it is SUCCESS": 2}, 0, ())


async def test_a_page_may_end_with_what_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last execution of a page is gone by the next one, none is passed over."""
    monkeypatch.setattr(bulk, "PAGE", 3)
    app, _, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.slow", NEVER)
        executions = [await slow.execute(number, id=f"s{number}") for number in range(9)]
        assert app.host is not None
        assert app.host.engine is not None
        store: Any = app.host.engine.store
        listing, pages = store.list, count(1)

        async def list_and_delete(query: ExecutionQuery) -> Any:
            if next(pages) == 2:
                for number in (6, 7, 8):
                    await executions[number].abort()
                    await executions[number].delete()
            return await listing(query)

        store.list = list_and_delete
        try:
            await app.executions.suspend_all(workflow="slow")
        finally:
            store.list = listing
        assert await statuses(app) == {"SUSPENDING": 6}


async def test_failures_are_tried_again_on_demand() -> None:
    """Failed executions are resumed only if the filter names them."""
    app, quick, _ = two()
    async with FlowHarness(app) as test:
        test.stub("work.quick", ValueError("no"))
        with pytest.raises(ExecutionFailed):
            await quick.run(1, id="q1")
        assert (await app.executions.resume_all()).matched == 0
        test.stub("work.quick", 5)
        assert (await app.executions.resume_all(status="FAILURE")).done == 1
        assert await app.executions.get("q1").result() == 5


async def test_a_bulk_that_is_asked_again_is_joined() -> None:
    """The same command asked twice is carried out once, and both are told the same."""
    app, _, slow = two()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.slow", NEVER)
        for number in range(20):
            await slow.execute(number, id=f"s{number}")
        arguments: dict[str, Any] = {
            "verb": "suspend",
            "filter": {"workflow": "slow"},
            "command": "c-7",
        }
        first = await client.ask("bulk", **arguments)
        second = await client.ask("bulk", **arguments)
        await test.settle()
        third = await client.ask("bulk", **arguments)
        await test.settle()
        told = [client.answers_to(asked) for asked in (first, second, third)]
        assert told[0] == told[1] == told[2]
        assert told[0][0][1]["done"] == 20
        await app.executions.resume_all()
        arguments["filter"] = {}
        await client.ask("bulk", **arguments)
        await test.settle()
        assert (await statuses(app)) == {"RUNNING": 20}


async def test_a_bulk_that_is_begun_again_repeats_nothing() -> None:
    """Another orchestrator that carries out the same command finds it obeyed."""
    app, _, slow = two()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.slow", NEVER)
        for number in range(10):
            await slow.execute(number, id=f"s{number}")
        arguments: dict[str, Any] = {
            "verb": "suspend",
            "filter": {"workflow": "slow"},
            "command": "c-7",
        }
        await client.ask("bulk", **arguments)
        await test.settle()
        assert (await app.executions.resume_all()).done == 10
        await test.restart()
        asked = await client.ask("bulk", **arguments)
        await test.settle()
        ((_, answer),) = client.answers_to(asked)
        assert (answer["matched"], answer["done"]) == (10, 10)
        assert await statuses(app) == {"RUNNING": 10}


async def test_the_number_of_open_questions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more owners are asked at the same time than the limit says."""
    monkeypatch.setattr(bulk, "IN_FLIGHT", 3)
    app, _, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.slow", NEVER)
        for number in range(20):
            await slow.execute(number, id=f"s{number}")
        assert app.host is not None
        orchestrator = app.host._orchestrator
        assert orchestrator is not None
        asker, open_at_once = orchestrator.asker, set[int]()
        ask = asker.ask

        async def counted(*args: Any) -> Any:
            open_at_once.add(len(asker))
            return await ask(*args)

        asker.ask = counted  # type: ignore[method-assign,assignment]
        assert (await app.executions.suspend_all()).done == 20
        assert max(open_at_once) == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"verb": "dance"}, "InvalidInput"),
        ({"verb": "abort", "filter": [1]}, "InvalidInput"),
        ({"verb": "abort", "filter": {"statuses": ["ODD"]}}, "InvalidOption"),
        ({"verb": "abort", "command": "a b"}, "InvalidName"),
    ],
)
async def test_odd_bulks_are_refused(arguments: dict[str, Any], error: str) -> None:
    """A bulk that makes no sense changes nothing, and says why."""
    app, _, _ = two()
    async with FlowHarness(app) as test, plain_client(test) as client:
        asked = await client.ask("bulk", **arguments)
        await test.settle()
        ((outcome, answer),) = client.answers_to(asked)
        assert (outcome, answer["type"]) == ("failure", error)


async def test_misspelled_filters_are_refused() -> None:
    """A filter that does not exist would match everything, and so it is refused."""
    app, _, _ = two()
    async with FlowHarness(app):
        with pytest.raises(InvalidOption, match="workflow"):
            await app.executions.abort_all(workflwo="slow")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def test_all_orchestrators_take_part() -> None:
    """Executions of every partition are reached, whoever owns it and whoever is asked."""
    async with Cluster() as cluster:
        await cluster.start("a", "b", "c")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        executions = await cluster.execute(40)
        await cluster.advance(1)
        result = await cluster.until(cluster.app.executions.suspend_all(workflow="pair"))
        assert (result.matched, result.done, result.failed) == (40, 40, 0)
        result = await cluster.until(cluster.app.executions.resume_all(workflow="pair"))
        assert (result.matched, result.done) == (40, 40)
        cluster.gate.set()
        assert await cluster.results(executions) == list(range(40))


async def test_a_bulk_outlives_whoever_carries_it_out() -> None:
    """If its orchestrator dies in the middle, another carries it out to the end."""
    async with Cluster() as cluster:
        await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        await cluster.execute(40)
        await cluster.advance(1)
        held = {name: each.store.hold("list") for name, each in cluster.processes.items()}
        asking = asyncio.gather(cluster.app.executions.suspend_all(workflow="pair"))
        await cluster.advance(0.1)
        (begun,) = [
            name
            for name, each in cluster.processes.items()
            if len(each.host._orchestrator._readers) > 1  # type: ignore[union-attr]
        ]
        for each in held.values():
            each.set()
        await settle(3)
        await cluster.kill(begun)
        (result,) = await cluster.until(asking)
        assert (result.done, result.failed) == (result.matched, 0)
        rows = await cluster.until(cluster.app.executions.list(limit=100))
        assert Counter(row["status"] for row in rows) == {"SUSPENDING": 40}


@pytest.mark.parametrize("error", [UnknownWorkflow("w"), ZeroDivisionError()])
async def test_things_are_done_once(error: Exception) -> None:
    """Whoever comes while something is under way waits for it, and it may fail anew."""
    joint, gate, calls = Joint(), asyncio.Event(), list[int]()

    async def action() -> int:
        calls.append(1)
        await gate.wait()
        if len(calls) == 1:
            raise error
        return len(calls)

    first, second = (asyncio.gather(joint.run("a", action), return_exceptions=True) for _ in "ab")
    await settle()
    gate.set()
    assert [type(each) for each in [*await first, *await second]] == [type(error)] * 2
    assert len(calls) == 1
    assert await joint.run("a", action) == 2
    assert await joint.run("a", action) == 2
    assert await joint.run("b", action) == 3


async def test_only_the_latest_results_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of things that were done long ago are forgotten."""
    monkeypatch.setattr(bulk, "KEPT", 2)
    joint, calls = Joint(), list[str]()

    async def act(name: str) -> None:
        calls.append(name)

    for name in ("a", "b", "c", "c", "b", "a"):
        await joint.run(name, lambda name=name: act(name))  # type: ignore[misc]
    assert calls == ["a", "b", "c", "a"]


async def test_whoever_gives_up_waiting_ends_nothing() -> None:
    """If one of those who wait is cancelled, the others still get the result."""
    joint, gate = Joint(), asyncio.Event()

    async def action() -> int:
        await gate.wait()
        return 7

    first = asyncio.gather(joint.run("a", action))
    await settle()
    second, third = asyncio.gather(joint.run("a", action)), asyncio.gather(joint.run("a", action))
    await settle()
    second.cancel()
    await settle()
    gate.set()
    assert [*await first, *await third] == [7, 7]


async def test_many_are_aborted_and_undone() -> None:
    """A bulk can abort with compensation, and undo; what has succeeded only if that is said."""
    app, workflow = trip(on_error="stop")
    async with FlowHarness(app) as test:
        stub_trip(test, car=["red", NO, NEVER])
        for number in range(3):
            await workflow.execute(id=f"e-{number}")
            await test.settle()
        result = await app.executions.abort_all(compensate=True, reason="enough")
        assert (result.matched, result.done) == (1, 1)
        await test.settle()
        assert await statuses(app) == {"SUCCESS": 1, "FAILURE": 1, "COMPENSATED": 1}
        result = await app.executions.undo_all(reason="all")
        assert (result.matched, result.done) == (1, 1)
        await test.settle()
        assert await statuses(app) == {"SUCCESS": 1, "COMPENSATED": 2}
        await app.executions.undo_all(status="SUCCESS")
        await test.settle()
        assert await statuses(app) == {"COMPENSATED": 3}
        assert [len(test.calls(name)) for name in BACKWARD] == [3, 3, 3]


async def test_a_bulk_undoes_a_part() -> None:
    """The steps that a bulk names are undone in each execution, and those that depend on them."""
    app, workflow = trip()
    async with FlowHarness(app) as test:
        stub_trip(test)
        for number in range(2):
            await workflow.run(id=f"e-{number}")
        asked = {"verb": "undo", "filter": {"statuses": ["SUCCESS"]}, "steps": ["hotel"]}
        result = await app.client.ask("bulk", {**asked, "command": "b-1"})
        assert (result["matched"], result["done"]) == (2, 2)
        await test.settle()
        assert [len(test.calls(name)) for name in BACKWARD] == [2, 2, 0]
