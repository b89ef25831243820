"""Tests of `flow.kernel.steps`: the transition table of a step, its data and its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import InvalidTransition
from flow.failure import Failure
from flow.kernel import steps
from flow.kernel.commands import CancelStep, RetryDue, RunStep, SettleDue, StartDue
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
    (steps.ABORT, 5, "PENDING RETRYING", "ABORTED"),
    (steps.INTERRUPT, 5, "RUNNING", "ABORTED"),
    (steps.AWAIT_WORD[Status.ABORTED], 9, "ABORTED", "ABORTED"),
    (steps.AWAIT_WORD[Status.FAILURE], 9, "FAILURE", "FAILURE"),
    (steps.SETTLE[Status.ABORTED], steps.Settled(began=True), "ABORTED", "ABORTED"),
    (steps.SETTLE[Status.FAILURE], steps.Settled(began=True), "FAILURE", "FAILURE"),
    (steps.LEAVE_UNSENT, steps.Failed(5, WHY), "PENDING", "FAILURE"),
    (steps.RESOLVE, steps.Skipped(5, "by hand"), "FAILURE ABORTED", "SKIPPED"),
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
    named = {item.name for item in vars(steps).values() if isinstance(item, Transition)}
    awaiting = {arrow.name for arrow in steps.AWAIT_WORD.values()}
    settling = {arrow.name for arrow in steps.SETTLE.values()}
    assert named | awaiting | settling == {move.name for move, *_ in TABLE}


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
    began=True,
    unsettled=True,
    settle_ms=16,
    blocked_by="b",
    ended_at=17,
    first_ms=18,
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
    assert back == StepData(attempt=1, spent=1, due_ms=9, failure=WHY, began=True)
    failed = steps.FAIL.apply(StepData(attempt=2, spent=1, due_ms=9), steps.Failed(5, WHY))
    assert failed == StepData(attempt=2, spent=2, ended_ms=5, failure=WHY, began=True)


@pytest.mark.parametrize("move", [steps.BACK_OFF, steps.FAIL])
def test_a_refused_attempt_has_not_begun(move: Transition[StepData, Any]) -> None:
    """A failure before the run says nothing about earlier attempts, and begins nothing itself."""
    refused = steps.Failed(5, Failure("flow.errors.InvalidInput", "no", phase="validate"))
    assert not move.apply(StepData(attempt=1), refused).began
    assert move.apply(StepData(attempt=2, began=True), refused).began


@pytest.mark.parametrize(
    ("state", "data", "begun"),
    [
        ("SUCCESS", StepData(attempt=1), True),
        ("SKIPPED", StepData(attempt=1, began=True), True),
        ("SKIPPED", StepData(attempt=1), False),
        ("SKIPPED", StepData(), False),
        ("FAILURE", StepData(attempt=1), False),
        ("FAILURE", StepData(attempt=1, began=True), True),
        ("FAILURE", StepData(attempt=1, unsettled=True), True),
        ("ABORTED", StepData(attempt=1), False),
        ("ABORTED", StepData(attempt=1, unsettled=True), True),
        ("PENDING", StepData(attempt=1, began=True), True),
        ("ABORTED", StepData(), False),
    ],
)
def test_what_has_begun(state: str, data: StepData, *, begun: bool) -> None:
    """A step has begun if a handler of it may have started: it ended well, or that is in doubt."""
    assert steps.has_begun(Status[state], data) is begun


def test_force_leaves_a_doubt_until_there_is_word() -> None:
    """What was out is unsettled after an interrupt or an expiry; word of it is noted once."""
    before = StepData(attempt=1, due_ms=9)
    interrupted = steps.INTERRUPT.apply(before, 5)
    assert interrupted == StepData(attempt=1, ended_ms=5, unsettled=True)
    expired = steps.EXPIRE.apply(before, steps.Failed(5, WHY))
    assert (expired.unsettled, expired.spent, expired.reason) == (True, 0, steps.EXPIRED)
    waiting = steps.AWAIT_WORD[Status.ABORTED].apply(interrupted, 65)
    assert waiting.settle_ms == 65
    word = steps.Settled(began=True, output=b"1", ended_at=3)
    settled = steps.SETTLE[Status.ABORTED].apply(waiting, word)
    assert (settled.unsettled, settled.began, settled.output) == (False, True, b"1")
    assert settled.ended_at == 3
    never = steps.SETTLE[Status.FAILURE].apply(expired, steps.Settled(began=False))
    assert (never.began, never.failure) == (False, WHY)
    late = steps.Settled(began=True, failure=Failure("builtins.KeyError", "late"))
    assert steps.SETTLE[Status.FAILURE].apply(expired, late).failure is WHY
    assert steps.SETTLE[Status.ABORTED].apply(interrupted, late).failure is late.failure


def test_who_tries_again_waits_for_no_word() -> None:
    """A revived step may have begun if that was in doubt, and nothing of the doubt is left."""
    before = StepData(attempt=2, ended_ms=5, unsettled=True, settle_ms=9, ended_at=4)
    assert steps.REVIVE.apply(before, None) == StepData(attempt=2, began=True)


def test_an_undo_that_is_left_unsent() -> None:
    """It has a failure, and no attempt was made or spent."""
    left = steps.LEAVE_UNSENT.apply(StepData(), steps.Failed(5, WHY))
    assert left == StepData(ended_ms=5, failure=WHY)


def test_steps_that_are_skipped_by_others() -> None:
    """A blocked step names the failed one; an undo that there is none of says so."""
    assert steps.blocked(5, "a").blocked_by == "a"
    assert steps.blocked(5, "a").reason == "it depends on 'a', which failed"
    assert steps.nothing_to_undo(5) == StepData(ended_ms=5, reason="nothing to undo")


def test_ends_without_an_answer() -> None:
    """Giving up, skipping and aborting end a step and its timer."""
    before = StepData(attempt=1, spent=1, due_ms=9, failure=WHY)
    assert steps.GIVE_UP.apply(before, 5).ended_ms == 5
    assert steps.ABORT.apply(before, 5).due_ms is None
    skipped = steps.SKIP.apply(StepData(), steps.Skipped(5, "known", b"1"))
    assert skipped == StepData(ended_ms=5, reason="known", output=b"1")
    by_handler = steps.SKIP.apply(StepData(), steps.Skipped(5, "known", began=True))
    assert by_handler.began
    assert steps.SKIP.apply(by_handler, steps.Skipped(6, "known")).began


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
        (
            "ABORTED",
            StepData(attempt=1, epoch=2, unsettled=True, settle_ms=9),
            [CancelStep(attempt=1, epoch=2), SettleDue(deadline_ms=9)],
        ),
        (
            "FAILURE",
            StepData(attempt=1, epoch=2, unsettled=True, settle_ms=9, reason=steps.EXPIRED),
            [CancelStep(attempt=1, epoch=2), SettleDue(deadline_ms=9)],
        ),
        ("ABORTED", StepData(attempt=1, epoch=2, settle_ms=9), []),
        ("PENDING", StepData(), []),
        ("SUCCESS", StepData(attempt=1), []),
    ],
)
def test_tasks_follow_from_the_state(state: str, data: StepData, tasks: list[object]) -> None:
    """What a step asks for follows from its state and data alone."""
    assert list(STEP.asked(Status[state], data)) == tasks


@pytest.mark.parametrize("due_ms", [None, 9])
def test_a_step_is_made_as_its_first_dispatch_would_leave_it(due_ms: int | None) -> None:
    """What a step begins with is what the arrow to RUNNING makes of a step that is fresh."""
    event = steps.Dispatched(5, 7, due_ms)
    assert steps.first_attempt(*event) == steps.DISPATCH.apply(StepData(), event)


def test_a_success_changes_only_what_it_tells() -> None:
    """Each field keeps its place: what a result says is taken, and all else stays or is cleared."""
    before = StepData(*range(1, len(StepData._fields) + 1))  # pyright: ignore[reportArgumentType]
    after = steps.SUCCEED.apply(before, steps.Succeeded(99, b"1", {"a": "b"}))
    assert after == before._replace(
        ended_ms=99, output=b"1", headers={"a": "b"}, due_ms=None, failure=None, silent_ms=None
    )
