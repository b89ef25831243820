"""Tests of `flow.kernel.decide`: starts, answers and timers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flow.errors import FlowError, NodeExists
from flow.failure import Failure
from flow.kernel.commands import RetryDue, RunStep, StartDue
from flow.kernel.decide import Accepted, Dropped, Moment, decide
from flow.kernel.events import (
    Attempt,
    ExecutionStarted,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    TimerFired,
)
from flow.kernel.execution import INPUT
from flow.kernel.machine import Ref
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import FAILURE, Run, planned, step

RETRY = RetryPolicy(max_attempts=3, initial=10.0, factor=2.0, jitter=0.5)


def one(**options: Any) -> Run:
    """Return a started execution of a single step."""
    return Run(planned(step("a", **options))).start()


def test_a_start_is_kept_and_sends() -> None:
    """A start keeps its input, runs, and asks for the first attempts."""
    run = Run(planned(step("a"), step("b", "a")))
    event = ExecutionStarted("shop", "hash", b"1", {"h": "1"}, {"o": 1}, {}, {"l": "2"})
    assert run.decide(event) == Accepted(Status.RUNNING)
    kept = run.tree.node("input").read(INPUT)
    assert (kept.workflow, kept.body, kept.headers) == ("shop", b"1", {"h": "1"})
    assert (kept.definition, kept.options, kept.labels) == ("hash", {"o": 1}, {"l": "2"})
    assert [path for path, _ in run.sent()] == ["steps/a"]


def test_a_second_start_is_dropped() -> None:
    """A start that is delivered twice changes nothing."""
    run = one()
    assert run.decide(ExecutionStarted("shop", "hash", b"2")) == Dropped("it has begun already")
    assert run.last is not None
    assert not run.last.changes


def test_a_chain_runs_to_its_end() -> None:
    """Each success sends what waited for it, and the last one ends the execution."""
    run = Run(planned(step("a"), step("b", "a"))).start()
    assert run.succeed("steps/a") == Accepted(Status.RUNNING)
    assert run.out == ["steps/b"]
    assert run.succeed("steps/b") == Accepted(Status.SUCCESS)
    assert run.data.ended_ms == run.now_ms
    assert run.last is not None
    assert run.last.changes


def test_a_decision_that_fails_changes_nothing() -> None:
    """An event that breaks a rule raises, and the tree is as it was."""
    run = Run(planned(step("a")))
    before = run.tree.snapshot()
    event = ExecutionStarted("shop", "hash", b"1", results={"a": b"1", "nobody": b"1"})
    with pytest.raises(KeyError):
        decide(run.tree, run.program, event, Moment(1))
    assert run.tree.snapshot() == before
    assert not run.tree.take()
    assert issubclass(NodeExists, FlowError)


# --------------------------------------------------------------------------------- answers


def answers(attempt: Attempt) -> list[StepSucceeded | StepFailed | StepSkipped | StepStarted]:
    """Return one answer of each kind."""
    return [
        StepSucceeded(attempt, b"9"),
        StepFailed(attempt, FAILURE),
        StepSkipped(attempt),
        StepStarted(attempt),
    ]


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"node": 99}, "the step is gone"),
        ({"node": 1}, "the step is gone"),
        ({"epoch": 7}, "the attempt is of an older run epoch"),
        ({"number": 2}, "there was no such attempt"),
    ],
)
def test_answers_to_nothing_are_dropped(kind: int, wrong: dict[str, int], reason: str) -> None:
    """An answer to a step, an epoch or an attempt that is not there changes nothing."""
    run = one()
    attempt = run.attempt("steps/a")._replace(**wrong)
    assert run.decide(answers(attempt)[kind]) == Dropped(reason)
    assert run.out == ["steps/a"]


@pytest.mark.parametrize("kind", range(4))
def test_late_answers_are_dropped(kind: int) -> None:
    """After a step has ended no answer changes its result."""
    run = Run(planned(step("a"), step("b"))).start()
    run.succeed("steps/a", b"1")
    attempt = run.attempt("steps/a")
    assert run.decide(answers(attempt)[kind]) == Dropped("the step has ended already")
    assert run.step("steps/a").output == b"1"


def test_a_success_of_an_earlier_attempt_counts() -> None:
    """While there is no result any attempt may bring it, also while the next one is awaited."""
    for seconds in (0, 60):
        run = one(retry=RETRY)
        first = run.attempt("steps/a")
        run.fail("steps/a")
        run.wait(seconds)
        assert run.decide(StepSucceeded(first, b"7")) == Accepted(Status.SUCCESS)
        assert run.program.attempts_out == 0
        assert run.timers() == []


def test_a_failure_of_an_earlier_attempt_is_history() -> None:
    """Only the present attempt can fail or begin."""
    run = one(retry=RETRY)
    first = run.attempt("steps/a")
    run.fail("steps/a")
    late = Dropped("the attempt is not the present one")
    assert run.decide(StepFailed(first, FAILURE)) == late
    assert run.decide(StepStarted(first)) == late
    run.wait(60)
    assert run.decide(StepFailed(first, FAILURE)) == late
    assert run.step("steps/a").spent == 1


def test_a_skip_is_kept_with_its_reason() -> None:
    """A step that had nothing to do ends without a result, and what waits for it goes on."""
    run = Run(planned(step("a"), step("b", "a"))).start()
    assert run.skip("steps/a") == Accepted(Status.RUNNING)
    assert run.step("steps/a").reason == "nothing to do"
    assert run.out == ["steps/b"]


def test_a_start_of_a_step_is_noted_once() -> None:
    """That a worker has begun is written down, does not send the attempt again, and stops time."""
    run = one(start_within_ms=5_000)
    assert run.begin("steps/a") == Accepted(Status.RUNNING)
    assert run.sent() == []
    assert run.step("steps/a").started_ms == run.now_ms
    assert run.begin("steps/a") == Dropped("it is known that the attempt has begun")
    assert run.wait(60) == []


# --------------------------------------------------------------------------------- retries


def test_a_retry_waits_longer_each_time() -> None:
    """Attempts follow by the policy, with the jitter that was given, until there are none left."""
    run = one(retry=RETRY)
    run.random = 0.5
    run.fail("steps/a")
    assert run.step("steps/a").due_ms == run.now_ms + 7_500
    run.wait(7.5)
    run.fail("steps/a")
    assert run.step("steps/a").due_ms == run.now_ms + 15_000
    run.wait(15)
    assert run.attempt("steps/a").number == 3
    assert run.fail("steps/a") == Accepted(Status.FAILURE)
    assert run.data.failure == replace(FAILURE, step="a")


@pytest.mark.parametrize(
    ("options", "failure", "delay"),
    [
        ({}, {}, None),
        ({"retry": RETRY}, {"retryable": False}, None),
        ({"retry": RETRY}, {"retry_after_ms": 42}, 42),
        ({"retry": RETRY}, {"failure": Failure("shop.Refused", "")}, 10_000),
        ({}, {"asked_to_retry": True}, 1_000),
        ({}, {"asked_to_retry": True, "retry_after_ms": 0}, 0),
        (
            {"retry": replace(RETRY, non_retryable=("Refused",))},
            {"failure": Failure("shop.Refused", "")},
            None,
        ),
        ({"retry": RetryPolicy(max_attempts=1)}, {"asked_to_retry": True}, None),
    ],
)
def test_who_tries_again(
    options: dict[str, Any], failure: dict[str, Any], delay: int | None
) -> None:
    """The policy, the kind of failure and the handler's wish decide about another attempt."""
    run = one(**options)
    run.fail("steps/a", **{"failure": FAILURE, **failure})
    due = run.step("steps/a").due_ms
    assert due == (None if delay is None else run.now_ms + delay)


# ---------------------------------------------------------------------------------- timers


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
