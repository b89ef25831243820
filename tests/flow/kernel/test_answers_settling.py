"""Tests of `flow.kernel.answers`: word of attempts that were ended by force."""

from __future__ import annotations

from typing import Any

import pytest

from flow.kernel.commands import CancelStep
from flow.kernel.decide import Accepted, Dropped
from flow.kernel.events import (
    PermitRequested,
    StepCancelled,
    StepFailed,
    StepSkipped,
    StepSucceeded,
)
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import FAILURE, REFUSED, Run, planned, step, undoable

RETRY = RetryPolicy(max_attempts=3, initial=1.0)


def aborted(**options: Any) -> Run:
    """Return an execution that was aborted while the attempt of its step was out."""
    run = Run(planned(undoable("a", **options))).start()
    run.abort()
    return run


def test_a_late_success_settles() -> None:
    """The answer to the last attempt is taken after an abort: the step stays, the doubt goes."""
    run = aborted()
    assert run.step("steps/a").unsettled
    assert run.succeed("steps/a", b"7") == Accepted(Status.ABORTED)
    data = run.step("steps/a")
    assert (data.unsettled, data.began, data.output) == (False, True, b"7")
    assert run.states == {"steps/a": "ABORTED"}
    assert run.succeed("steps/a", b"8") == Dropped("the attempt is of an older run epoch")
    assert run.step("steps/a").output == b"7"


def test_late_answers_say_whether_it_began() -> None:
    """Each kind of answer settles; a refusal, or word that it never began, says so."""
    run = aborted()
    run.skip("steps/a")
    assert run.step("steps/a").began
    for failure, began in ((FAILURE, True), (REFUSED, False)):
        run = aborted()
        run.fail("steps/a", failure)
        data = run.step("steps/a")
        assert (data.unsettled, data.began, data.failure) == (False, began, failure)
    for began in (True, False):
        run = aborted()
        assert run.cancelled("steps/a", began=began) == Accepted(Status.ABORTED)
        assert run.step("steps/a").began is began


@pytest.mark.parametrize("asked", [False, True])
def test_nobody_begins_without_the_permit(*, asked: bool) -> None:
    """Whatever is said of a step that runs at most once, it cannot have begun without a permit."""
    run = Run(planned(undoable("a", at_most_once=True))).start()
    if asked:
        run.decide(PermitRequested(run.attempt("steps/a"), "p", "w"))
    run.abort()
    run.cancelled("steps/a", began=True)
    data = run.step("steps/a")
    assert (data.unsettled, data.began) == (False, asked)


@pytest.mark.parametrize("wrong", [{"number": 1}, {"epoch": 9}, {"node": 99}])
def test_only_the_last_attempt_settles(wrong: dict[str, int]) -> None:
    """An older attempt, another epoch or another step say nothing about the last attempt."""
    run = Run(planned(undoable("a", retry=RETRY))).start()
    run.fail("steps/a")
    run.wait(10)
    run.abort()
    attempt = run.attempt("steps/a")._replace(**wrong)
    for event in (
        StepSucceeded(attempt, b"1"),
        StepFailed(attempt, FAILURE),
        StepSkipped(attempt),
        StepCancelled(attempt),
    ):
        assert isinstance(run.decide(event), Dropped)
    assert run.step("steps/a").unsettled


def test_without_an_undo_nobody_waits_for_word() -> None:
    """Late answers to a step that has no undo are dropped as ever."""
    run = Run(planned(step("a"))).start()
    run.abort()
    assert run.cancelled("steps/a") == Dropped("nobody waits for word of the attempt")
    assert run.succeed("steps/a") == Dropped("the attempt is of an older run epoch")


def test_what_is_out_cannot_be_settled() -> None:
    """A worker that lets go of an attempt that is still wanted changes nothing."""
    run = Run(planned(undoable("a"))).start()
    assert isinstance(run.cancelled("steps/a"), Dropped)
    assert run.out == ["steps/a"]


@pytest.mark.parametrize("reload", [False, True])
def test_word_of_an_expired_attempt_leaves_the_blame(*, reload: bool) -> None:
    """Late word of the step that failed first does not make another one to blame after a load."""
    run = Run(planned(undoable("a", start_within_ms=1_000), step("b"), step("c"))).start()
    run.wait(1)
    run.fail("steps/b")
    assert run.cancelled("steps/a", began=False) == Accepted(Status.RUNNING)
    if reload:
        run.reload()
    run.succeed("steps/c")
    assert run.data.failure is not None
    assert run.data.failure.step == "a"


def test_a_step_that_is_tried_again_waits_for_no_word() -> None:
    """After a resume the old attempt settles nothing, whether or not the new one went out yet."""
    same = {"target": "service.same", "concurrency": 1}
    run = Run(planned(undoable("a", **same), undoable("b", **same), timeout_ms=1_000)).start()
    run.succeed("steps/a")
    old = run.attempt("steps/b")
    run.wait(1)
    assert run.states == {"steps/a": "SUCCESS", "steps/b": "ABORTED"}
    run.resume()
    assert isinstance(run.decide(StepCancelled(old, began=False)), Dropped)
    run.skip("steps/b")
    assert isinstance(run.skip("steps/b"), Dropped)


def test_word_of_a_step_that_waits_to_run_again_is_dropped() -> None:
    """A revived step that is held by a cap is no longer in doubt."""
    same = {"target": "service.same", "concurrency": 1}
    steps = (step("a", optional=True, **same), undoable("b", **same), undoable("c"))
    run = Run(planned(*steps, timeout_ms=1_000)).start()
    run.fail("steps/a")
    old = run.attempt("steps/b")
    run.wait(1)
    run.suspend()
    run.resume()
    run.decide(StepSucceeded(old, b"1"))
    assert run.states["steps/b"] == "RUNNING"


def test_word_undoes_at_once() -> None:
    """In a compensation the undo goes out with the word that it waited for, and tells it nobody."""
    run = Run(planned(undoable("a"))).start()
    run.abort(compensate=True)
    assert run.last is not None
    tasks = [one.task for one in run.last.changes.outputs]
    assert CancelStep(attempt=1, epoch=1) in tasks
    assert run.out == []
    assert run.succeed("steps/a") == Accepted(Status.COMPENSATING)
    assert [path for path, _ in run.sent()] == ["steps/a/undo"]
    assert run.timers() == []
