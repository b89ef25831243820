"""Tests of `orchestrator.pausing`: a whole workflow makes no new attempts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from flow import Status
from flow.errors import NotPossible, UnknownWorkflow
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.clusters import Cluster
from tests.flow.runtime.orchestrator.test_bulk import statuses, two
from tests.flow.runtime.plain import plain_client
from tests.flow.runtime.worlds import RETRY, chain, single, stub_chain


async def test_nothing_new_goes_out_while_a_workflow_is_paused() -> None:
    """What is out lands; no step, no retry and no start makes an attempt before the unpause."""
    app, workflow = chain(2)
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 1

    async with FlowHarness(app) as test:
        stub_chain(test, 2)
        test.stub("work.s1", wait)
        running = await workflow.execute(id="e-1")
        await test.settle()
        await app.workflows.pause("chain", reason="release")
        gate.set()
        started = await workflow.execute(id="e-2")
        await test.advance(1_000)
        assert await statuses(app) == {"SUSPENDED": 2}
        assert await started.steps() == {"s1": Status.PENDING, "s2": Status.PENDING}
        assert [len(test.calls(name)) for name in ("work.s1", "work.s2")] == [1, 0]
        assert await app.workflows.paused() == ("chain",)
        assert [row["paused"] for row in await app.workflows.list()] == [True]
        await app.workflows.unpause("chain")
        assert [await running.result(), await started.result()] == [2, 2]
        assert await app.workflows.paused() == ()
        assert [row["paused"] for row in await app.workflows.list()] == [False]
        reasons = [event.reason for event in await running.history()]
        assert "pause of workflow chain: release" in reasons
        assert "unpause of workflow chain" in reasons


async def test_a_retry_waits_for_the_end_of_the_pause() -> None:
    """A retry that comes due during the pause is made after it."""
    app, workflow = single(retry=RETRY)
    async with FlowHarness(app) as test:
        test.stub("work.s1", [ConnectionError(), 5])
        execution = await workflow.execute(id="e-1")
        await test.settle()
        await app.workflows.pause("single")
        await test.advance(100)
        assert len(test.calls("work.s1")) == 1
        await app.workflows.unpause("single")
        assert await execution.result() == 5


async def test_other_workflows_go_on() -> None:
    """A pause is for one workflow only."""
    app, quick, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.quick", 1)
        test.stub("work.slow", NEVER)
        await slow.execute(1, id="s1")
        await app.workflows.pause("slow")
        assert await quick.run(2, id="q1") == 1
        assert await statuses(app) == {"SUSPENDING": 1, "SUCCESS": 1}


async def test_what_was_suspended_by_hand_stays_so() -> None:
    """The end of a pause resumes what the pause has suspended, and nothing else."""
    app, _, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.slow", NEVER)
        before, during, other = [await slow.execute(1, id=f"s{n}") for n in range(3)]
        await before.suspend()
        await app.workflows.pause("slow")
        await during.suspend()
        await app.workflows.unpause("slow")
        assert await before.status() is Status.SUSPENDING
        assert await during.status() is Status.SUSPENDING
        assert await other.status() is Status.RUNNING


async def test_nothing_is_resumed_during_a_pause() -> None:
    """A resume of a suspended or failed execution is refused and says why; an abort is not."""
    app, quick, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.quick", ValueError("no"))
        test.stub("work.slow", NEVER)
        failed = await quick.execute(1, id="q1")
        await test.settle()
        suspended = await slow.execute(1, id="s1")
        await app.workflows.pause("quick")
        await app.workflows.pause("slow")
        for execution, workflow in ((failed, "quick"), (suspended, "slow")):
            with pytest.raises(NotPossible, match=f"its workflow '{workflow}' is paused"):
                await execution.resume()
        assert (await app.executions.resume_all(workflow="slow")).done == 0
        assert await suspended.abort() is Status.ABORTED


async def test_a_resume_of_before_is_answered_during_a_pause() -> None:
    """A command that was obeyed before the pause is answered as it was then."""
    app, _, slow = two()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.slow", NEVER)
        execution = await slow.execute(1, id="s1")
        await execution.suspend()
        first = await client.ask("resume", "s1", command="r-1")
        await test.settle()
        await app.workflows.pause("slow")
        second = await client.ask("resume", "s1", command="r-1")
        await test.settle()
        assert client.answers_to(first) == client.answers_to(second)
        assert await execution.status() is Status.SUSPENDING


async def test_pausing_twice_is_pausing_once() -> None:
    """One unpause ends any number of pauses, and an unpause of nothing changes nothing."""
    app, _, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.slow", NEVER)
        execution = await slow.execute(1, id="s1")
        await app.workflows.unpause("slow")
        for _ in range(3):
            await app.workflows.pause("slow")
        await app.workflows.unpause("slow")
        assert await execution.status() is Status.RUNNING
        await app.workflows.pause("slow")
        assert await execution.status() is Status.SUSPENDING


async def test_only_known_workflows_are_paused() -> None:
    """A misspelled id is refused; that of a removed workflow is not while it has executions."""
    app, _, slow = two()
    async with FlowHarness(app) as test:
        test.stub("work.slow", NEVER)
        with pytest.raises(UnknownWorkflow, match="did you mean 'slow'"):
            await app.workflows.pause("slwo")
        execution = await slow.execute(1, id="s1")
        await app.workflows.remove("slow")
        await app.workflows.pause("slow")
        assert await execution.status() is Status.SUSPENDING
        assert await app.workflows.paused() == ("slow",)


async def test_a_pause_outlives_a_crash() -> None:
    """Whoever comes after a crash holds what is started, and knows what to resume."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await app.workflows.pause("single")
        await test.restart()
        execution = await workflow.execute(id="e-1")
        await test.advance(100)
        assert await execution.status() is Status.SUSPENDED
        await test.restart()
        await app.workflows.unpause("single")
        assert await execution.result() == 1


async def keep_starting(cluster: Cluster, done: asyncio.Event) -> list[Any]:
    """Start executions one after the other until it is enough."""
    started: list[Any] = []
    while not done.is_set():
        name = f"r{len(started)}"
        started.append(await cluster.workflow.execute(len(started), id=name))
        await asyncio.sleep(0)
    return started


async def test_no_start_slips_through() -> None:
    """Starts that race with the pause are suspended, held, or refused: none makes attempts."""
    async with Cluster() as cluster:
        await cluster.start("a", "b", "c")
        await cluster.work()
        await cluster.advance(1)
        done = asyncio.Event()
        racing = asyncio.gather(keep_starting(cluster, done))
        await cluster.advance(0.01)
        await cluster.until(cluster.app.workflows.pause("pair"))
        await cluster.settle()
        done.set()
        (started,) = await cluster.until(racing)
        assert len(started) > 20
        await cluster.settle()
        calls = len(cluster.calls)
        await cluster.advance(100)
        assert len(cluster.calls) == calls
        rows = await cluster.until(cluster.app.executions.list(limit=10_000))
        left = Counter(row["status"] for row in rows)
        assert left.keys() <= {"SUSPENDED", "SUCCESS"}
        assert left["SUSPENDED"] > 1
        await cluster.until(cluster.app.workflows.unpause("pair"))
        assert await cluster.results(started) == list(range(len(started)))


async def test_an_owner_that_is_stopped_holds_nothing_up_for_ever() -> None:
    """A pause waits until a stopped owner is replaced; what it decides afterwards is not taken."""
    async with Cluster() as cluster:
        a, b = await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        await cluster.results(await cluster.execute(1, "first"))
        b.freezer.freeze()
        begun = cluster.clock.monotonic()
        starts = [cluster.workflow.execute(number, id=f"e{number}") for number in range(40)]
        # What the stopped one has received is not answered before it goes on.
        started = asyncio.gather(*starts, return_exceptions=True)
        await cluster.until(cluster.app.workflows.pause("pair"))
        assert 5 < cluster.clock.monotonic() - begun < 60
        await cluster.until(started)
        calls = len(cluster.calls)
        b.freezer.thaw()
        await cluster.advance(100)
        assert len(cluster.calls) == calls
        rows = await cluster.until(cluster.app.executions.list(limit=10_000))
        assert len(rows) == 41
        assert {row["status"] for row in rows} <= {"SUSPENDED", "SUCCESS"}
        assert a.open | b.open == set(range(8))


async def test_a_pause_outlives_whoever_carries_it_out() -> None:
    """If the orchestrator that pauses dies in the middle, another does it to the end."""
    async with Cluster() as cluster:
        await cluster.start("a", "b", "c")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        executions = await cluster.execute(30)
        held = [each.store.hold("list") for each in cluster.processes.values()]
        pausing = asyncio.gather(cluster.app.workflows.pause("pair"))
        await cluster.advance(0.5)
        (begun,) = [
            name
            for name, each in cluster.processes.items()
            if each.host._orchestrator is not None and len(each.host._orchestrator._readers) > 1
        ]
        for each in held:
            each.set()
        await cluster.kill(begun)
        await cluster.until(pausing)
        rows = await cluster.until(cluster.app.executions.list(limit=100))
        assert Counter(row["status"] for row in rows) == {"SUSPENDING": 30}
        cluster.gate.set()
        await cluster.until(cluster.app.workflows.unpause("pair"))
        assert await cluster.results(executions) == list(range(30))


async def test_a_start_that_is_being_written_is_paused_too() -> None:
    """A start that was decided before the pause is known, and written after, slips not through."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        await cluster.execute(1, prefix="warm")
        cluster.calls.clear()
        commits = one.store.hold("commit")
        starting = asyncio.gather(cluster.workflow.execute(7, id="late"))
        await cluster.settle()
        pausing = asyncio.gather(cluster.app.workflows.pause("pair"))
        await cluster.settle()
        assert not pausing.done()
        commits.set()
        await cluster.until(pausing)
        (late,) = await cluster.until(starting)
        cluster.calls.clear()
        await cluster.advance(700)
        assert await cluster.until(late.status()) in (Status.SUSPENDING, Status.SUSPENDED)
        assert ("last", 7) not in cluster.calls
