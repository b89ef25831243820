"""Tests of `simulation.observers`: they hear of what servers do, and of nothing else."""

from __future__ import annotations

from flow.errors import StoreUnavailable
from flow.ports import Commit, CommitResult, DefinitionRecord, Lease, Settlement
from tests.simulation.invariants import check_end, check_now
from tests.simulation.planting import ID, NOW_MS, Plant, root


def test_a_whole_history_is_all_right() -> None:
    """A history in which nothing is wrong is followed to its end, and nobody objects."""
    plant = Plant()
    plant.all_right()
    assert check_now(plant.world) == []
    assert check_end(plant.world) == []


def test_each_violation_is_told_once() -> None:
    """What was found is returned by the next look, and not again; of many only the first few."""
    plant = Plant()
    for number in range(10):
        plant.ledger.accepted(f"e{number}")
    found = check_now(plant.world)
    assert [each.name for each in found] == ["accepted starts exist"] * 5
    assert str(found[0]).startswith("accepted starts exist: at 0.000 s e0")
    assert check_now(plant.world) == []


def test_what_was_not_done_is_not_believed() -> None:
    """A commit that failed or met a conflict has changed nothing, nor has a refused lease."""
    plant = Plant()
    commit = Commit((Lease(0, "one", 1),), (plant.write([root("RUNNING")]),))
    refused = CommitResult(conflicts=frozenset({ID}))
    failed = StoreUnavailable("memory://", "the test says so")
    for result in (refused, failed):
        plant.observer.called("commit", plant.process, (commit,), result)
    plant.observer.called("acquire", plant.process, (1, "one", 15_000), None)
    model = plant.observer.evidence.model
    assert not model.executions
    assert list(model.leases) == [0]


def test_what_was_pruned_is_forgotten() -> None:
    """After a prune the model has what the database has."""
    plant = Plant()
    plant.all_right()
    plant.missing.add(ID)
    plant.observer.called("prune", plant.process, (0, 0, 10), None)
    assert plant.observer.evidence.model.deleted == {ID}


def test_a_definition_that_cannot_be_read_is_told() -> None:
    """A definition that is not one is a violation by itself."""
    plant = Plant()
    record = DefinitionRecord("bad", "1", "", b"{}", NOW_MS)
    plant.observer.called("save_definition", plant.process, (record,), None)
    assert plant.names() == {"definition readable"}


def test_a_confirm_is_worth_more_than_what_became_of_a_copy() -> None:
    """Once the broker has taken a message, a later copy that has no queue changes nothing."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    key = ("step.request", f"{ID}/1000/4/1", "")
    published = plant.observer.evidence.published
    assert published[key].is_confirmed
    plant.settlement = Settlement.UNROUTABLE
    plant.send("a")
    assert published[key].is_confirmed
