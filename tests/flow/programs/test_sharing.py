"""Tests of `flow.programs.sharing`: who sees what was shared."""

from __future__ import annotations

from flow.errors import FlowError, StateConflict
from flow.kept import Kept
from flow.kernel.events import StepKept
from flow.plan import Plan
from tests.flow.programs.driver import Run, inner, planned, step


def share(run: Run, path: str, **values: bytes) -> None:
    """Have a step share values, and succeed."""
    run.decide(StepKept(run.attempt(path), Kept(shared=values)))
    run.succeed(path)


def seen(run: Run, path: str) -> dict[str, bytes]:
    """Return what a node sees; the same before and after a load."""
    found = run.program.sharing.seen_by(run.tree.node(path))
    run.reload()
    assert run.program.sharing.seen_by(run.tree.node(path)) == found
    return found


def conflict(run: Run, path: str, **values: bytes) -> FlowError | None:
    """Return why a step must not share values."""
    return run.program.sharing.conflict(run.tree.node(path), values)


def chain(plan: Plan) -> Run:
    """Return an execution whose first step has shared `k` and `own`."""
    run = Run(plan).start()
    share(run, "steps/a", k=b"1", own=b"7")
    return run


def test_nothing_is_seen_where_nothing_was_shared() -> None:
    """Without values there is nothing to see."""
    run = Run(planned(step("a"))).start()
    assert seen(run, "steps/a") == {}


def test_later_steps_see_what_was_shared() -> None:
    """A step sees what all before it have shared, and of one name what the later has."""
    run = chain(planned(step("a"), step("b", "a"), step("c", "b"), step("d", "a")))
    assert seen(run, "steps/a") == {}
    share(run, "steps/b", k=b"2")
    assert seen(run, "steps/c") == {"k": b"2", "own": b"7"}
    assert seen(run, "steps/d") == {"k": b"1", "own": b"7"}


def test_an_undo_sees_what_its_step_saw_and_shared() -> None:
    """An undo sees the values of its run's time, and those of the run itself."""
    undo = step("u")
    run = chain(
        planned(step("a"), step("b", "a", undo=undo), step("c", "b"), on_error="compensate")
    )
    share(run, "steps/b", k=b"2")
    run.fail("steps/c")
    assert seen(run, "steps/b/undo") == {"k": b"2", "own": b"7"}


def test_values_flow_through_sub_workflows() -> None:
    """A step inside sees what was shared before, and steps outside what was shared inside."""
    sub = inner("s", step("x"), step("y", "x"), requires=("a",))
    run = chain(planned(step("a"), sub, step("z", "s")))
    assert seen(run, "steps/s/steps/x") == {"k": b"1", "own": b"7"}
    share(run, "steps/s/steps/x", k=b"2")
    share(run, "steps/s/steps/y", deep=b"3")
    assert seen(run, "steps/z") == {"k": b"2", "own": b"7", "deep": b"3"}


def test_a_fallback_is_between_its_step_and_the_others() -> None:
    """A fallback sees what its step has shared, and what follows sees what the fallback has."""
    run = Run(planned(step("a", fallback="f"), step("f"), step("b", "a"))).start()
    run.decide(StepKept(run.attempt("steps/a"), Kept(shared={"k": b"1"})))
    run.fail("steps/a")
    assert seen(run, "steps/f") == {"k": b"1"}
    share(run, "steps/f", k=b"2")
    assert seen(run, "steps/b") == {"k": b"2"}


def test_hooks_see_everything() -> None:
    """A hook sees what all steps have shared, also from inside of a sub-workflow that it is."""
    hook = inner("mend", step("h"))
    run = chain(planned(step("a"), step("b"), hooks={"on_end": hook}))
    share(run, "steps/b", other=b"8")
    path = "hooks/on_end/steps/h"
    assert seen(run, path) == {"k": b"1", "own": b"7", "other": b"8"}
    run.decide(StepKept(run.attempt(path), Kept(shared={"k": b"9"})))
    assert conflict(run, path, k=b"5") is None


def test_steps_side_by_side_must_agree() -> None:
    """Different values of one name are refused, equal ones and those of steps before are not."""
    run = chain(planned(step("a"), step("b"), step("c", "a")))
    assert conflict(run, "steps/c", k=b"2") is None
    assert conflict(run, "steps/b", k=b"1") is None
    assert conflict(run, "steps/b", else_=b"1") is None
    found = conflict(run, "steps/b", k=b"2")
    assert isinstance(found, StateConflict)
    assert found.steps == ["a", "b"]
    assert conflict(run, "steps/a", k=b"2") is None


def test_sub_workflows_side_by_side_must_agree() -> None:
    """A conflict is found where the two come together, and named by the steps there."""
    run = Run(planned(inner("s", step("x")), inner("t", step("y")))).start()
    share(run, "steps/s/steps/x", k=b"1")
    found = conflict(run, "steps/t/steps/y", k=b"2")
    assert isinstance(found, StateConflict)
    assert found.steps == ["s", "t"]


def test_a_fallback_that_is_gone_has_shared_nothing() -> None:
    """After a resume the fallback of the failed step has not run."""
    run = Run(planned(step("a", fallback="f"), step("f"), step("b", "a"))).start()
    run.fail("steps/a")
    run.decide(StepKept(run.attempt("steps/f"), Kept(shared={"k": b"2"})))
    run.fail("steps/f")
    assert run.stands("FAILURE")
    run.resume()
    run.succeed("steps/a")
    assert seen(run, "steps/b") == {}
