"""Tests of `flow.programs.compensation`: sub-workflows that are held back by a failure outside."""

from __future__ import annotations

import pytest

from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step, undoable


def held_back() -> Run:
    """Return an execution in which a failed undo keeps back two sub-workflows, in one another."""
    steps = (
        inner("sub", inner("deep", undoable("leaf"))),
        undoable("b", "sub"),
        step("c", "b"),
        inner("never", undoable("leaf"), requires=("c",)),
    )
    run = Run(planned(*steps, on_error="compensate", on_undo_error="stop")).start()
    run.succeed("steps/sub/steps/deep/steps/leaf")
    run.succeed("steps/b")
    run.fail("steps/c")
    run.fail("steps/b/undo")
    return run


@pytest.mark.parametrize("reload", [False, True])
def test_what_is_held_back_ends_with_the_whole(*, reload: bool) -> None:
    """No sub-workflow of what has ended goes on being undone; its undos wait on record."""
    run = held_back()
    assert run.status is Status.FAILURE
    assert run.states["steps/sub"] == run.states["steps/sub/steps/deep"] == "FAILURE"
    assert run.states["steps/sub/steps/deep/steps/leaf/undo"] == "PENDING"
    if reload:
        run.reload()
    run.resolve("steps/b")
    assert run.out == ["steps/sub/steps/deep/steps/leaf/undo"]
    run.succeed(run.out[0])
    assert run.stands("COMPENSATED")
    assert run.states["steps/sub"] == run.states["steps/sub/steps/deep"] == "COMPENSATED"


def test_what_is_held_back_goes_on_when_the_others_are_tried_again() -> None:
    """All undos are tried again by hand, in their order."""
    run = held_back()
    run.undo()
    assert run.out == ["steps/b/undo"]
    run.succeed(run.out[0])
    run.succeed(run.out[0])
    assert run.stands("COMPENSATED")
