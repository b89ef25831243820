"""Tests of `brokers.rabbitmq.topology`."""

from __future__ import annotations

import pytest

from brokers.rabbitmq.topology import Kept, check, queue_declaration
from flow.errors import ConfigurationError
from flow.ports import Binding, Exchange, Queue, Topology


def test_shared_queues_are_durable_quorum_queues() -> None:
    """A queue that is not exclusive is replicated and has a high limit of deliveries, always."""
    for queue in (Queue("q"), Queue("q", dead_letter="dead")):
        declared = queue_declaration(queue)
        assert (declared.durable, declared.exclusive) == (True, False)
        assert declared.arguments["x-queue-type"] == "quorum"
        # Neither unset (20 on 4.x, then lost) nor -1 (none at all on 3.x).
        assert declared.arguments["x-delivery-limit"] == 100_000
    assert queue_declaration(Queue("q", dead_letter="dead")).arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 100_000,
        "x-dead-letter-exchange": "dead",
    }
    assert "x-dead-letter-exchange" not in queue_declaration(Queue("q")).arguments


def test_exclusive_queues_are_classic() -> None:
    """A queue that ends with its connection is the one kind of transient queue that 4.x allows."""
    declared = queue_declaration(Queue("q", exclusive=True))
    assert (declared.durable, declared.exclusive) == (False, True)
    assert declared.arguments == {"x-queue-type": "classic"}


LONG = "ü" * 128


@pytest.mark.parametrize(
    ("topology", "why"),
    [
        (Topology((Exchange("", "direct"),)), "always exists"),
        (Topology(queues=(Queue(""),)), "needs a name"),
        (Topology(bindings=(Binding("q", "", "k"),)), "bound to it by its name"),
        (Topology((Exchange(LONG, "direct"),)), "256 bytes"),
        (Topology(queues=(Queue(LONG),)), "256 bytes"),
        (Topology(queues=(Queue("q", dead_letter=LONG),)), "256 bytes"),
        (Topology(bindings=(Binding(LONG, "e"),)), "256 bytes"),
        (Topology(bindings=(Binding("q", LONG),)), "256 bytes"),
        (Topology(bindings=(Binding("q", "e", LONG),)), "256 bytes"),
    ],
)
def test_what_cannot_be_declared_is_refused(topology: Topology, why: str) -> None:
    """What the broker would misunderstand, or close the connection for, never reaches it."""
    with pytest.raises(ConfigurationError, match=why):
        check(topology)


def test_what_can_be_declared_passes() -> None:
    """Names may have 255 bytes."""
    name = "n" * 255
    topology = Topology((Exchange(name, "topic"),), (Queue(name),), (Binding(name, name, name),))
    check(topology)
    assert queue_declaration(topology.queues[0]).name == name


def test_what_is_kept_is_kept_once() -> None:
    """Declaring the same again keeps nothing more, and the last word on a name counts."""
    kept = Kept()
    first = Topology((Exchange("e", "direct"),), (Queue("q"),), (Binding("q", "e", "k"),))
    for _ in range(3):
        kept.add(first)
    kept.add(Topology(queues=(Queue("p", exclusive=True),)))
    assert kept.whole() == Topology(
        first.exchanges, (Queue("q"), Queue("p", exclusive=True)), first.bindings
    )
    kept.clear()
    assert kept.whole() == Topology()


def test_a_queue_comes_with_its_surroundings() -> None:
    """What one queue needs are the exchanges that it is bound to, and its dead-letter exchange."""
    kept = Kept()
    exchanges = (Exchange("dead", "fanout"), Exchange("e", "direct"), Exchange("other", "direct"))
    queue = Queue("q", dead_letter="dead")
    bindings = (Binding("q", "e", "k"), Binding("q", "foreign", "k"), Binding("p", "other", "k"))
    kept.add(Topology(exchanges, (queue, Queue("p")), bindings))
    assert kept.around("q") == Topology(exchanges[:2], (queue,), bindings[:2])
    assert kept.around("unknown") == Topology()
