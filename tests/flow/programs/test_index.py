"""Tests of `flow.programs.index`: what is made anew from a loaded tree."""

from __future__ import annotations

import pytest

from flow.programs.index import Index
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step, undoable

RETRY = RetryPolicy(max_attempts=2, initial=10.0)


def test_there_is_no_index_before_and_after() -> None:
    """An execution that has not begun, or has ended, has nothing that is out."""
    plan = planned(step("a"))
    run = Run(plan)
    before = Index.build(plan, run.tree)
    run.start().succeed("steps/a")
    for index in (before, Index.build(plan, run.tree)):
        assert index.at(run.tree.root) is None
        assert (index.active, index.attempts_out, index.touched.take()) == (0, 0, None)


def test_a_loaded_tree_is_counted() -> None:
    """What is out and what waits is found in steps, sub-workflows and hooks."""
    sub = inner("s", step("x"), hooks={"on_end": step("tell")})
    plan = planned(step("a"), step("b", retry=RETRY), sub, step("c"))
    run = Run(plan).start()
    run.fail("steps/b")
    run.succeed("steps/c")
    run.succeed("steps/s/steps/x")
    index = Index.build(plan, run.reload().tree)
    assert (index.active, index.attempts_out) == (3, 2)
    scope = index.at(run.tree.root)
    assert scope is not None
    assert (scope.active, list(scope.retrying)) == (3, [run.tree.node("steps/b")])
    assert index.around(run.tree.node("steps/s/hooks/on_end")).outer is scope
    assert not scope.ready or scope.next_ready() is None


def test_a_cap_holds_after_a_reload() -> None:
    """Steps that wait for their target go out after a reload too, one after the other."""
    same = {"target": "service.same", "concurrency": 1}
    run = Run(planned(*(step(name, **same) for name in "abc"))).start()
    for name in "abc":
        assert run.reload().out == [f"steps/{name}"]
        run.succeed(f"steps/{name}")
    assert run.status is Status.SUCCESS


@pytest.mark.parametrize("reload", [False, True])
def test_an_aborted_sub_workflow_is_not_blamed(*, reload: bool) -> None:
    """A sub-workflow that ended only because the whole fails is not what it failed for."""
    plan = planned(step("a"), inner("s", step("x"), step("y", "x")), step("b"))
    run = Run(plan).start()
    run.fail("steps/a")
    run.succeed("steps/s/steps/x")
    if reload:
        run.reload()
    run.succeed("steps/b")
    assert run.states["steps/s"] == "ABORTED"
    assert run.data.failure is not None
    assert run.data.failure.step == "a"


@pytest.mark.parametrize("reload", [False, True])
def test_a_supplied_fallback_stands_in_when_it_is_needed(*, reload: bool) -> None:
    """The known result of a fallback is used if its step fails, and not before."""
    plan = planned(step("a", fallback="f"), step("f"), step("b", "a"))
    run = Run(plan).start(f=b"9")
    if reload:
        run.reload()
    assert run.out == ["steps/a"]
    run.fail("steps/a")
    assert run.out == ["steps/b"]
    if reload:
        run.reload()
    run.succeed("steps/b")
    assert run.status is Status.SUCCESS


def test_a_fallback_that_is_out_is_not_called_again() -> None:
    """After a reload a fallback that runs, or has failed, is not made a second time."""
    plan = planned(step("a", fallback="f", optional=True), step("f"), step("b"))
    run = Run(plan).start()
    run.fail("steps/a")
    run.reload()
    run.fail("steps/f")
    run.reload()
    run.succeed("steps/b")
    assert run.states == {"steps/a": "FAILURE", "steps/f": "FAILURE", "steps/b": "SUCCESS"}
    assert run.status is Status.SUCCESS


def test_what_is_being_undone_is_counted() -> None:
    """Undos that are out or wait for a retry are found, in sub-workflows too."""
    sub = inner("s", undoable("x", undo={"retry": RETRY}), undoable("y"))
    run = Run(planned(sub, step("z", "s"), on_error="compensate")).start()
    run.succeed("steps/s/steps/x")
    run.succeed("steps/s/steps/y")
    run.fail("steps/z")
    run.fail("steps/s/steps/x/undo")
    index = run.reload().program._index
    assert (index.active, index.attempts_out) == (2, 1)
    assert list(index.unwindings) == ["", "steps/s"]
    assert [scope.owner.path for scope in index.compensating()] == [""]
