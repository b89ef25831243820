"""Tests of `flow.kernel.steps`: the transition table of a step, its data and its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import InvalidTransition
from flow.failure import Failure
from flow.kernel import steps
from flow.kernel.commands import CancelStep, RetryDue, RunStep, StartDue
from flow.kernel.decide import MACHINES
from flow.kernel.machine import Transition
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Tree
from flow.status import Status

WHY = Failure("builtins.ValueError", "no")

# What moves a step, the event it is given, from where, and where to.
TABLE: list[tuple[Transition[StepData, Any], Any, str, str]] = [
    (steps.DISPATCH, steps.Dispatched(5, 1, None), "PENDING RETRYING", "RUNNING"),
    (steps.NOTE_START, 5, "RUNNING", "RUNNING"),
    (steps.GRANT, steps.Granted(5, "p", "w"), "RUNNING", "RUNNING"),
    (steps.NOTE_SILENCE, 5, "RUNNING", "RUNNING"),
    (steps.HEAR, None, "RUNNING", "RUNNING"),
    (steps.SUCCEED, steps.Succeeded(5, b"1", {}), "RUNNING RETRYING", "SUCCESS"),
    (steps.BACK_OFF, steps.Failed(5, WHY, 9), "RUNNING", "RETRYING"),
    (steps.FAIL, steps.Failed(5, WHY), "RUNNING", "FAILURE"),
    (steps.EXPIRE, steps.Failed(5, WHY), "RUNNING", "FAILURE"),
    (steps.GIVE_UP, 5, "RETRYING", "FAILURE"),
    (steps.SKIP, steps.Skipped(5, "none"), "PENDING RUNNING RETRYING", "SKIPPED"),
    (steps.ABORT, 5, "PENDING RUNNING RETRYING", "ABORTED"),
    (steps.REVIVE, None, "FAILURE ABORTED", "PENDING"),
]


@pytest.mark.parametrize("state", Status)
@pytest.mark.parametrize(("move", "event", "sources", "destination"), TABLE)
def test_the_table(
    move: Transition[StepData, Any], event: object, sources: str, destination: str, state: Status
) -> None:
    """Each arrow starts where the table says and nowhere else, and ends where it says."""
    tree = Tree.create(MACHINES, STEP, state, StepData(due_ms=1))
    with tree.transaction():
        if state.value in sources.split():
            tree.root.apply(move, event)
            assert tree.root.state is Status[destination]
        else:
            with pytest.raises(InvalidTransition):
                tree.root.apply(move, event)
            assert tree.root.state is state


def test_all_arrows_are_in_the_table() -> None:
    """The golden table names every transition of the module."""
    arrows = {item.name for item in vars(steps).values() if isinstance(item, Transition)}
    assert arrows == {move.name for move, *_ in TABLE}


CHANGED = {
    steps.DISPATCH: "attempt epoch sent_ms started_ms due_ms",
    steps.SUCCEED: "due_ms ended_ms output headers failure silent_ms",
}
FULL = StepData(
    attempt=2,
    spent=1,
    epoch=7,
    sent_ms=11,
    started_ms=12,
    due_ms=13,
    ended_ms=14,
    output=b"2",
    headers={"c": "d"},
    failure=WHY,
    reason="none",
    permit="p",
    worker="w",
    silent_ms=15,
)


@pytest.mark.parametrize(("move", "changed"), CHANGED.items())
def test_arrows_that_name_each_field_keep_the_others(
    move: Transition[StepData, Any], changed: str
) -> None:
    """What an arrow does not change stays as it is, in fields that were added later too."""
    event = next(event for arrow, event, *_ in TABLE if arrow is move)
    assert all(value != StepData._field_defaults[name] for name, value in FULL._asdict().items())
    before, after = FULL._asdict(), move.apply(FULL, event)._asdict()
    assert {name for name in before if before[name] != after[name]} == set(changed.split())


def test_attempts_are_counted() -> None:
    """A dispatch begins a new attempt, and forgets when the last one was begun."""
    before = StepData(attempt=1, spent=1, epoch=1, started_ms=2, failure=WHY)
    after = steps.DISPATCH.apply(before, steps.Dispatched(5, 2, 9))
    assert after == StepData(
        attempt=2, spent=1, epoch=2, sent_ms=5, started_ms=None, due_ms=9, failure=WHY
    )


def test_a_success_forgets_the_failure() -> None:
    """A result is kept with its headers, and an earlier failure is over."""
    before = StepData(attempt=2, spent=1, due_ms=7, failure=WHY)
    after = steps.SUCCEED.apply(before, steps.Succeeded(5, b"{}", {"a": "b"}))
    assert after == StepData(attempt=2, spent=1, ended_ms=5, output=b"{}", headers={"a": "b"})


def test_failures_are_spent() -> None:
    """Each failed attempt is spent, whether or not another one follows."""
    back = steps.BACK_OFF.apply(StepData(attempt=1), steps.Failed(5, WHY, 9))
    assert back == StepData(attempt=1, spent=1, due_ms=9, failure=WHY)
    failed = steps.FAIL.apply(StepData(attempt=2, spent=1, due_ms=9), steps.Failed(5, WHY))
    assert failed == StepData(attempt=2, spent=2, ended_ms=5, failure=WHY)


def test_ends_without_an_answer() -> None:
    """Giving up, skipping and aborting end a step and its timer."""
    before = StepData(attempt=1, spent=1, due_ms=9, failure=WHY)
    assert steps.GIVE_UP.apply(before, 5).ended_ms == 5
    assert steps.ABORT.apply(before, 5).due_ms is None
    skipped = steps.SKIP.apply(StepData(), steps.Skipped(5, "known", b"1"))
    assert skipped == StepData(ended_ms=5, reason="known", output=b"1")


def test_a_start_stops_the_timer() -> None:
    """Once a worker has begun, the attempt need not begin any more."""
    assert steps.NOTE_START.apply(StepData(due_ms=9), 5) == StepData(started_ms=5)


def test_a_permit_names_its_holder() -> None:
    """A permit says who has it, and counts as the beginning; silence comes and goes."""
    granted = steps.GRANT.apply(StepData(due_ms=9), steps.Granted(5, "p", "w"))
    assert granted == StepData(started_ms=5, permit="p", worker="w")
    silent = steps.NOTE_SILENCE.apply(granted, 7)
    assert silent.silent_ms == 7
    assert steps.HEAR.apply(silent, None) == granted
    ends = [
        steps.SUCCEED.apply(silent, steps.Succeeded(8, b"1", {})),
        steps.FAIL.apply(silent, steps.Failed(8, WHY)),
        steps.SKIP.apply(silent, steps.Skipped(8, "none")),
    ]
    assert [(end.silent_ms, end.permit) for end in ends] == [(None, "p")] * 3


def test_a_revived_step_has_a_fresh_budget() -> None:
    """Attempts are numbered on, but none of the new series is spent."""
    before = StepData(attempt=3, spent=3, ended_ms=5, failure=WHY)
    assert steps.REVIVE.apply(before, None) == StepData(attempt=3)


@pytest.mark.parametrize(
    ("state", "data", "tasks"),
    [
        ("RUNNING", StepData(attempt=1, epoch=2), [RunStep(attempt=1, epoch=2)]),
        (
            "RUNNING",
            StepData(attempt=1, epoch=2, due_ms=9),
            [RunStep(attempt=1, epoch=2), StartDue(deadline_ms=9)],
        ),
        ("RETRYING", StepData(attempt=1, due_ms=9), [RetryDue(deadline_ms=9)]),
        ("ABORTED", StepData(attempt=1, epoch=2), [CancelStep(attempt=1, epoch=2)]),
        ("ABORTED", StepData(), []),
        (
            "FAILURE",
            StepData(attempt=1, epoch=2, reason=steps.EXPIRED),
            [CancelStep(attempt=1, epoch=2)],
        ),
        ("FAILURE", StepData(attempt=1, epoch=2), []),
        ("PENDING", StepData(), []),
        ("SUCCESS", StepData(attempt=1), []),
    ],
)
def test_tasks_follow_from_the_state(state: str, data: StepData, tasks: list[object]) -> None:
    """What a step asks for follows from its state and data alone."""
    assert list(STEP.tasks(Status[state], data)) == tasks
