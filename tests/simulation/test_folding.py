"""Tests of `simulation.folding`: the observer's own fold, compared with the product's."""

from __future__ import annotations

from typing import Any

from flow import codec
from flow.codec import decode_record
from flow.kernel.decide import MACHINES
from flow.kernel.tree import Tree
from flow.ports import Commit, Lease
from tests.simulation.folding import Node, fold
from tests.simulation.planting import ID, LEASE, Plant, root, step


def test_the_last_write_of_a_path_wins() -> None:
    """A node is what was written of it last, and a deletion takes all below it."""
    nodes: dict[str, Node] = {}
    deep: list[Any] = ["steps/a/deep", "step@1", "RUNNING", {}, 5, 5]
    assert fold(nodes, [root("RUNNING"), step("a", "RUNNING", 6), deep]) == []
    assert fold(nodes, [["steps/a", None, 7], step("b", "RUNNING", 41)]) == [
        "steps/a",
        "steps/a/deep",
    ]
    assert list(nodes) == ["", "steps/b"]
    assert fold(nodes, [["", None, 8], root("RUNNING", 8)]) == ["", "steps/b"]
    assert nodes == {"": Node("", "execution", "RUNNING", {"epoch": 1_000}, 1, 8)}


def test_it_agrees_with_the_kernel() -> None:
    """The fold of a whole history has the nodes, states and numbers of the tree that is loaded."""
    plant = Plant()
    plant.all_right()
    recorded = plant.observer.evidence.model.executions[ID]
    records = [decode_record(text, MACHINES) for text in recorded.records]
    tree = Tree.load(MACHINES, (node for record in records for node in record.nodes))
    seen = {(node.path, node.state.name, node.created, node.updated) for node in tree.walk()}
    assert seen == {
        (node.path, node.state, node.created, node.updated) for node in recorded.nodes.values()
    }
    assert tree.number == recorded.number


def test_a_snapshot_is_the_whole_tree() -> None:
    """What a snapshot does not name is gone, and loading begins with it."""
    plant = Plant()
    plant.begin()
    entered = ["input", "input@1", "SUCCESS", {"body": 5}, 3, 3]
    write = plant.write([root("RUNNING"), entered])
    plant.commit(write._replace(is_snapshot=True))
    recorded = plant.observer.evidence.model.executions[ID]
    assert list(recorded.nodes) == ["", "input"]
    assert recorded.snapshot == 2
    assert recorded.recreated == {"steps/a"}


def test_what_was_left_out_is_not_folded() -> None:
    """Of partitions that a commit has lost nothing is known, neither records nor rows."""
    plant = Plant()
    plant.begin()
    model = plant.observer.evidence.model
    commit = Commit(
        (Lease(0, "one", 1),),
        (plant.write([root("RUNNING", 9)]),),
        outbox=(plant.row("b"),),
        settled=((0, LEASE + 1),),
        deletes=(ID,),
        wakes=((ID, 7),),
    )
    done = model.apply(0.0, "one", commit, frozenset({0}))
    assert (done.changes, done.rows, done.settled) == ((), (), ())
    assert model.executions[ID].seq == 1
    assert list(model.outbox) == [(0, LEASE + 1)]


def test_what_is_deleted_is_remembered() -> None:
    """A deleted execution takes its rows along, and its id is known to have been there."""
    plant = Plant()
    plant.begin()
    model = plant.observer.evidence.model
    model.apply(0.0, "one", Commit((Lease(0, "one", 1),), deletes=(ID,)), frozenset())
    assert not model.executions
    assert not model.outbox
    assert model.deleted == {ID}


def test_attempts_and_permits_are_kept() -> None:
    """The highest attempt and every permit of a step stay known whatever becomes of its node."""
    plant = Plant()
    plant.begin()
    for updated, permit, attempt in ((61, "p1", 1), (62, "p2", 2)):
        plant.record(step("once", "RUNNING", updated, attempt, permit=permit))
    plant.record(["steps/once", None, 63])
    recorded = plant.observer.evidence.model.executions[ID]
    assert "steps/once" not in recorded.nodes
    assert recorded.attempts["steps/once"] == 2
    assert list(recorded.permits["steps/once"]) == ["p1", "p2"]
    document: dict[str, Any] = codec.loads(recorded.records[0])
    assert document["execution"] == ID
