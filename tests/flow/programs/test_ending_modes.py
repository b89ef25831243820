"""Tests of `flow.programs.ending`: what follows an error, by the mode of the workflow."""

from __future__ import annotations

import pytest

from flow.plan import StartOptions
from flow.retry import RetryPolicy
from flow.status import Status
from flow.template import FromStep
from tests.flow.programs.driver import Run, inner, planned, step, undoable

RETRY = RetryPolicy(max_attempts=2, initial=10.0, jitter=0.0)
RELOAD = pytest.mark.parametrize("reload", [False, True])
HOOKS = {name: step(name) for name in ("on_success", "on_failure", "on_end")}


def blamed(run: Run) -> str:
    """Return the step that an execution failed for."""
    assert run.status is Status.FAILURE
    assert run.data.failure is not None
    return run.data.failure.step


# --------------------------------------------------------------------------------- continue


@RELOAD
def test_others_go_on_after_a_failure(*, reload: bool) -> None:
    """What depends on the failed step is skipped and says why; all else runs, with its retries."""
    steps = (
        *(step("a"), step("b", "a"), step("c", "b"), inner("s", step("x"), requires=("a",))),
        *(step("d", retry=RETRY), step("e", "d"), step("f", "d", "a")),
    )
    run = Run(planned(*steps, on_error="continue")).start()
    run.fail("steps/d")
    run.fail("steps/a")
    if reload:
        run.reload()
    assert run.states["steps/d"] == "RETRYING"
    for name in "bcsf":
        assert run.step(f"steps/{name}").blocked_by == "a"
        assert run.states[f"steps/{name}"] == "SKIPPED"
    run.wait(10)
    run.succeed("steps/d")
    if reload:
        run.reload()
    run.succeed("steps/e")
    assert blamed(run) == "a"


@RELOAD
def test_the_first_failure_is_to_blame(*, reload: bool) -> None:
    """Several may fail; a step that depends on two is skipped once, for the first of them."""
    run = Run(planned(step("a"), step("b"), step("c", "a", "b"), on_error="continue")).start()
    run.fail("steps/b")
    if reload:
        run.reload()
    run.fail("steps/a")
    assert blamed(run) == "b"
    assert run.step("steps/c").blocked_by == "b"


@RELOAD
def test_what_makes_a_failure_good_blocks_nothing(*, reload: bool) -> None:
    """A fallback and `optional` do as ever; one that fails blocks what waits for its step."""
    steps = (
        *(step("a", fallback="f"), step("f"), step("b", "a")),
        *(step("c", optional=True), step("d", "c"), step("e", fallback="g"), step("g")),
        step("h", "e"),
    )
    run = Run(planned(*steps, on_error="continue", barrier=True)).start()
    for path in ("steps/a", "steps/c", "steps/e"):
        run.fail(path)
    if reload:
        run.reload()
    run.succeed("steps/f")
    run.fail("steps/g")
    if reload:
        run.reload()
    assert run.step("steps/h").blocked_by == "e"
    assert run.out == ["steps/b", "steps/d"]
    run.succeed("steps/b")
    run.succeed("steps/d")
    assert blamed(run) == "g"


def test_a_supplied_result_is_not_blocked() -> None:
    """A step whose result is known needs nobody, and neither do those behind it because of it."""
    run = Run(planned(step("a"), step("b", "a"), step("c", "b"), on_error="continue"))
    run.start(b=b"1")
    run.fail("steps/a")
    assert run.out == ["steps/c"]
    run.succeed("steps/c")
    assert blamed(run) == "a"


def test_a_compensated_sub_workflow_has_failed() -> None:
    """What depends on a sub-workflow that took back what it did is skipped."""
    sub = inner("s", step("x"), on_error="compensate")
    run = Run(planned(sub, step("b", "s"), step("c"), on_error="continue")).start()
    run.fail("steps/s/steps/x")
    assert run.states["steps/s"] == "COMPENSATED"
    assert run.step("steps/b").blocked_by == "s"
    run.reload().succeed("steps/c")
    assert blamed(run) == "s/x"


def test_a_compensated_sub_workflow_has_its_fallback() -> None:
    """A fallback stands in for it, after a load as well."""
    sub = inner("s", undoable("x"), on_error="compensate", fallback="f")
    run = Run(planned(sub, step("f"), step("b", "s"))).start()
    run.fail("steps/s/steps/x")
    run.succeed("steps/s/steps/x/undo")
    assert run.reload().out == ["steps/f"]
    run.reload().succeed("steps/f")
    run.reload().succeed("steps/b")
    assert run.status is Status.SUCCESS


@pytest.mark.parametrize("mode", ["stop", "continue", "compensate"])
def test_time_that_is_up_ends_everything(mode: str) -> None:
    """Nothing goes on after a timeout, whatever follows an error."""
    hooks = {"on_failure": step("cry")}
    steps = (undoable("a"), step("b"), step("c", "b"))
    run = Run(planned(*steps, timeout_ms=5_000, on_error=mode, hooks=hooks)).start()
    run.succeed("steps/a")
    run.wait(5)
    if mode == "compensate":
        assert run.out == ["steps/a/undo"]
        run.reload().succeed("steps/a/undo")
    assert run.out == ["hooks/on_failure"]
    assert "steps/c" not in run.states
    run.reload().succeed("hooks/on_failure")
    assert run.status is (Status.COMPENSATED if mode == "compensate" else Status.FAILURE)


def test_time_that_is_up_inside_ends_the_sub_workflow() -> None:
    """The same holds for a sub-workflow; the workflow around it goes on."""
    sub = inner("s", step("x"), step("y", "x"), timeout_ms=5_000, on_error="continue")
    run = Run(planned(sub, step("b"), on_error="continue")).start()
    run.wait(5)
    assert run.states["steps/s"] == "FAILURE"
    assert run.out == ["steps/b"]


# ------------------------------------------------------------------------------- compensate


@RELOAD
@pytest.mark.parametrize("undo", ["succeed", "fail"])
def test_hooks_run_after_the_compensation(undo: str, *, reload: bool) -> None:
    """They are those of a failure, while it is COMPENSATING still; then it ends as it was."""
    run = Run(planned(undoable("a"), hooks=HOOKS, on_error="compensate")).start()
    run.fail("steps/a")
    getattr(run, undo)("steps/a/undo")
    if reload:
        run.reload()
    outcome = "COMPENSATED" if undo == "succeed" else "FAILURE"
    assert (run.status, run.data.outcome) == (Status.COMPENSATING, outcome)
    assert run.out == ["hooks/on_failure", "hooks/on_end"]
    run.fail("hooks/on_failure")
    if reload:
        run.reload()
    run.succeed("hooks/on_end")
    assert run.stands(outcome)
    assert "the hook on_failure failed" in run.data.incident
    assert ("1 undo failed: 'steps/a'" in run.data.incident) is (undo == "fail")


def test_hooks_run_once_for_each_end() -> None:
    """What is undone by hand has another end, and its hooks run for that."""
    run = Run(planned(undoable("a"), hooks=HOOKS)).start()
    run.succeed("steps/a")
    run.succeed("hooks/on_success")
    run.succeed("hooks/on_end")
    assert run.status is Status.SUCCESS
    run.undo()
    run.succeed("steps/a/undo")
    assert run.out == ["hooks/on_failure", "hooks/on_end"]
    run.reload().succeed("hooks/on_failure")
    run.succeed("hooks/on_end")
    assert run.stands("COMPENSATED")


def test_a_result_that_cannot_be_put_together_is_taken_back() -> None:
    """It is a failure like that of a step."""
    steps = (undoable("a"),)
    run = Run(planned(*steps, output=FromStep("a", ("id",)), on_error="compensate")).start()
    run.succeed("steps/a", b"1")
    assert run.out == ["steps/a/undo"]
    run.reload().succeed("steps/a/undo")
    assert run.status is Status.COMPENSATED
    assert run.data.failure is not None
    assert run.data.failure.type == "flow.errors.MappingFailed"


@RELOAD
def test_hooks_of_a_stopped_sub_workflow_do_not_run(*, reload: bool) -> None:
    """A sub-workflow that compensated itself inside a failing one ends without its hooks."""
    sub = inner("s", undoable("x"), on_error="compensate", hooks={"on_end": step("tell")})
    run = Run(planned(sub, step("a"), step("b"))).start()
    run.fail("steps/s/steps/x")
    run.fail("steps/a")
    run.suspend()
    run.succeed("steps/s/steps/x/undo")
    if reload:
        run.reload()
    run.resume()
    assert run.states["steps/s"] == "COMPENSATED"
    run.succeed("steps/b")
    assert run.status is Status.FAILURE


@RELOAD
def test_a_retry_that_is_given_up_is_a_failure_inside(*, reload: bool) -> None:
    """A sub-workflow whose retry is given up for a failure outside takes back what it did."""
    sub = inner("s", undoable("x", retry=RETRY), step("y"), on_error="compensate")
    run = Run(planned(sub, step("a"))).start()
    run.fail("steps/s/steps/x")
    run.fail("steps/a")
    assert run.states["steps/s/steps/x"] == "FAILURE"
    if reload:
        run.reload()
    run.succeed("steps/s/steps/y")
    assert run.out == ["steps/s/steps/x/undo"]
    run.succeed("steps/s/steps/x/undo")
    assert run.states["steps/s"] == "COMPENSATED"


@RELOAD
def test_what_ends_while_suspended_goes_on_as_one_order(*, reload: bool) -> None:
    """Sub-workflows that are done with end first, then their hooks go, then other steps."""
    sub = inner("s", step("x"), on_error="compensate", fallback="f")
    run = Run(planned(sub, step("f"), step("a"), step("b", "a"))).start()
    run.suspend()
    run.fail("steps/s/steps/x")
    run.succeed("steps/a")
    if reload:
        run.reload()
    run.resume()
    assert [path for path, _ in run.sent()] == ["steps/f", "steps/b"]


@pytest.mark.parametrize("ends", ["stops", "succeeds", "hooks"])
def test_the_whole_tells_of_failed_undos_inside(ends: str) -> None:
    """Whatever becomes of the whole, a person sees that something was not taken back."""
    fallback = "" if ends == "stops" else "f"
    hooks = {"on_end": step("tell")} if ends == "hooks" else {}
    sub = inner("s", undoable("x"), on_error="compensate", fallback=fallback)
    run = Run(planned(sub, *([step("f")] if fallback else []), hooks=hooks)).start()
    run.fail("steps/s/steps/x")
    run.fail("steps/s/steps/x/undo")
    if fallback:
        run.succeed("steps/f")
    if hooks:
        run.succeed("hooks/on_end")
    assert run.status is (Status.SUCCESS if fallback else Status.FAILURE)
    assert run.data.incident == "1 undo failed: 'steps/s/steps/x'"


def test_modes_may_be_chosen_at_the_start() -> None:
    """The options of a start replace the modes of the definition."""
    options = StartOptions(on_error="compensate", on_undo_error="stop")
    run = Run(planned(undoable("a"), undoable("b", "a"), options=options)).start()
    run.succeed("steps/a")
    run.fail("steps/b")
    run.fail("steps/b/undo")
    assert run.status is Status.FAILURE
    assert run.states["steps/a/undo"] == "PENDING"
