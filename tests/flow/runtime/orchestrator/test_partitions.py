"""Tests of `orchestrator.partitions`: several orchestrators share the partitions."""

from __future__ import annotations

import asyncio
from typing import Any

from flow import Execution, Status
from flow.kernel.events import Attempt
from flow.ports import Envelope, Publication
from flow.runtime.addresses import partition_of
from flow.runtime.orchestrator.commands import attempt_of
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.protocol import correlation_of
from tests.flow.runtime.clusters import Cluster


async def test_those_who_join_get_their_share() -> None:
    """Whoever joins has its share soon, and each partition has one owner all the time."""
    async with Cluster() as cluster:
        await cluster.start("a")
        assert cluster.shares == {"a": 8}
        await cluster.start("b")
        await cluster.advance(1)
        cluster.expect_spread()
        await cluster.start("c")
        await cluster.advance(1)
        cluster.expect_spread()
        assert sorted(cluster.shares.values()) == [2, 3, 3]


async def test_executions_end_whoever_owns_them() -> None:
    """Executions that were started anywhere are carried out by the owners of their partitions."""
    async with Cluster() as cluster:
        await cluster.start("a", "b", "c")
        await cluster.work()
        await cluster.advance(1)
        executions = await cluster.execute(30)
        assert await cluster.results(executions) == list(range(30))
        assert len(cluster.calls) == 60
        assert all(process.committed() for process in cluster.processes.values())


async def test_a_leaving_process_hands_over_at_once() -> None:
    """What a process gives back when it leaves is taken over in far less than a renewal."""
    async with Cluster() as cluster:
        await cluster.start("a", "b", "c")
        await cluster.advance(7)
        await cluster.stop("b")
        before = cluster.clock.monotonic()
        await cluster.advance(0.5)
        cluster.expect_spread()
        assert cluster.clock.monotonic() - before < 1


async def test_what_runs_goes_on_elsewhere_after_a_leave() -> None:
    """Executions whose owner leaves in good order are finished by the others, nothing twice."""
    async with Cluster() as cluster:
        await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        executions = await cluster.execute(20)
        await cluster.advance(1)
        await cluster.stop("a")
        cluster.gate.set()
        begun = cluster.clock.monotonic()
        assert await cluster.results(executions) == list(range(20))
        assert cluster.clock.monotonic() - begun < 5
        assert len(cluster.calls) == 40


async def test_a_partition_moves_while_its_executions_run() -> None:
    """Executions go on while partitions move to whoever joins, however often."""
    async with Cluster() as cluster:
        await cluster.start("a")
        await cluster.work()
        waiting: list[Execution[Any]] = []
        for number, name in enumerate("bcd"):
            executions = [
                await cluster.until(cluster.workflow.execute(n, id=f"{name}{n}")) for n in range(10)
            ]
            waiting += executions
            await cluster.start(name)
            await cluster.advance(0.1 * number)
        assert await cluster.results(waiting) == [*range(10)] * 3
        cluster.expect_spread()
        assert len(cluster.calls) == 60


async def test_the_dead_are_replaced_when_their_leases_run_out() -> None:
    """The executions of a process that died are finished by another, after its leases ran out."""
    async with Cluster() as cluster:
        await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        executions = await cluster.execute(20)
        await cluster.advance(1)
        await cluster.kill("a")
        cluster.gate.set()
        begun = cluster.clock.monotonic()
        await cluster.advance(8)
        assert cluster.shares == {"b": 4}
        assert await cluster.results(executions) == list(range(20))
        assert cluster.clock.monotonic() - begun < 25
        cluster.expect_spread()
        assert {name for name, _ in cluster.calls} == {"first", "last"}


async def test_what_is_not_ours_goes_back_to_its_queue() -> None:
    """Messages that were received for a partition before it was handed over reach its new owner."""
    async with Cluster(partitions=2) as cluster:
        (one,) = await cluster.start("a", engine=EngineSettings(batch=2))
        await cluster.work()
        await cluster.execute(1, prefix="warm")
        held = one.store.hold("load")
        starts = [cluster.workflow.execute(n, id=f"e{n}") for n in range(20)]
        starting = asyncio.gather(*starts)
        await cluster.settle()
        await cluster.start("b")
        await cluster.advance(1)
        assert cluster.shares["b"] == 0
        held.set()
        await cluster.advance(1)
        cluster.expect_spread()
        executions = await cluster.until(starting)
        assert await cluster.results(executions) == list(range(20))
        assert one.engine.counters["strays"] > 0
        # Each was decided once, by whoever owned its partition then.
        assert len(cluster.calls) == 42


async def test_a_message_in_a_wrong_queue_is_forwarded() -> None:
    """A reply that went to the mailbox of another partition reaches the owner of its execution."""
    async with Cluster() as cluster:
        await cluster.start("a", "b")
        await cluster.work()
        await cluster.advance(1)
        cluster.gate.clear()
        (execution,) = await cluster.execute(1)
        await cluster.settle()
        owner = next(each for each in cluster.processes.values() if each.engine.residents.get("e0"))
        live = owner.engine.residents.get("e0")
        assert live is not None
        attempt = attempt_of(live.tree.node("steps/first"))
        reply = Envelope("step.reply", b"5", "m-1", correlation_of("e0", attempt))
        other = next(each for each in cluster.processes.values() if each is not owner)
        assert cluster.app.host is not None
        wrong = cluster.app.host.addresses.mailbox_queue(min(other.open))
        await cluster.app.host.publisher.publish(Publication("", wrong, reply))
        await cluster.settle()
        assert live.tree.node("steps/first").state is Status.SUCCESS
        cluster.gate.set()
        assert await cluster.results([execution]) == [0]
        assert [name for name, _ in cluster.calls] == ["first", "last"]


async def test_a_reply_that_tells_a_former_owner_nothing_is_not_swallowed() -> None:
    """Who has lost a partition without noticing gives back a reply that it knows nothing of."""
    async with Cluster() as cluster:
        (former,) = await cluster.start("a")
        await cluster.work()
        assert cluster.app.host is not None
        lost = partition_of("unheard-of", cluster.partitions)
        mailbox = cluster.app.host.addresses.mailbox_queue(lost)
        # Somebody else has taken it, and has made an attempt that only they know of.
        cluster.database.partition(lost).ownership.owner = "b"
        cluster.database.partition(lost).ownership.epoch += 1
        reply = Envelope("step.reply", b"5", "m-1", correlation_of("unheard-of", Attempt(1, 4, 1)))
        await cluster.app.host.publisher.publish(Publication("", mailbox, reply))
        await cluster.settle()
        assert lost not in former.open
        queues = {each.name: each for each in cluster.hub.stats().queues}
        assert queues[mailbox].ready == 1
