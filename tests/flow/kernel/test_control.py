"""Tests of `flow.kernel.control`: suspending, resuming and aborting."""

from __future__ import annotations

import pytest

from flow.errors import NotPossible
from flow.kernel.commands import CancelStep
from flow.kernel.decide import Accepted, Dropped, Refused, Verdict
from flow.kernel.events import StepSucceeded
from flow.kernel.execution import COMMAND
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step

RETRY = RetryPolicy(max_attempts=2, initial=10.0, jitter=0.0)


def chain() -> Run:
    """Return a started execution of two steps, one after the other."""
    return Run(planned(step("a"), step("b", "a"))).start()


def refused(verdict: Verdict) -> str:
    """Return the error that a command was refused with."""
    assert isinstance(verdict, Refused)
    assert isinstance(verdict.error, NotPossible)
    return str(verdict.error)


def test_suspending_waits_for_what_is_out() -> None:
    """Nothing new goes out, results are taken, and it is suspended when nothing is out."""
    run = chain()
    assert run.suspend() == Accepted(Status.SUSPENDING)
    assert run.succeed("steps/a") == Accepted(Status.SUSPENDED)
    assert run.states == {"steps/a": "SUCCESS"}
    assert run.resume() == Accepted(Status.RUNNING)
    assert run.out == ["steps/b"]


def test_suspending_what_is_quiet() -> None:
    """With no attempt out it is suspended at once."""
    run = Run(planned(step("a", retry=RETRY))).start()
    run.fail("steps/a")
    assert run.suspend() == Accepted(Status.SUSPENDED)


def test_the_last_result_waits_for_the_resume() -> None:
    """An execution whose last step ends while it is suspended ends when it is resumed."""
    run = Run(planned(step("a"))).start()
    run.suspend()
    assert run.succeed("steps/a") == Accepted(Status.SUSPENDED)
    assert run.resume() == Accepted(Status.SUCCESS)


def test_resuming_before_it_was_quiet() -> None:
    """What is still suspending goes on as if nothing had been."""
    run = chain()
    run.suspend()
    assert run.resume() == Accepted(Status.RUNNING)
    run.succeed("steps/a")
    assert run.out == ["steps/b"]


def test_commands_are_obeyed_once() -> None:
    """A command that is delivered again is answered as before and does nothing."""
    run = chain()
    assert run.suspend("s") == Accepted(Status.SUSPENDING)
    assert run.resume("r") == Accepted(Status.RUNNING)
    assert run.suspend("s") == Accepted(Status.SUSPENDING)
    assert run.status is Status.RUNNING
    run.suspend("again")
    assert run.resume("r") == Accepted(Status.RUNNING)
    assert run.stands("SUSPENDING")
    assert run.abort("a") == Accepted(Status.ABORTED)
    assert run.abort("a") == Accepted(Status.ABORTED)
    assert run.tree.node("commands/a").read(COMMAND).verb == "abort"


def test_commands_without_work_are_remembered() -> None:
    """A command that found nothing to do does not undo the opposite one when it comes again."""
    run = chain()
    run.suspend("first")
    assert run.suspend("second") == Accepted(Status.SUSPENDING)
    run.resume("third")
    assert run.resume("fourth") == Accepted(Status.RUNNING)
    run.suspend("second")
    assert run.status is Status.RUNNING
    run.suspend("fifth")
    run.resume("fourth")
    assert run.stands("SUSPENDING")


def test_an_abort_ends_everything() -> None:
    """What is out is aborted and cancelled, no hook runs, and late answers are dropped."""
    hooks = {"on_end": step("tell")}
    steps = (step("a"), step("b", retry=RETRY), inner("c", step("x"), step("y", "x")))
    run = Run(planned(*steps, hooks=hooks)).start()
    attempt = run.attempt("steps/a")
    run.fail("steps/b")
    assert run.abort("a", "enough") == Accepted(Status.ABORTED)
    assert set(run.states.values()) == {"ABORTED"}
    assert run.last is not None
    tasks = [one.task for one in run.last.changes.outputs]
    assert tasks == [CancelStep(attempt=1, epoch=1)] * 3
    assert (run.data.epoch, run.program.attempts_out) == (2, 0)
    assert run.data.failure is not None
    assert run.data.failure.message == "enough"
    assert run.decide(StepSucceeded(attempt, b"1")) == Dropped(
        "the attempt is of an older run epoch"
    )


@pytest.mark.parametrize("suspended", ["", "SUSPENDING", "SUSPENDED"])
def test_an_abort_is_always_possible(suspended: str) -> None:
    """Whatever has not ended can be aborted, and an aborted execution stays so."""
    run = chain()
    if suspended:
        run.suspend()
    if suspended == "SUSPENDED":
        run.succeed("steps/a")
    assert run.abort() == Accepted(Status.ABORTED)
    assert run.abort("again") == Accepted(Status.ABORTED)
    assert run.data.failure is not None
    assert run.data.failure.message == "aborted on request"


def test_what_has_ended_refuses() -> None:
    """Nothing can be done to a success; the error names the status."""
    run = Run(planned(step("a"))).start()
    run.succeed("steps/a")
    assert refused(run.suspend()) == "cannot suspend execution '': it is SUCCESS"
    assert refused(run.abort()) == "cannot abort execution '': it is SUCCESS"
    assert refused(run.resume()) == (
        "cannot resume execution '': it is SUCCESS; "
        "only a suspended or failed execution can be resumed"
    )


def test_a_failure_can_be_tried_again() -> None:
    """Failed steps run again in a new epoch with a fresh budget; results stay."""
    plan = planned(step("a"), step("b", "a", retry=RETRY), timeout_ms=60_000)
    run = Run(plan).start()
    run.succeed("steps/a")
    run.fail("steps/b")
    run.wait(10)
    assert run.fail("steps/b") == Accepted(Status.FAILURE)
    run.now_ms += 100_000
    assert run.resume() == Accepted(Status.RUNNING)
    assert (run.data.epoch, run.data.failure) == (2, None)
    assert run.attempt("steps/b").number == 3
    assert run.step("steps/b").spent == 0
    assert run.succeed("steps/b") == Accepted(Status.SUCCESS)
