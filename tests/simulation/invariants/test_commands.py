"""Tests of `invariants.commands`: each sees its violation, planted."""

from __future__ import annotations

import pytest

from tests.simulation.planting import EPOCH, ID, LEASE, Plant, step


def test_an_attempt_without_a_row_is_seen() -> None:
    """An attempt whose commit has no outbox row for it is a violation."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.call("a", "success", "x")
    told = [("StepSucceeded", "m2", "steps/a attempt 1")]
    plant.record(step("a", "SUCCESS", 6, output="x"), step("b", "RUNNING", 41), causes=told)
    assert plant.names() == {"attempts have commands"}


def test_a_row_that_is_deleted_before_its_confirm_is_seen() -> None:
    """A row that is deleted while its attempt is wanted, and was never taken, is a violation."""
    plant = Plant()
    plant.begin()
    plant.commit(settled=[LEASE + 1])
    assert plant.names() == {"no command lost"}


def test_a_confirm_of_an_older_copy_is_none() -> None:
    """What the broker had taken before the row was committed does not count."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.clock_s = 5.0
    again = plant.row("a")
    plant.commit(rows=[again])
    plant.commit(settled=[again.number])
    assert plant.names() == {"no command lost"}


def test_a_row_that_is_superseded_may_go() -> None:
    """A row may be deleted unpublished when the committed tree does not want it any more."""
    plant = Plant()
    plant.begin()
    plant.call("a", "success", "x")
    told = [("StepSucceeded", "m2", "steps/a attempt 1")]
    write = plant.write([step("a", "SUCCESS", 6, output="x")], told)
    plant.commit(write, settled=[LEASE + 1])
    assert plant.names() == set()


def test_a_row_that_is_left_is_seen() -> None:
    """An outbox that is not empty at the end is a violation."""
    plant = Plant()
    plant.begin()
    assert "outbox is emptied" in plant.names(at_the_end=True)


def test_numbers_that_do_not_grow_are_seen() -> None:
    """A row with a number that is not higher than all before it is a violation."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    row = plant.row("a")
    plant.commit(rows=[row], settled=[LEASE + 1])
    plant.commit(rows=[row])
    assert plant.names() == {"numbers of rows grow"}


@pytest.mark.parametrize("kind", ["step.request", "topic", "step.cancel"])
def test_what_is_published_before_its_commit_is_seen(kind: str) -> None:
    """A message for an attempt of which no commit knows is a violation."""
    plant = Plant()
    plant.begin()
    plant.send("b", kind=kind)
    assert plant.names() == {"published before it was committed"}


def test_a_permit_that_is_told_before_its_commit_is_seen() -> None:
    """A permit that goes to a worker and is not committed is a violation; a committed one not."""
    plant = Plant()
    plant.begin()
    correlation = f"{ID}/{EPOCH}/60/1"
    plant.commit(plant.write([step("once", "RUNNING", 61)]), rows=[plant.row("once")])
    plant.publish("step.permit", correlation, **{"flow-permit": "p1"})
    assert plant.names() == {"published before it was committed"}
    plant.record(step("once", "RUNNING", 62, permit="p1"))
    plant.publish("step.permit", correlation, **{"flow-permit": "p1"})
    assert plant.names() == set()
