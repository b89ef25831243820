"""Tests of `flow.runtime.addresses`."""

from __future__ import annotations

from hypothesis import given, strategies as st

from brokers.memory.broker import MemoryBroker
from flow.ports import Binding, Topology
from flow.runtime.addresses import BUNDLED, Addresses, partition_of

SHOP = Addresses("shop")


def names_of(topology: Topology) -> list[str]:
    """Return the names of all that a topology declares."""
    exchanges = [exchange.name for exchange in topology.exchanges]
    return exchanges + [queue.name for queue in topology.queues]


@given(st.text(max_size=50), st.integers(min_value=1, max_value=64))
def test_a_partition_is_one_of_them(execution: str, partitions: int) -> None:
    """Every execution has a partition, and always the same."""
    partition = partition_of(execution, partitions)
    assert 0 <= partition < partitions
    assert partition == partition_of(execution, partitions)


def test_partitions_do_not_move() -> None:
    """The partition of an id is fixed for ever: stored executions depend on it."""
    assert [partition_of(f"order-{number}", 8) for number in range(8)] == [1, 7, 5, 3, 0, 6, 4, 2]


def test_everything_begins_with_the_namespace() -> None:
    """Namespaces can share a broker, because no name is the same in two of them."""
    topologies = [
        SHOP.exchanges(),
        SHOP.orchestrator(3),
        SHOP.worker("w1", ("pay.charge",)),
        SHOP.client("c1"),
    ]
    names = [name for topology in topologies for name in names_of(topology)]
    assert all(name.startswith("shop.") for name in names)
    assert SHOP.incarnation("7") == "shop.incarnation.7"
    assert SHOP.reply_queue("c1") == "shop.reply.c1"


def test_a_worker_has_a_queue_for_each_service() -> None:
    """Endpoints of a service share its queue, and each is bound by its own key."""
    topology = SHOP.worker("w1", ("pay.charge", "pay.refund", "ship.send"))
    assert [queue.name for queue in topology.queues] == [
        "shop.steps.pay",
        "shop.steps.ship",
        "shop.cancel.w1",
    ]
    assert [queue.exclusive for queue in topology.queues] == [False, False, True]
    assert topology.bindings == (
        Binding("shop.steps.pay", "shop.steps", "pay.charge"),
        Binding("shop.steps.pay", "shop.steps", "pay.refund"),
        Binding("shop.steps.ship", "shop.steps", "ship.send"),
        Binding("shop.cancel.w1", "shop.cancel"),
    )


def test_durable_queues_have_a_dead_letter_exchange() -> None:
    """What a queue of work gives up is kept, never dropped."""
    for topology in (SHOP.orchestrator(2), SHOP.worker("w1", ("pay.charge",))):
        for queue in topology.queues:
            assert queue.exclusive or queue.dead_letter == "shop.dead"


async def test_a_broker_takes_all_of_it() -> None:
    """What is declared fits together: bindings lead to what exists, and twice is harmless."""
    broker = MemoryBroker()
    await broker.open()
    for _ in range(2):
        await broker.declare(SHOP.exchanges())
        await broker.declare(SHOP.orchestrator(4))
        await broker.declare(SHOP.worker("w1", ("pay.charge", "ship.send")))
        await broker.declare(SHOP.client("c1"))
    assert await broker.has_exchange(SHOP.topics)
    await broker.close()


def test_replies_have_ways_that_need_few_rights() -> None:
    """Mailboxes and clients are reached through an exchange for each, other queues by name."""
    broker_knows = {
        (binding.exchange, binding.routing_key): binding.queue
        for topology in (SHOP.orchestrator(3), SHOP.client("c1"))
        for binding in topology.bindings
    }
    for queue in (SHOP.mailbox_queue(2), SHOP.reply_queue("c1")):
        assert broker_knows[SHOP.route_to(queue)] == queue
    assert SHOP.route_to("amq.gen-1") == ("", "amq.gen-1")
    assert SHOP.route_to("bank.mailbox.0") == ("", "bank.mailbox.0")


def test_bundles_go_to_our_own_programs_only() -> None:
    """Mailboxes, starts, and queues for answers that say so by their names take bundles."""
    takes = SHOP.reads_bundles
    assert takes(SHOP.mailbox, "2")
    assert takes(SHOP.start, "2")
    ours = f"{BUNDLED}1"
    assert takes(SHOP.reply, ours)
    assert takes("", SHOP.reply_queue(ours))
    theirs = [SHOP.control, SHOP.trigger, SHOP.steps, SHOP.dead, SHOP.members]
    assert not any(takes(exchange, ours) for exchange in theirs)
    assert not takes(SHOP.reply, "c1")
    assert not takes("", SHOP.reply_queue("c1"))
    assert not takes("", "amq.gen-1")
