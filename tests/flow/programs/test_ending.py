"""Tests of `flow.programs.ending`: how workflows end, and what their hooks see."""

from __future__ import annotations

from typing import Any

import pytest

from flow.codec import loads
from flow.retry import RetryPolicy
from flow.status import Status
from flow.template import Composed, FromInput, FromStep, Literal, Template
from tests.flow.programs.driver import FAILURE, Run, inner, planned, step

RETRY = RetryPolicy(max_attempts=2, initial=10.0)


def blamed(run: Run) -> str:
    """Return the step that an execution failed for."""
    assert run.status is Status.FAILURE
    assert run.data.failure is not None
    return run.data.failure.step


def test_a_failing_workflow_lets_land_what_is_out() -> None:
    """Nothing new goes out, retries are given up, and it fails when nothing is out."""
    steps = (step("a"), step("b", retry=RETRY), step("c"), step("d", "c"), step("e", retry=RETRY))
    run = Run(planned(*steps)).start()
    run.fail("steps/b")
    run.fail("steps/a")
    assert run.states["steps/b"] == "FAILURE"
    run.fail("steps/e")
    assert run.states["steps/e"] == "FAILURE"
    assert run.status is Status.RUNNING
    run.succeed("steps/c")
    assert blamed(run) == "a"
    assert "steps/d" not in run.states


def test_sub_workflows_end_with_their_step() -> None:
    """A failure inside is blamed with its path; the step outside fails."""
    run = Run(planned(inner("s", step("x")), step("b", "s"))).start()
    run.fail("steps/s/steps/x")
    assert blamed(run) == "s/x"
    assert run.states["steps/s"] == "FAILURE"


@pytest.mark.parametrize("reload", [False, True])
def test_failing_reaches_into_sub_workflows(*, reload: bool) -> None:
    """What is inside a failing workflow gives up its retries, and is aborted when it is quiet."""
    sub = inner("s", step("x"), step("y", retry=RETRY), step("z", "x"))
    run = Run(planned(step("a"), sub)).start()
    run.fail("steps/s/steps/y")
    run.fail("steps/a")
    assert run.states["steps/s/steps/y"] == "FAILURE"
    if reload:
        run.reload()
    run.succeed("steps/s/steps/x")
    assert run.states["steps/s"] == "ABORTED"
    assert blamed(run) == "a"


def test_a_fallback_stands_in() -> None:
    """A fallback runs when its step has failed for good, and its output stands in."""
    run = Run(planned(step("a", fallback="f", retry=RETRY), step("f"), step("b", "a"))).start()
    run.fail("steps/a")
    assert "steps/f" not in run.states
    run.wait(10)
    run.fail("steps/a")
    assert run.out == ["steps/f"]
    run.succeed("steps/f", b"7")
    assert run.out == ["steps/b"]
    run.succeed("steps/b")
    assert run.status is Status.SUCCESS


def test_a_failing_fallback_is_to_blame() -> None:
    """If what stands in fails too, the workflow fails for it."""
    run = Run(planned(step("a", fallback="f"), step("f"))).start()
    run.fail("steps/a")
    run.fail("steps/f")
    assert blamed(run) == "f"


@pytest.mark.parametrize("fallback", ["", "f"])
def test_an_optional_step_may_fail(fallback: str) -> None:
    """What may fail counts as done when it and its fallback have failed; its output is null."""
    steps = [step("a", optional=True, fallback=fallback), step("b", "a")]
    run = Run(planned(*steps, *([step("f")] if fallback else []))).start()
    run.fail("steps/a")
    if fallback:
        run.fail("steps/f")
    assert run.out == ["steps/b"]
    run.succeed("steps/b", b"2")
    assert run.status is Status.SUCCESS
    assert loads(run.result()) == {"b": 2}


# ----------------------------------------------------------------------------------- hooks


@pytest.mark.parametrize(
    ("answer", "hooks"),
    [("succeed", ["on_success", "on_end"]), ("fail", ["on_failure", "on_end"])],
)
def test_hooks_run_by_outcome(answer: str, hooks: list[str]) -> None:
    """The hooks for the outcome run side by side, and the execution ends after them."""
    every = {name: step(name) for name in ("on_success", "on_failure", "on_end")}
    run = Run(planned(step("a"), hooks=every)).start()
    getattr(run, answer)("steps/a")
    assert run.out == [f"hooks/{name}" for name in hooks]
    assert run.status is Status.RUNNING
    for name in hooks:
        run.succeed(f"hooks/{name}")
    assert run.status is (Status.SUCCESS if answer == "succeed" else Status.FAILURE)
    assert run.data.incident == ""


def test_a_hook_that_fails_is_an_incident() -> None:
    """A failing hook is retried by its policy, changes nothing about the outcome, and is noted."""
    hooks = {"on_end": step("tell", retry=RETRY), "on_failure": step("cry")}
    run = Run(planned(step("a"), hooks=hooks)).start()
    run.fail("steps/a")
    run.fail("hooks/on_end")
    assert run.states["hooks/on_end"] == "RETRYING"
    run.reload().wait(10)
    run.fail("hooks/on_end")
    run.succeed("hooks/on_failure")
    assert blamed(run) == "a"
    assert run.data.incident == f"the hook on_end failed: {FAILURE}"


def test_a_hook_may_be_a_sub_workflow() -> None:
    """The steps of such a hook run although the workflow has failed, and with retries."""
    hooks = {"on_failure": inner("tell", step("x", retry=RETRY), step("y", "x"))}
    run = Run(planned(step("a"), hooks=hooks)).start()
    run.fail("steps/a")
    run.fail("hooks/on_failure/steps/x")
    run.reload().wait(10)
    run.succeed("hooks/on_failure/steps/x")
    run.succeed("hooks/on_failure/steps/y")
    assert run.states["hooks/on_failure"] == "SUCCESS"
    assert blamed(run) == "a"


def test_hooks_inside_a_failing_workflow_are_not_retried() -> None:
    """Once the workflow around it fails, a hook has no further attempts."""
    hooks = {"on_end": step("tell", retry=RETRY)}
    run = Run(planned(step("a"), inner("s", step("x"), hooks=hooks))).start()
    run.succeed("steps/s/steps/x")
    run.fail("steps/s/hooks/on_end")
    run.fail("steps/a")
    assert run.states["steps/s/hooks/on_end"] == "FAILURE"
    assert run.states["steps/s"] == "SUCCESS"
    assert blamed(run) == "a"


# --------------------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("output", "fails"),
    [
        (FromStep("a"), False),
        (Composed((("x", FromStep("a")),)), False),
        (FromInput(), False),
        (Literal(1), False),
        (FromStep("a", ("id",)), True),
        (Composed((("x", FromStep("a")), ("y", FromInput(("nothing",))))), True),
    ],
)
def test_the_result_is_tried(output: Template, *, fails: bool) -> None:
    """A result whose mapping looks for what is not there fails the workflow, and says why."""
    run = Run(planned(step("a"), output=output)).start()
    run.succeed("steps/a", b"1")
    assert run.status is (Status.FAILURE if fails else Status.SUCCESS)
    if fails:
        failure: Any = run.data.failure
        assert failure.type == "flow.errors.MappingFailed"
        assert failure.fields["owner"] == "the output of workflow 'shop'"


def test_the_result_of_a_sub_workflow_is_tried() -> None:
    """The mapping of a sub-workflow's result may fail as well, and is blamed by its step."""
    run = Run(planned(inner("s", step("x"), output=FromStep("x", ("id",))))).start()
    run.succeed("steps/s/steps/x", b"1")
    assert blamed(run) == "s"
