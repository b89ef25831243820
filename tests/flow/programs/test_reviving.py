"""Tests of `flow.programs.reviving`: what runs again after a failure, and what stays."""

from __future__ import annotations

import pytest

from flow.status import Status
from tests.flow.programs.driver import REFUSED, Run, inner, planned, step


def test_failures_run_again_and_results_stay() -> None:
    """Only failed and aborted steps go back; what they lead to runs after them."""
    sub = inner("s", step("x"), step("y"), step("z", "y"))
    run = Run(planned(step("a"), sub, step("b", "s"))).start()
    run.succeed("steps/a")
    run.succeed("steps/s/steps/x")
    run.fail("steps/s/steps/y")
    assert run.status is Status.FAILURE
    run.reload().resume()
    assert run.out == ["steps/s/steps/y"]
    assert run.attempt("steps/s/steps/y").number == 2
    for path in ("steps/s/steps/y", "steps/s/steps/z", "steps/b"):
        run.succeed(path)
    assert run.stands("SUCCESS")


def test_hooks_run_again() -> None:
    """The hooks of the failure are forgotten, and those for the new outcome run."""
    hooks = {"on_failure": step("cry"), "on_success": step("cheer"), "on_end": step("tell")}
    run = Run(planned(step("a"), hooks=hooks)).start()
    run.fail("steps/a")
    run.succeed("hooks/on_failure")
    run.fail("hooks/on_end")
    run.resume()
    assert (list(run.states), run.data.incident) == (["steps/a"], "")
    run.succeed("steps/a")
    assert run.out == ["hooks/on_success", "hooks/on_end"]


def test_a_failed_fallback_is_forgotten() -> None:
    """If step and fallback have failed the step is tried again, and then its fallback anew."""
    run = Run(planned(step("a", fallback="f"), step("f"))).start()
    run.fail("steps/a")
    run.fail("steps/f")
    run.resume()
    assert run.states == {"steps/a": "RUNNING"}
    run.fail("steps/a")
    assert run.attempt("steps/f").number == 1
    run.succeed("steps/f")
    assert run.stands("SUCCESS")


def test_what_the_workflow_could_live_with_stays() -> None:
    """A failure that a fallback or `optional` made good is not tried again."""
    steps = (
        *(step("a", fallback="f"), step("f"), step("o", optional=True), step("z")),
        *(step("p", optional=True, fallback="g"), step("g")),
    )
    run = Run(planned(*steps)).start()
    for path in ("steps/a", "steps/o", "steps/p"):
        run.fail(path)
    run.succeed("steps/f")
    run.fail("steps/g")
    run.fail("steps/z")
    run.resume()
    assert run.out == ["steps/z"]
    run.succeed("steps/z")
    assert run.stands("SUCCESS")


@pytest.mark.parametrize("fallback", ["", "f"])
def test_an_interrupted_optional_step_is_tried_again(fallback: str) -> None:
    """What may fail was not given up by itself if time was up, or its fallback was out then."""
    steps = [step("a", optional=True, fallback=fallback), *([step("f")] if fallback else [])]
    run = Run(planned(*steps, timeout_ms=5_000)).start()
    if fallback:
        run.fail("steps/a")
    run.wait(5)
    assert run.status is Status.FAILURE
    run.resume()
    assert run.states == {"steps/a": "RUNNING"}


def test_caps_hold_when_sub_workflows_are_tried_again() -> None:
    """Sub-workflows that are put back begin one after the other where a cap wants it."""
    first = inner("s", step("x"), concurrency=1, fallback="f")
    run = Run(planned(first, inner("t", step("y"), concurrency=1), step("f"))).start()
    run.fail("steps/s/steps/x")
    run.fail("steps/f")
    run.fail("steps/t/steps/y")
    run.resume()
    assert run.states["steps/s"] == "RUNNING"
    assert run.states["steps/t"] == "PENDING"
    run.succeed("steps/s/steps/x")
    run.reload().succeed("steps/t/steps/y")
    assert run.stands("SUCCESS")


def test_what_was_kept_back_runs_after_all() -> None:
    """Steps that were skipped for a failure are forgotten, and run when it is mended."""
    run = Run(planned(step("a"), step("b", "a"), step("c"), on_error="continue")).start()
    run.fail("steps/a")
    run.succeed("steps/c")
    assert run.status is Status.FAILURE
    run.resume()
    assert run.states == {"steps/a": "RUNNING", "steps/c": "SUCCESS"}
    run.reload().succeed("steps/a")
    run.succeed("steps/b")
    assert run.stands("SUCCESS")


@pytest.mark.parametrize("fallback", ["", "f"])
def test_a_sub_workflow_with_nothing_to_take_back_runs_again(fallback: str) -> None:
    """One that ended in COMPENSATED before anything began is tried again like a failure."""
    sub = inner("s", step("x"), on_error="compensate", fallback=fallback)
    stand_in = [inner("f", step("y"), on_error="compensate")] if fallback else []
    run = Run(planned(sub, *stand_in)).start()
    run.fail("steps/s/steps/x", REFUSED)
    if fallback:
        run.fail("steps/f/steps/y", REFUSED)
    assert run.states["steps/s"] == "COMPENSATED"
    assert run.status is Status.FAILURE
    run.reload().resume()
    assert run.out == ["steps/s/steps/x"]
    run.succeed("steps/s/steps/x")
    assert run.stands("SUCCESS")


def test_a_compensated_sub_workflow_that_may_fail_stays() -> None:
    """What an optional one did not do, it does not do later either."""
    sub = inner("s", step("x"), on_error="compensate", optional=True)
    run = Run(planned(sub, step("a"))).start()
    run.fail("steps/s/steps/x", REFUSED)
    run.fail("steps/a")
    run.resume()
    assert run.out == ["steps/a"]
    assert run.states["steps/s"] == "COMPENSATED"
