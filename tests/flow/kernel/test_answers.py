"""Tests of `flow.kernel.answers`: what workers say, and who tries again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flow.failure import Failure
from flow.kernel.decide import Accepted, Dropped
from flow.kernel.events import Attempt, StepFailed, StepSkipped, StepStarted, StepSucceeded
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import FAILURE, Run, planned, step

RETRY = RetryPolicy(max_attempts=3, initial=10.0, factor=2.0, jitter=0.5)


def one(**options: Any) -> Run:
    """Return a started execution of a single step."""
    return Run(planned(step("a", **options))).start()


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
