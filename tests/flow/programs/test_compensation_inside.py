"""Tests of `flow.programs.compensation`: sub-workflows that are undone, or undo themselves."""

from __future__ import annotations

from typing import Any

import pytest

from flow.programs import compensation, sending
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step, undoable

RETRY = RetryPolicy(max_attempts=2, initial=10.0, jitter=0.0)
RELOAD = pytest.mark.parametrize("reload", [False, True])


def saga(*steps: Any, **options: Any) -> Run:
    """Return a started execution that takes back what it did if a step fails."""
    return Run(planned(*steps, on_error="compensate", **options)).start()


def undos(run: Run) -> list[str]:
    """Return the paths of the steps whose undos are out."""
    return [path.removesuffix("/undo") for path in run.out]


def drive_back(run: Run, *, reload: bool = False) -> list[list[str]]:
    """Answer every undo well; return which were out at once."""
    order: list[list[str]] = []
    while run.out:
        order.append(undos(run))
        for path in run.out:
            if reload:
                run.reload()
            run.succeed(path)
    return order


@RELOAD
def test_a_sub_workflow_is_undone_in_its_place(*, reload: bool) -> None:
    """It is one step of the whole: after what depends on it, and its own leaves in reverse."""
    sub = inner("s", undoable("x"), undoable("y", "x"), requires=("a",))
    run = saga(undoable("a"), sub, undoable("b", "s"))
    for path in ("steps/a", "steps/s/steps/x", "steps/s/steps/y"):
        run.succeed(path)
    run.fail("steps/b")
    assert run.states["steps/s"] == "COMPENSATING"
    order = [["steps/b"], ["steps/s/steps/y"], ["steps/s/steps/x"], ["steps/a"]]
    assert drive_back(run, reload=reload) == order
    assert run.states["steps/s"] == "COMPENSATED"
    assert run.status is Status.COMPENSATED


@RELOAD
def test_a_sub_workflow_compensates_itself(*, reload: bool) -> None:
    """It fails its step when that is done, and the whole does not undo it again."""
    sub = inner("s", undoable("x"), undoable("y", "x"), on_error="compensate")
    run = Run(planned(undoable("a"), sub)).start()
    run.succeed("steps/a")
    run.succeed("steps/s/steps/x")
    run.fail("steps/s/steps/y")
    assert drive_back(run, reload=reload) == [["steps/s/steps/y"], ["steps/s/steps/x"]]
    assert run.states["steps/s"] == "COMPENSATED"
    assert run.status is Status.FAILURE
    assert run.data.failure is not None
    assert run.data.failure.step == "s/y"
    assert "steps/a/undo" not in run.states
    run.undo()
    assert drive_back(run) == [["steps/a"]]
    assert run.stands("COMPENSATED")


def test_a_sub_workflow_takes_back_what_it_did_although_all_fails() -> None:
    """It compensates itself when it is quiet, also inside a workflow that only stops."""
    sub = inner("s", undoable("x"), on_error="compensate", hooks={"on_end": step("tell")})
    run = Run(planned(sub, step("a"))).start()
    run.fail("steps/a")
    run.fail("steps/s/steps/x")
    assert undos(run) == ["steps/s/steps/x"]
    run.succeed("steps/s/steps/x/undo")
    assert run.states["steps/s"] == "COMPENSATED"
    assert run.status is Status.FAILURE


@RELOAD
def test_the_failed_undo_of_a_sub_workflow_counts_outside(*, reload: bool) -> None:
    """It holds the others if the whole says so, and is named by its whole path."""
    sub = inner("s", undoable("x"), undoable("y"), requires=("a",))
    run = saga(undoable("a"), sub, step("z", "s"), on_undo_error="stop")
    for path in ("steps/a", "steps/s/steps/x", "steps/s/steps/y"):
        run.succeed(path)
    run.fail("steps/z")
    run.fail("steps/s/steps/x/undo")
    if reload:
        run.reload()
    run.succeed("steps/s/steps/y/undo")
    assert run.states["steps/s"] == "FAILURE"
    assert run.states["steps/a/undo"] == "PENDING"
    assert run.status is Status.FAILURE
    assert run.data.incident == "1 undo failed: 'steps/s/steps/x'"
    if reload:
        run.reload()
    run.undo()
    assert drive_back(run) == [["steps/s/steps/x"], ["steps/a"]]
    assert run.stands("COMPENSATED")


@RELOAD
def test_a_failure_outside_holds_what_is_inside(*, reload: bool) -> None:
    """With `stop` nothing goes out in sub-workflows either, at any depth, until it is resolved."""
    deep = inner("s", inner("t", undoable("x"), undoable("y", "x")))
    run = saga(deep, undoable("a"), step("z", "s", "a"), on_undo_error="stop")
    for path in ("steps/s/steps/t/steps/x", "steps/s/steps/t/steps/y", "steps/a"):
        run.succeed(path)
    run.fail("steps/z")
    run.fail("steps/a/undo")
    if reload:
        run.reload()
    run.succeed("steps/s/steps/t/steps/y/undo")
    assert run.status is Status.FAILURE
    assert run.states["steps/s/steps/t/steps/x/undo"] == "PENDING"
    assert run.states["steps/s/steps/t"] == run.states["steps/s"] == "FAILURE"
    run.resolve("steps/a")
    assert drive_back(run) == [["steps/s/steps/t/steps/x"]]
    assert run.states["steps/s"] == "COMPENSATED"
    assert run.stands("COMPENSATED")


def test_others_follow_the_failed_undo_of_a_sub_workflow() -> None:
    """With `continue` a sub-workflow with failed undos counts as done with."""
    run = saga(undoable("a"), inner("s", undoable("x"), requires=("a",)), step("z", "s"))
    run.succeed("steps/a")
    run.succeed("steps/s/steps/x")
    run.fail("steps/z")
    run.fail("steps/s/steps/x/undo")
    assert drive_back(run) == [["steps/a"]]
    assert run.status is Status.FAILURE


def test_a_part_leaves_sub_workflows_alone() -> None:
    """Undone by hand in part, what was not chosen is passed through."""
    run = Run(planned(undoable("a"), inner("s", undoable("x")), undoable("b", "a"))).start()
    for path in ("steps/a", "steps/s/steps/x", "steps/b"):
        run.succeed(path)
    run.undo("b")
    assert drive_back(run) == [["steps/b"]]
    assert run.states["steps/s"] == "SUCCESS"


def test_an_interrupted_compensation_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undos that waited for the window when time was up outside go out once, later."""
    for module in (compensation, sending):
        monkeypatch.setattr(module, "DISPATCH_WINDOW", 2)
    deep = inner("t", undoable("x"), undoable("y"), step("z", "x", "y"), on_error="compensate")
    sub = inner("s", deep, timeout_ms=1_000, on_error="compensate")
    run = Run(planned(sub, step("a"), step("b"))).start()
    run.succeed("steps/s/steps/t/steps/x")
    run.succeed("steps/s/steps/t/steps/y")
    run.fail("steps/s/steps/t/steps/z")
    assert len(undos(run)) == 2
    run.wait(1)
    while run.states["steps/s"] == "COMPENSATING":
        out = [path for path in run.out if path.endswith("undo")]
        run.succeed(out[0] if out else run.out[0])
    assert run.attempt("steps/s/steps/t/steps/x/undo").number <= 2
    assert run.states["steps/s"] == "COMPENSATED"
