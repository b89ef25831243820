"""Tests of `invariants.epochs`: each sees its violation, planted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flow.ports import Commit, CommitResult, Due, Lease, StoredExecution
from tests.simulation.planting import ID, LEASE, NOW_MS, Plant, step


def test_an_epoch_that_does_not_grow_is_seen() -> None:
    """A lease with the epoch of the one before is a violation."""
    plant = Plant()
    plant.acquire(2)
    assert plant.names() == set()
    plant.acquire(2)
    assert plant.names() == {"epochs grow"}


def test_a_record_of_an_older_epoch_is_seen() -> None:
    """A record that is written under a lease which was taken by another is a violation."""
    plant = Plant()
    old = plant.observer.evidence.model.leases[0]
    plant.begin()
    plant.acquire(2, plant.worker)
    plant.commit(plant.write([step("a", "RUNNING", 6)]), lease=old)
    assert plant.names() == {"rows of an older epoch"}


@pytest.mark.parametrize("what", ["row", "settled", "wake"])
def test_every_other_row_of_an_older_epoch_is_seen(what: str) -> None:
    """An outbox row, a deleted one and a wake time are rows of a partition too."""
    plant = Plant()
    old = plant.observer.evidence.model.leases[0]
    plant.begin()
    plant.send("a")
    plant.acquire(2, plant.worker)
    match what:
        case "row":
            plant.commit(rows=[plant.row("a")], lease=old)
        case "settled":
            plant.commit(settled=[LEASE + 1], lease=old)
        case _:
            plant.commit(wakes=[(ID, NOW_MS)], lease=old)
    assert plant.names() == {"rows of an older epoch"}


def test_what_a_store_left_out_is_none() -> None:
    """Rows of a partition that the store has refused are no violation, and are not folded."""
    plant = Plant()
    write = plant.write([step("a", "RUNNING", 6)])
    commit = replace(_empty(), leases=(Lease(0, "one", 0),), writes=(write,))
    plant.observer.called("commit", plant.process, (commit,), CommitResult(frozenset({0})))
    assert plant.names() == set()
    assert not plant.observer.evidence.model.executions


def test_a_load_of_an_older_state_is_seen() -> None:
    """A load that misses the last record is a violation, and so is one that finds nothing."""
    plant = Plant()
    plant.begin()
    (first,) = plant.observer.evidence.model.executions[ID].records
    summary = plant.observer.evidence.model.executions[ID].summary
    stored = StoredExecution(summary, 1, (first,))
    plant.observer.called("load", plant.worker, ([ID],), {ID: stored})
    assert plant.names() == set()
    plant.succeed_a()
    plant.observer.called("load", plant.worker, ([ID],), {ID: stored})
    assert plant.names() == {"reads are current"}
    plant.observer.called("load", plant.worker, ([ID],), {})
    assert plant.names() == {"reads are current"}


def test_an_outbox_that_misses_a_row_is_seen() -> None:
    """A page of the outbox without a committed row is a violation, and so is a due one left out."""
    plant = Plant()
    plant.begin()
    plant.observer.called("outbox", plant.worker, (0, 0, 10), [])
    assert plant.names() == {"reads are current"}
    plant.observer.called("due", plant.worker, (0, NOW_MS, 10), Due((ID,), None))
    assert plant.names() == set()
    plant.observer.called("due", plant.worker, (0, NOW_MS, 10), Due((), None))
    assert plant.names() == {"reads are current"}


def _empty() -> Commit:
    return Commit(())
