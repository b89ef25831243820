"""Tests of `flow.programs.interrupting`: timeouts, and what an abort reaches."""

from __future__ import annotations

from flow.kernel.commands import CancelStep
from flow.kernel.decide import Accepted, Dropped
from flow.kernel.events import StepSucceeded
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step, undoable

RETRY = RetryPolicy(max_attempts=2, initial=100.0)


def test_time_is_up() -> None:
    """A timeout ends all that is out, makes answers stale, runs the hooks, and says how long."""
    hooks = {"on_failure": step("cry")}
    steps = (step("a"), step("b", retry=RETRY), inner("s", step("x")), step("c"))
    run = Run(planned(*steps, timeout_ms=5_000, hooks=hooks)).start()
    attempt = run.attempt("steps/a")
    run.fail("steps/b")
    run.succeed("steps/c")
    assert run.wait(5) == [Accepted(Status.RUNNING)]
    assert run.last is not None
    cancelled = [one.ref.path for one in run.last.changes.outputs if type(one.task) is CancelStep]
    assert cancelled == ["steps/a", "steps/b", "steps/s/steps/x"]
    assert run.out == ["hooks/on_failure"]
    assert run.attempt("hooks/on_failure").epoch == run.data.epoch == 2
    late = run.decide(StepSucceeded(attempt, b"1"))
    assert late == Dropped("the attempt is of an older run epoch")
    assert run.wait(60) == []
    run.reload().succeed("hooks/on_failure")
    assert run.status is Status.FAILURE
    assert run.data.failure is not None
    assert run.data.failure.message == ("the workflow 'shop' did not end within its timeout (5 s)")
    assert run.data.failure.fields == {"what": "shop", "seconds": 5.0}


def test_time_is_up_for_a_sub_workflow() -> None:
    """The timeout of a sub-workflow fails its step; what is beside it goes on."""
    sub = inner("s", step("x"), inner("t", step("y")), timeout_ms=5_000, fallback="f")
    run = Run(planned(sub, step("f"), step("a"))).start()
    run.wait(5)
    assert run.states == {
        "steps/s": "FAILURE",
        "steps/s/steps/x": "ABORTED",
        "steps/s/steps/t": "ABORTED",
        "steps/s/steps/t/steps/y": "ABORTED",
        "steps/a": "RUNNING",
        "steps/f": "RUNNING",
    }
    assert run.data.epoch == 1
    run.succeed("steps/a")
    run.succeed("steps/f")
    assert run.status is Status.SUCCESS


def test_time_is_up_while_all_fails() -> None:
    """A sub-workflow whose time is up while the whole fails ends in ABORTED: it is not to blame."""
    run = Run(planned(step("a"), inner("s", step("x"), timeout_ms=5_000))).start()
    run.fail("steps/a")
    run.wait(5)
    assert run.states["steps/s"] == "ABORTED"
    assert run.data.failure is not None
    assert run.data.failure.step == "a"


def test_time_does_not_end_hooks() -> None:
    """Once the outcome is known no timeout acts."""
    run = Run(planned(step("a"), timeout_ms=5_000, hooks={"on_end": step("tell")})).start()
    timer = run.timers()
    run.succeed("steps/a")
    assert len(timer) == 1
    assert run.wait(60) == []
    assert run.out == ["hooks/on_end"]


def test_an_abort_reaches_what_is_to_be_tried_again() -> None:
    """Steps and sub-workflows that were put back and have not gone out are aborted too."""
    first = inner("s", step("x"), concurrency=1, fallback="f")
    run = Run(planned(first, inner("t", step("y"), concurrency=1), step("f"))).start()
    run.fail("steps/s/steps/x")
    run.fail("steps/f")
    run.fail("steps/t/steps/y")
    run.resume()
    assert run.states["steps/t"] == "PENDING"
    run.abort()
    assert set(run.states.values()) == {"ABORTED"}


def test_an_abort_reaches_what_is_being_undone() -> None:
    """Undos that are out, wait for a retry or for their turn are aborted, and can go out later."""
    undo = {"retry": RETRY}
    steps = (undoable("x"), undoable("y", undo=undo), undoable("z"), undoable("w", "x"))
    run = Run(planned(inner("s", *steps, on_error="compensate"), step("a"))).start()
    for name in "xyz":
        run.succeed(f"steps/s/steps/{name}")
    run.fail("steps/s/steps/w")
    run.fail("steps/s/steps/y/undo")
    run.succeed("steps/s/steps/z/undo")
    assert run.states["steps/s/steps/x/undo"] == "PENDING"
    run.abort()
    undos = {path: state for path, state in run.states.items() if path.endswith("undo")}
    assert sorted(undos.values()) == ["ABORTED", "ABORTED", "ABORTED", "SUCCESS"]
    assert run.states["steps/s"] == "ABORTED"
    assert (run.program.attempts_out, run.timers()) == (0, [])
    run.succeed("steps/a")
    run.undo()
    assert run.out == ["steps/s/steps/y/undo", "steps/s/steps/w/undo"]
