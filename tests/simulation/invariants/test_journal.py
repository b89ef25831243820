"""Tests of `invariants.journal`: each sees its violation, planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.planting import ID, NOW_MS, Plant, command, root, step


@pytest.mark.parametrize("seq", [1, 3])
def test_a_gap_in_the_journal_is_seen(seq: int) -> None:
    """A record whose number does not follow is a violation, be it too high or there already."""
    plant = Plant()
    plant.begin()
    plant.record(step("a", "RUNNING", 6), root("RUNNING"), seq=seq)
    assert "journal numbers without gaps" in plant.names()


def test_a_stamp_that_does_not_grow_is_seen() -> None:
    """A record with an older stamp than the one before is a violation."""
    plant = Plant()
    plant.begin()
    plant.record(step("a", "RUNNING", 6), stamp="0" * 16)
    assert plant.names() == {"stamps grow"}


@pytest.mark.parametrize(
    "node",
    [
        step("a", "SUSPENDED", 6),
        root("SKIPPED", 6),
        ["", "step@1", "RUNNING", {"epoch": 1_000}, 1, 6],
        ["input", "input@1", "SUCCESS", {"body": 6}, 3, 6],
    ],
)
def test_what_a_machine_does_not_declare_is_seen(node: list[Any]) -> None:
    """A state or a type that a node cannot have, or another input, is a violation."""
    plant = Plant()
    plant.begin()
    plant.record(node)
    assert "only declared states" in plant.names()


@pytest.mark.parametrize(
    "node",
    [
        step("a", "RUNNING", 4),
        step("a", "RUNNING", 5, attempt=2),
        ["x", "command@1", "SUCCESS", {}, 9, 8],
    ],
)
def test_a_transition_that_does_not_count_is_seen(node: list[Any]) -> None:
    """A node that goes back, changes without a transition, or is older than itself is seen."""
    plant = Plant()
    plant.begin()
    plant.record(node)
    assert "transitions grow" in plant.names()


def test_what_is_made_and_deleted_at_once_is_left_alone() -> None:
    """A node that is not there after the record that named it is no violation of anything."""
    plant = Plant()
    plant.begin()
    plant.record(step("a", "RUNNING", 6), ["steps/a", None, 6], root("RUNNING", 7))
    assert plant.names() == set()


def test_what_changes_after_its_end_is_seen() -> None:
    """A step of an execution that has ended and changes is a violation; a command is none."""
    plant = Plant()
    plant.all_right()
    plant.record(command("abort", 96))
    assert plant.names() == set()
    plant.record(step("a", "SUCCESS", 97, output="x", ended_ms=NOW_MS, reason="another"))
    assert plant.names() == {"ends are final"}


def test_a_failure_that_goes_on_by_itself_is_seen() -> None:
    """A failed execution that runs again without a command is a violation; with it is none."""
    for causes, seen in (([("TimerFired", "", "")], True), ([("ResumeRequested", "c", "")], False)):
        plant = Plant()
        plant.begin()
        plant.call("a", "failure")
        told = [("StepFailed", "m2", "steps/a attempt 1: no")]
        failed = step("a", "FAILURE", 6, spent=1)
        plant.record(failed, root("FAILURE", 7, ended_ms=NOW_MS), causes=told)
        plant.record(root("RUNNING", 8), step("a", "PENDING", 9), causes=causes)
        assert ("ends are final" in plant.names()) is seen


@pytest.mark.parametrize("change", [{"ended_ms": 5}, {"incident": "something"}])
def test_a_row_that_says_something_else_is_seen(change: dict[str, Any]) -> None:
    """A row with an end or an incident that the tree does not have is a violation."""
    plant = Plant()
    plant.begin()
    plant.record(step("a", "RUNNING", 6), **change)
    assert plant.names() == {"rows tell the tree"}
    assert ID in plant.observer.evidence.model.executions
