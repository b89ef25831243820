"""Tests of `flow.kernel.answers`: what attempts leave beside their results."""

from __future__ import annotations

import pytest

from flow.errors import StateConflict
from flow.kept import Kept
from flow.kernel.decide import Accepted, Dropped, Refused
from flow.kernel.events import StepKept
from flow.kernel.values import METADATA, SHARED, STATE, values_of
from flow.status import Status
from tests.flow.programs.driver import Run, planned, step, undoable

KEPT = Kept({"local": b"1"}, {"key": b"2"}, {"note": b"3"})


def left(run: Run, path: str) -> list[dict[str, bytes]]:
    """Return what was left with a node."""
    return [values_of(run.tree.node(path), kind) for kind in (STATE, SHARED, METADATA)]


def test_what_an_attempt_leaves_is_kept() -> None:
    """What a worker tells right before its result is with the step, and nothing is sent for it."""
    run = Run(planned(step("a"))).start()
    assert run.decide(StepKept(run.attempt("steps/a"), KEPT)) == Accepted(Status.RUNNING)
    assert run.last is not None
    assert run.last.changes.outputs == ()
    run.succeed("steps/a")
    assert left(run.reload(), "steps/a") == [{"local": b"1"}, {"key": b"2"}, {"note": b"3"}]


def test_what_comes_too_late_is_dropped() -> None:
    """A step that has ended keeps what it has."""
    run = Run(planned(step("a"), step("b"))).start()
    attempt = run.attempt("steps/a")
    run.succeed("steps/a")
    assert run.decide(StepKept(attempt, KEPT)) == Dropped("the step has ended already")
    assert left(run, "steps/a") == [{}, {}, {}]


def test_nobody_sees_what_a_hook_or_an_undo_shares() -> None:
    """State and metadata of a hook and of an undo are kept; what they share is not."""
    plan = planned(step("a"), hooks={"on_end": step("tell")})
    run = Run(plan).start()
    run.succeed("steps/a")
    run.decide(StepKept(run.attempt("hooks/on_end"), KEPT))
    assert left(run, "hooks/on_end") == [{"local": b"1"}, {}, {"note": b"3"}]
    run = Run(planned(step("a", undo=step("u")), step("b", "a"), on_error="compensate")).start()
    run.succeed("steps/a")
    run.fail("steps/b")
    run.decide(StepKept(run.attempt("steps/a/undo"), KEPT))
    assert left(run, "steps/a/undo") == [{"local": b"1"}, {}, {"note": b"3"}]


def test_what_others_contradict_is_refused() -> None:
    """What a step beside it has shared differently is refused; its undo finds the step's state."""
    run = Run(planned(step("a"), step("b"))).start()
    run.decide(StepKept(run.attempt("steps/a"), KEPT))
    verdict = run.decide(StepKept(run.attempt("steps/b"), KEPT._replace(shared={"key": b"5"})))
    assert isinstance(verdict, Refused)
    assert isinstance(verdict.error, StateConflict)
    assert (verdict.error.key, verdict.error.steps) == ("key", ["a", "b"])
    assert left(run.reload(), "steps/b") == [{"local": b"1"}, {}, {"note": b"3"}]


@pytest.mark.parametrize("reload", [False, True])
def test_an_undo_finds_what_came_after_an_abort(*, reload: bool) -> None:
    """What the last attempt left is kept while it is in doubt, and its undo sees all of it."""
    run = Run(planned(undoable("a"))).start()
    run.abort(compensate=True)
    kept = StepKept(run.attempt("steps/a"), KEPT)
    assert run.decide(kept) == Accepted(Status.COMPENSATING)
    assert run.out == []
    if reload:
        run.reload()
    run.succeed("steps/a")
    assert left(run, "steps/a") == [{"local": b"1"}, {"key": b"2"}, {"note": b"3"}]
    assert run.program.sharing.seen_by(run.tree.node("steps/a/undo")) == {"key": b"2"}
    assert isinstance(run.decide(kept), Dropped)


def test_what_no_undo_depends_on_is_dropped_after_an_abort() -> None:
    """A step that has no undo keeps nothing of an attempt that was ended by force."""
    run = Run(planned(step("a"))).start()
    run.abort()
    kept = StepKept(run.attempt("steps/a"), KEPT)
    assert run.decide(kept) == Dropped("the attempt is of an older run epoch")
    assert left(run, "steps/a") == [{}, {}, {}]
