"""Tests of `orchestrator.admission`: what can be decided about now, and the rest."""

from __future__ import annotations

from typing import Any

from flow.ports import Envelope, Publication
from flow.runtime.orchestrator.inbox import Happened, Received, Source, Woken
from tests.flow.runtime.clusters import Cluster, Process


class Letter:
    """A message that notes what became of it."""

    routing_key = ""
    redelivered = False

    def __init__(self, execution: str) -> None:
        headers = {"flow-execution": execution}
        self.envelope = Envelope("request.result", b"{}", "m-1", "c-1", "", headers)
        self.fate = ""

    def ack(self) -> None:
        """Be done with."""
        self.fate += "acked"

    def requeue(self) -> None:
        """Go back."""
        self.fate += "requeued"

    def reject(self) -> None:
        """Go to the dead."""
        self.fate += "rejected"


def parts(process: Process) -> tuple[Any, int]:
    """Return what admits, and the partition of the execution that the tests speak of."""
    orchestrator = process.host._orchestrator
    assert orchestrator is not None
    return orchestrator.partitions.admission, process.engine.partition_of("e")


async def test_a_stray_goes_back_once_nobody_listens_here() -> None:
    """A message for a lost partition waits until we receive from its queue no more."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        admission, partition = parts(one)
        letter = Letter("e")
        item = Received(letter, Source.PARTITION, partition)
        assert admission.admit([item]) == [item]
        held = one.store.hold("acquire")
        one.engine.lose([partition])
        assert admission.admit([item]) == []
        # We receive from that queue still: given back now, it would only come here again.
        assert letter.fate == ""
        await cluster.settle()
        assert letter.fate == "requeued"
        late = Letter("e")
        assert admission.admit([Received(late, Source.PARTITION, partition)]) == []
        assert late.fate == "requeued"
        held.set()


async def test_a_stray_of_a_partition_that_is_ours_again_is_decided_about() -> None:
    """A message for a partition that was lost and taken again waits for nobody else."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        admission, partition = parts(one)
        letter = Letter("e")
        item = Received(letter, Source.PARTITION, partition)
        lease = one.engine.leases[partition]
        one.engine.holdings.drop([partition])
        assert admission.admit([item]) == []
        one.engine.holdings.put(lease, one.engine.clock.monotonic() + 10)
        admission.readmit()
        assert await one.engine.inbox.take(5) == [item]
        assert letter.fate == ""
        admission.readmit()
        assert len(one.engine.inbox) == 0


async def test_what_comes_early_waits_for_the_recovery() -> None:
    """Items for a partition that is ours and not recovered yet are decided about afterwards."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        admission, partition = parts(one)
        one.engine.holdings.close([partition])
        early = Received(Letter("e"), Source.CONTROL)
        happened = Happened("e", object(), None)  # type: ignore[arg-type]
        assert admission.admit([early, happened]) == []
        assert len(one.engine.inbox) == 0
        admission.readmit()
        assert await one.engine.inbox.take(5) == [early, happened]


async def test_what_is_elsewhere_is_passed_on_or_dropped() -> None:
    """Of a foreign partition, only messages of shared queues are let in, to be passed on."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        admission, partition = parts(one)
        held = one.store.hold("acquire")
        one.engine.lose([partition])
        await cluster.settle()
        shared = Received(Letter("e"), Source.CONTROL)
        wrong = Received(Letter("e"), Source.PARTITION, (partition + 1) % 8)
        happened = Happened("e", object(), None)  # type: ignore[arg-type]
        woken = Woken(["e", f"@{partition}", f"@{(partition + 1) % 8}"])
        assert admission.admit([shared, happened, wrong, woken]) == [
            shared,
            wrong,
            Woken([f"@{(partition + 1) % 8}"]),
        ]
        held.set()


async def test_a_message_about_nothing_is_let_in() -> None:
    """A message that does not say what it is about is for the handlers, which say what is wrong."""
    async with Cluster() as cluster:
        (one,) = await cluster.start("a")
        await cluster.work()
        admission, _ = parts(one)
        nothing = Received(Letter(""), Source.PARTITION, 0)
        assert admission.admit([nothing]) == [nothing]
        bad = Envelope("step.reply", b"{}", "m-2", "no correlation")
        assert cluster.app.host is not None
        mailbox = cluster.app.host.addresses.mailbox_queue(0)
        await cluster.until(cluster.app.host.publisher.publish(Publication("", mailbox, bad)))
        await cluster.settle()
        assert cluster.hub.depth("world.dead") == 1
