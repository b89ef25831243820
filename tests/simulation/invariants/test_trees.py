"""Tests of `invariants.trees`: each sees its violation, planted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from flow.codec import decode_record
from flow.kernel.decide import MACHINES
from flow.kernel.tree import Tree
from flow.ports import Lease
from tests.simulation.planting import ID, Plant


def resident(plant: Plant, **changes: Any) -> Any:
    """Let an orchestrator live that has the execution in memory as its journal has it."""
    recorded = plant.observer.evidence.model.executions[ID]
    records = [decode_record(text, MACHINES) for text in recorded.records]
    tree = Tree.load(MACHINES, (node for record in records for node in record.nodes))
    live = SimpleNamespace(id=ID, partition=0, tree=tree, seq=recorded.seq, **changes)
    engine = SimpleNamespace(
        committer=SimpleNamespace(batch=SimpleNamespace(touches={})),
        residents=SimpleNamespace(_live={ID: live}),
        leases={0: plant.observer.evidence.model.leases[0]},
        inbox=SimpleNamespace(_finished=asyncio.Event()),
    )
    host = SimpleNamespace(engine=engine, worker=None)
    member = SimpleNamespace(app=SimpleNamespace(host=host), process=plant.process)
    plant.world.cluster.members["one"] = member
    return engine


def test_a_tree_that_is_not_the_fold_is_seen() -> None:
    """A tree in memory with another output than the journal has is a violation."""
    plant = Plant()
    plant.begin()
    plant.succeed_a()
    engine = resident(plant)
    assert plant.names() == set()
    node = engine.residents._live[ID].tree.node("steps/a")
    engine = resident(plant)
    other = engine.residents._live[ID].tree.node("steps/a")
    other.data = type(other.data)(attempt=7)
    assert node.data != other.data
    assert plant.names() == {"journal is the tree"}


@pytest.mark.parametrize("excuse", ["touched", "sealed", "lost"])
def test_what_is_under_way_is_not_compared(excuse: str) -> None:
    """A tree may be ahead while a batch has changes of it, and of a former owner it may be old."""
    plant = Plant()
    plant.begin()
    engine = resident(plant)
    live = engine.residents._live[ID]
    node = live.tree.node("steps/a")
    node.data = type(node.data)(attempt=7)
    match excuse:
        case "touched":
            engine.committer.batch.touches[ID] = live
        case "sealed":
            live.seq += 1
        case _:
            engine.leases[0] = Lease(0, "one", 0)
    assert plant.names() == set()


def test_a_tree_that_is_behind_at_the_end_is_seen() -> None:
    """At the end nothing is under way: a tree at another record is a violation, or a stranger's."""
    plant = Plant()
    plant.all_right()
    engine = resident(plant)
    engine.residents._live[ID].seq -= 1
    assert "journal is the tree" in _names(plant)
    engine = resident(plant)
    assert "journal is the tree" not in _names(plant)
    engine.leases.clear()
    assert "journal is the tree" in _names(plant)


def _names(plant: Plant) -> set[str]:
    """Return what the invariants about trees say at the end."""
    observer = plant.observer
    for each in observer.invariants:
        if each.name == "journal is the tree":
            each.end()
    return {each.name for each in observer.evidence.take()}


def test_a_database_that_has_lost_a_journal_is_seen() -> None:
    """A record that was committed and is not in the database is a violation."""
    plant = Plant()
    plant.all_right()
    assert plant.names(at_the_end=True) == set()
    plant.missing.add(ID)
    assert plant.names(at_the_end=True) == {"database is what was committed"}
