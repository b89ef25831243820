"""Tests of `flow.kernel.answers`: steps that run at most once, their permits and their silence."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import NotPossible
from flow.kernel.commands import CancelStep
from flow.kernel.decide import Accepted, Dropped, Refused, Verdict
from flow.kernel.events import Attempt, PermitRequested, StepHeard, StepSilent
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step

ONCE = {"at_most_once": True}
OK = Accepted(Status.RUNNING)


def ask(run: Run, path: str = "steps/a", permit: str = "p1", worker: str = "w1") -> Verdict:
    """Ask for the permit of the present attempt of a step."""
    return run.decide(PermitRequested(run.attempt(path), permit, worker))


def test_there_is_one_permit_ever() -> None:
    """Whoever asks first has it and gets it again; all others are denied, after a reload too."""
    run = Run(planned(step("a", **ONCE))).start()
    assert ask(run) == OK
    before = run.step("steps/a")
    assert (before.permit, before.worker, before.started_ms) == ("p1", "w1", 1_000)
    for again in (run, run.reload()):
        assert ask(again) == OK
        assert again.step("steps/a") == before
        assert ask(again, permit="p2") == Dropped("somebody else has the permit")
        assert ask(again, permit="p2", worker="w2") == Dropped("somebody else has the permit")


def test_a_permit_sends_nothing() -> None:
    """The attempt that gets its permit is not sent once more, and needs not begin any more."""
    run = Run(planned(step("a", start_within_ms=5_000, **ONCE))).start()
    ask(run)
    assert run.last is not None
    assert run.last.changes.outputs == ()
    assert run.timers() == []


def test_other_steps_have_no_permits() -> None:
    """Who asks for the permit of a step that may run often is denied, and nothing changes."""
    run = Run(planned(step("a"))).start()
    assert ask(run) == Dropped("the step does not run with a permit")
    assert run.step("steps/a").permit == ""


def test_nobody_gets_a_permit_after_an_abort() -> None:
    """An abort that is committed comes first: whoever asks then is denied for ever."""
    run = Run(planned(step("a", **ONCE))).start()
    attempt = run.attempt("steps/a")
    run.abort()
    assert isinstance(run.decide(PermitRequested(attempt, "p1", "w1")), Dropped)
    assert run.step("steps/a").permit == ""


def test_what_never_was_gets_no_permit() -> None:
    """A permit for another attempt or another node than the present one is denied."""
    run = Run(planned(step("a", **ONCE))).start()
    present = run.attempt("steps/a")
    for wrong in (
        Attempt(present.node, present.epoch, present.number + 1),
        Attempt(present.node, present.epoch + 1, present.number),
        Attempt(1, present.epoch, present.number),
    ):
        assert isinstance(run.decide(PermitRequested(wrong, "p1", "w1")), Dropped)
        assert isinstance(run.decide(StepSilent(wrong)), Dropped)
        assert isinstance(run.decide(StepHeard(wrong)), Dropped)


def test_silence_before_the_permit_is_no_incident() -> None:
    """While nobody has the permit the attempt is sent again, and nothing is noted."""
    run = Run(planned(step("a", **ONCE))).start()
    assert isinstance(run.decide(StepSilent(run.attempt("steps/a"))), Dropped)
    assert isinstance(run.decide(StepHeard(run.attempt("steps/a"))), Dropped)
    assert run.data.incident == ""


def test_silence_after_the_permit_is_an_incident() -> None:
    """It names step and worker, lasts over a reload, and the execution keeps its status."""
    run = Run(planned(step("a", **ONCE), step("b"))).start()
    ask(run)
    run.now_ms = 5_000
    silent = StepSilent(run.attempt("steps/a"))
    assert run.decide(silent) == OK
    assert isinstance(run.decide(silent), Dropped)
    run.reload()
    assert (run.status, run.step("steps/a").silent_ms) == (Status.RUNNING, 5_000)
    assert "'w1'" in run.data.incident
    assert "steps/a" in run.data.incident
    assert run.last is not None
    assert run.last.changes.outputs == ()


def test_an_incident_is_over_when_something_is_heard() -> None:
    """A sign of life, or the reply, takes the sentence about its step away, and no other."""
    run = Run(planned(step("a", **ONCE), step("b", **ONCE))).start()
    for path in ("steps/a", "steps/b"):
        ask(run, path)
        run.decide(StepSilent(run.attempt(path)))
    assert "steps/a" in run.data.incident
    assert "steps/b" in run.data.incident
    assert run.decide(StepHeard(run.attempt("steps/a"))) == OK
    assert "steps/a" not in run.data.incident
    run.reload().succeed("steps/b")
    assert (run.data.incident, run.status) == ("", Status.RUNNING)
    run.succeed("steps/a")
    assert run.stands("SUCCESS")


def test_a_failure_ends_an_incident_too() -> None:
    """A late failure counts: it fails the execution, and nothing is left to look at."""
    run = Run(planned(step("a", **ONCE))).start()
    ask(run)
    run.decide(StepSilent(run.attempt("steps/a")))
    run.fail("steps/a")
    assert (run.status, run.data.incident) == (Status.FAILURE, "")


def test_an_incident_while_suspending() -> None:
    """A suspension waits for the silent step, may be taken back, and the reply ends it."""
    run = Run(planned(step("a", **ONCE))).start()
    ask(run)
    run.suspend()
    assert run.decide(StepSilent(run.attempt("steps/a"))) == Accepted(Status.SUSPENDING)
    assert run.data.incident
    assert run.resume() == OK
    run.suspend("s2")
    run.succeed("steps/a")
    assert (run.status, run.data.incident) == (Status.SUSPENDED, "")


def test_an_incident_is_not_resumed_but_aborted() -> None:
    """To resume is refused with a hint; to abort works, tells the worker, keeps the incident."""
    run = Run(planned(step("a", **ONCE))).start()
    ask(run)
    run.decide(StepSilent(run.attempt("steps/a")))
    refusal = run.resume()
    assert isinstance(refusal, Refused)
    assert isinstance(refusal.error, NotPossible)
    assert "abort" in refusal.error.hint
    assert run.abort() == Accepted(Status.ABORTED)
    assert run.last is not None
    tasks = [type(output.task) for output in run.last.changes.outputs]
    assert CancelStep in tasks
    assert "steps/a" in run.data.incident


@pytest.mark.parametrize("options", [{}, {"asked_to_retry": True, "retry_after_ms": 5}])
def test_a_failed_step_is_not_tried_again(options: dict[str, Any]) -> None:
    """Another attempt would need another permit, whatever the handler asks for."""
    run = Run(planned(step("a", **ONCE))).start()
    ask(run)
    run.fail("steps/a", **options)
    assert run.status is Status.FAILURE


def test_what_ran_is_not_resumed() -> None:
    """A failed execution whose step ran at most once cannot be resumed; the hint names the step."""
    run = Run(planned(step("a", **ONCE))).start()
    ask(run)
    run.fail("steps/a")
    refusal = run.reload().resume()
    assert isinstance(refusal, Refused)
    assert isinstance(refusal.error, NotPossible)
    assert "steps/a" in refusal.error.hint
    assert run.stands("FAILURE")


def test_what_never_ran_is_resumed() -> None:
    """A step that failed without a permit has its one run still."""
    run = Run(planned(step("a", **ONCE))).start()
    run.fail("steps/a")
    assert run.resume() == OK
    assert ask(run) == OK


def test_only_what_would_run_again_matters() -> None:
    """What has succeeded, was optional, or is a hook, does not stand in the way of a resume."""
    steps = (step("a", **ONCE), step("o", optional=True, **ONCE), step("z", "a", "o"))
    run = Run(planned(*steps, hooks={"on_failure": step("cry", **ONCE)})).start()
    for path in ("steps/a", "steps/o"):
        ask(run, path)
    run.succeed("steps/a")
    run.fail("steps/o")
    run.fail("steps/z")
    ask(run, "hooks/on_failure")
    run.succeed("hooks/on_failure")
    assert run.stands("FAILURE")
    assert run.resume() == OK
    assert run.out == ["steps/z"]


def test_what_is_inside_and_what_stood_in_matters_too() -> None:
    """A step in a sub-workflow, and one in a fallback, that had their chance forbid a resume."""
    sub = inner("s", step("x", **ONCE))
    run = Run(planned(sub)).start()
    ask(run, "steps/s/steps/x")
    run.fail("steps/s/steps/x")
    refusal = run.resume()
    assert isinstance(refusal, Refused)
    assert "steps/s/steps/x" in str(refusal.error)
    run = Run(planned(step("a", fallback="f"), inner("f", step("x", **ONCE)))).start()
    run.fail("steps/a")
    ask(run, "steps/f/steps/x")
    run.fail("steps/f/steps/x")
    refusal = run.resume()
    assert isinstance(refusal, Refused)
    assert "steps/f/steps/x" in str(refusal.error)
