"""Tests of `invariants.starts`: each sees its violation, planted."""

from __future__ import annotations

from typing import Any

from tests.simulation.planting import ID, Plant, root


def test_an_accepted_start_without_an_execution_is_seen() -> None:
    """A start that is answered before anything is committed is a violation."""
    plant = Plant()
    plant.ledger.asked(ID)
    plant.ledger.accepted(ID)
    assert plant.names() == {"accepted starts exist"}


def test_an_accepted_start_that_is_lost_is_seen() -> None:
    """At the end an accepted execution has to be there, and every execution to have ended."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.commit(settled=[(1 << 32) + 1])
    assert plant.names() == set()
    assert plant.names(at_the_end=True) == {"accepted starts lost"}
    other = Plant()
    other.ledger.asked("e2")
    other.ledger.accepted("e2")
    assert other.names() == {"accepted starts exist"}
    assert other.names(at_the_end=True) == {"accepted starts lost"}


def test_a_second_start_is_seen() -> None:
    """An execution that begins once more in a later record is a violation."""
    plant = Plant()
    plant.all_right()
    assert plant.names(at_the_end=True) == set()
    again = [("ExecutionStarted", "m9", "")]
    plant.record(["commands/c", "command@1", "SUCCESS", {}, 96, 96], causes=again)
    assert plant.names() == {"starts once"}


def test_an_invented_execution_is_seen() -> None:
    """An execution that nobody has asked for is a violation."""
    plant = Plant()
    plant.begin()
    assert plant.names() == set()
    plant.ledger.started.clear()
    plant.begin("e2")
    plant.ledger.started.clear()
    entered: list[Any] = ["input", "input@1", "SUCCESS", {}, 3, 3]
    causes = [("ExecutionStarted", "m1", "")]
    plant.record(root("RUNNING"), entered, causes=causes, id="e3")
    assert plant.names() == {"nothing is invented"}


def test_an_end_that_is_told_wrong_is_seen() -> None:
    """Telling another status than the committed one, or one that is none, is a violation."""
    plant = Plant()
    plant.all_right()
    plant.ledger.answered(ID, "SUCCESS")
    assert plant.names() == set()
    plant.ledger.answered(ID, "FAILURE")
    assert plant.names() == {"ends are told as they are"}
    plant.ledger.answered("e2", "SUCCESS")
    assert plant.names() == {"ends are told as they are"}


def test_an_end_that_a_record_hides_may_be_told() -> None:
    """What ended and was to be undone in one record may have been told as what it was between."""
    plant = Plant()
    plant.begin()
    plant.record(root("COMPENSATING", 61), causes=[("UndoRequested", "m9", "")])
    plant.names()
    plant.ledger.answered(ID, "FAILURE")
    assert plant.names() == set()
    plant.ledger.answered(ID, "COMPENSATING")
    assert plant.names() == {"ends are told as they are"}


def test_an_output_that_is_told_wrong_is_seen() -> None:
    """Telling an output of a step that is not the recorded one is a violation."""
    plant = Plant()
    plant.all_right()
    plant.ledger.answered(ID, "SUCCESS", {"b": "y"})
    assert plant.names() == set()
    plant.ledger.answered(ID, "SUCCESS", {"b": "z"})
    assert plant.names() == {"ends are told as they are"}
