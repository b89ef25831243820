"""Tests of `flow.kernel.timers`: what happens when a deadline has passed."""

from __future__ import annotations

from typing import Any

import pytest

from flow.kernel.commands import RetryDue, RunStep, StartDue
from flow.kernel.decide import Accepted, Dropped
from flow.kernel.events import TimerFired
from flow.kernel.machine import Ref
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step, undoable

RETRY = RetryPolicy(max_attempts=3, initial=10.0, factor=2.0, jitter=0.5)


def one(**options: Any) -> Run:
    """Return a started execution of a single step."""
    return Run(planned(step("a", **options))).start()


def test_nobody_begins() -> None:
    """An attempt that no worker has begun with in time fails its step, and the error says so."""
    run = one(start_within_ms=5_000, retry=RETRY)
    assert run.wait(5) == [Accepted(Status.FAILURE)]
    failure = run.data.failure
    assert failure is not None
    assert failure.message == "no worker began with it within 5 s (start_within)"
    assert failure.fields == {"what": "steps/a", "seconds": 5.0}
    assert run.tree.node("steps/a").data.spent == 0


def test_stale_timers_are_dropped() -> None:
    """A timer whose node is gone, is another one, or has moved on does nothing."""
    run = one(retry=RETRY)
    run.fail("steps/a")
    timer = run.timers()[0]
    gone = Dropped("the node is gone")
    assert run.decide(TimerFired(Ref("steps/z", 3), timer.task)) == gone
    assert run.decide(TimerFired(timer.ref._replace(created=99), timer.task)) == gone
    other = RetryDue(deadline_ms=1)
    moved = Dropped("the timer is not wanted any more")
    assert run.decide(TimerFired(timer.ref, other)) == moved
    assert run.decide(TimerFired(timer.ref, timer.task)) == Accepted(Status.RUNNING)
    assert run.decide(TimerFired(timer.ref, timer.task)) == moved


def test_a_task_that_is_no_timer_does_nothing() -> None:
    """What has a destination is not carried out by the clock."""
    run = one()
    task = RunStep(attempt=1, epoch=1)
    ref = run.tree.node("steps/a").ref
    assert run.decide(TimerFired(ref, task)) == Accepted(Status.RUNNING)
    assert run.last is not None
    assert not run.last.changes


@pytest.mark.parametrize("clock", ["run", "stop"])
def test_no_timer_acts_while_suspended(clock: str) -> None:
    """Timers are dropped while the execution does not run; overdue ones act when it does."""
    run = Run(planned(step("a", retry=RETRY), step("b", start_within_ms=8_000))).start()
    run.fail("steps/a")
    timers = run.timers()
    run.suspend("s", clock)
    run.now_ms += 20_000
    for timer in timers:
        verdict = run.decide(TimerFired(timer.ref, timer.task))
        assert verdict == Dropped("the execution does not run")
    run.resume()
    expected = {"steps/a": "RUNNING", "steps/b": "FAILURE"}
    if clock == "stop":
        expected = {"steps/a": "RETRYING", "steps/b": "RUNNING"}
    assert run.states == expected


def test_an_overdue_timer_may_be_stale() -> None:
    """Of several overdue timers, one that an earlier one has made stale does nothing."""
    plan = planned(step("a", retry=RETRY), timeout_ms=15_000)
    run = Run(plan).start()
    run.fail("steps/a")
    run.suspend()
    run.now_ms += 20_000
    run.resume()
    assert run.states == {"steps/a": "ABORTED"}
    assert run.status is Status.FAILURE


def test_start_due_is_wanted_by_attempt() -> None:
    """Each attempt of a step has its own time to begin."""
    run = one(start_within_ms=5_000, retry=RETRY)
    run.fail("steps/a")
    run.wait(10)
    assert [one.task for one in run.timers()] == [StartDue(deadline_ms=run.now_ms + 5_000)]


def test_word_that_does_not_come_is_an_incident() -> None:
    """A step that is in doubt for too long is not undone: a person has to look at it."""
    run = Run(planned(undoable("a"), settle_within_ms=5_000)).start()
    run.abort(compensate=True)
    assert run.wait(4) == []
    assert run.wait(1) == [Accepted(Status.FAILURE)]
    failure = run.step("steps/a/undo").failure
    assert failure is not None
    assert failure.type == "flow.errors.OutcomeUnknown"
    assert failure.fields == {"step": "steps/a", "seconds": 5.0}
    assert run.data.incident == "1 undo failed: 'steps/a'"
    assert run.timers() == []
    run.undo()
    assert run.out == ["steps/a/undo"]


def test_an_overdue_word_is_missed_at_the_resume() -> None:
    """While it is suspended nothing is given up; afterwards at once."""
    sub = inner("s", undoable("x"), timeout_ms=1_000, on_error="compensate", settle_within_ms=1_000)
    run = Run(planned(sub, step("b"))).start()
    run.wait(1)
    run.suspend()
    run.now_ms += 5_000
    assert run.states["steps/s/steps/x/undo"] == "PENDING"
    run.resume()
    assert run.states["steps/s/steps/x/undo"] == "FAILURE"
