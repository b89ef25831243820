"""Tests of `flow.kernel.control`: aborting with compensation, undoing by hand and resolving."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import NotPossible, UnknownStep
from flow.kernel.decide import Accepted, Refused, Verdict
from flow.kernel.events import AnswerRequested
from flow.kernel.execution import COMMAND
from flow.status import Status
from tests.flow.programs.driver import FAILURE, Run, inner, planned, step, undoable


def refused(verdict: Verdict) -> str:
    """Return the error that a command was refused with."""
    assert isinstance(verdict, Refused)
    assert isinstance(verdict.error, NotPossible)
    return str(verdict.error)


def done(**options: Any) -> Run:
    """Return an execution of three steps, one after the other, that has succeeded."""
    steps = (undoable("a"), undoable("b", "a"), undoable("c", "b"))
    run = Run(planned(*steps, **options)).start()
    for name in "abc":
        run.succeed(f"steps/{name}")
    assert run.status is Status.SUCCESS
    return run


def undo_all(run: Run, *names: str) -> None:
    """Answer the undos of steps well, one after the other."""
    for name in names:
        assert run.out == [f"steps/{name}/undo"]
        run.succeed(f"steps/{name}/undo")


def test_an_abort_may_take_back_what_ran() -> None:
    """It ends in COMPENSATED after the undos; the command is answered as it was, for ever."""
    run = Run(planned(undoable("a"), undoable("b", "a"))).start()
    run.succeed("steps/a")
    assert run.abort("x", "enough", compensate=True) == Accepted(Status.COMPENSATING)
    assert run.data.failure is not None
    assert run.data.failure.message == "enough"
    assert run.abort("y", compensate=True) == Accepted(Status.COMPENSATING)
    run.cancelled("steps/b", began=False)
    undo_all(run, "a")
    assert run.status is Status.COMPENSATED
    assert run.step("steps/b/undo").reason == "its run never began"
    for command in "xy":
        assert run.abort(command, compensate=True) == Accepted(Status.COMPENSATING)


@pytest.mark.parametrize("status", ["SUSPENDING", "SUSPENDED"])
def test_what_is_suspended_can_be_compensated(status: str) -> None:
    """A pause is over with that, and its clock goes on."""
    run = Run(planned(undoable("a"), undoable("b", "a"))).start()
    run.suspend("s", "stop")
    if status == "SUSPENDED":
        run.succeed("steps/a")
    assert run.stands(status)
    run.now_ms += 5_000
    run.abort(compensate=True)
    assert run.data.stopped_ms is None
    assert run.data.offset_ms == 5_000


def test_nothing_but_waiting_is_possible_meanwhile() -> None:
    """While it is being compensated it can be neither suspended, resumed, aborted nor undone."""
    run = done()
    run.undo()
    hint = "what ran is being undone: wait for the end of it"
    for verdict in (run.suspend(), run.resume(), run.abort()):
        assert hint in refused(verdict)
    assert "it is COMPENSATING" in refused(run.undo(command="again"))


def test_an_abort_of_an_abort() -> None:
    """An aborted execution stays so, and remembers who else wanted that."""
    run = Run(planned(undoable("a"))).start()
    run.abort("x")
    assert run.abort("y") == Accepted(Status.ABORTED)
    assert "it is ABORTED" in refused(run.abort("z", compensate=True))
    run.succeed("steps/a")
    assert run.undo() == Accepted(Status.COMPENSATING)
    undo_all(run, "a")
    assert run.abort("y") == Accepted(Status.ABORTED)
    assert run.stands("COMPENSATED")


def test_everything_is_undone_by_hand() -> None:
    """The last comes first; a result that was recorded stays, and the command is remembered."""
    run = done()
    assert run.undo() == Accepted(Status.COMPENSATING)
    undo_all(run, "c", "b", "a")
    assert run.status is Status.COMPENSATED
    assert run.undo() == Accepted(Status.COMPENSATING)
    assert run.undo(command="again") == Accepted(Status.COMPENSATED)
    assert run.tree.node("commands/again").read(COMMAND).verb == "undo"
    assert run.step("steps/a").output == b"1"


def test_some_steps_are_undone_by_hand() -> None:
    """They and what depends on them are undone; a success is none any more, and says of what."""
    run = done()
    run.undo("b")
    undo_all(run, "c", "b")
    assert run.status is Status.FAILURE
    assert run.data.failure is not None
    assert run.data.failure.type == "flow.errors.StepsUndone"
    assert run.data.failure.fields == {"steps": ["steps/b", "steps/c"]}
    assert run.data.incident == ""
    run.undo("a", command="rest")
    undo_all(run, "a")
    assert run.stands("COMPENSATED")


def test_a_part_of_what_was_aborted_is_undone() -> None:
    """What was aborted stays aborted, what has failed stays so, for its own reason."""
    run = Run(planned(undoable("a"), undoable("b", "a"), step("c", "b"))).start()
    run.succeed("steps/a")
    run.succeed("steps/b")
    run.abort("x", "enough")
    run.undo("b")
    undo_all(run, "b")
    assert run.status is Status.ABORTED
    run = Run(planned(undoable("a"), undoable("b", "a"), step("c", "b"))).start()
    run.succeed("steps/a")
    run.succeed("steps/b")
    run.fail("steps/c")
    run.undo("b")
    undo_all(run, "b")
    assert run.status is Status.FAILURE
    assert run.data.failure is not None
    assert run.data.failure.type == FAILURE.type


def test_what_runs_is_not_undone() -> None:
    """Whoever wants that has to abort it; unknown steps are named with those that there are."""
    run = Run(planned(undoable("a"))).start()
    assert "abort it with compensation" in refused(run.undo())
    verdict = run.undo("z")
    assert isinstance(verdict, Refused)
    assert isinstance(verdict.error, UnknownStep)
    assert run.tree.find("commands/u") is None


def test_whoever_waits_is_told_of_the_next_end() -> None:
    """An undo by hand makes them wait again, and tells them even if it ends at once."""
    for steps, ends_at_once in (((undoable("a"),), False), ((step("a"),), True)):
        run = Run(planned(*steps)).start()
        run.succeed("steps/a")
        run.decide(AnswerRequested("w", "shop.reply", "c"))
        run.undo()
        waiter = run.tree.node("waiters/w")
        assert waiter.state is (Status.SUCCESS if ends_at_once else Status.PENDING)
        if not ends_at_once:
            run.succeed("steps/a/undo")
        assert run.status is Status.COMPENSATED
        assert waiter.state is Status.SUCCESS
        assert run.last is not None
        assert [one.ref.path for one in run.last.changes.outputs] == ["waiters/w"]


# ------------------------------------------------------------------------------- incidents


def test_a_failed_undo_is_an_incident() -> None:
    """It can be tried again, by the same command for the whole, with a fresh budget."""
    run = done()
    run.undo()
    run.fail("steps/c/undo")
    undo_all(run, "b", "a")
    assert run.status is Status.FAILURE
    assert run.data.incident == "1 undo failed: 'steps/c'"
    assert "steps of it were undone" in refused(run.resume())
    run.reload().undo(command="again")
    assert (run.out, run.data.incident) == (["steps/c/undo"], "")
    assert run.attempt("steps/c/undo").number == 2
    undo_all(run, "c")
    assert run.stands("COMPENSATED")


@pytest.mark.parametrize("reload", [False, True])
def test_a_failed_undo_can_be_resolved(*, reload: bool) -> None:
    """A person's word counts as its end, with the reason; it was the last one."""
    run = done()
    run.undo()
    undo_all(run, "c", "b")
    run.fail("steps/a/undo")
    if reload:
        run.reload()
    assert run.resolve("steps/a") == Accepted(Status.COMPENSATED)
    assert run.step("steps/a/undo").reason == "resolved: by hand"
    assert run.data.incident == ""
    assert run.resolve("steps/a") == Accepted(Status.COMPENSATED)


def test_a_resolved_undo_lets_the_others_go_on() -> None:
    """With `stop` the others wait behind a failed undo, and go out when that is resolved."""
    run = done(on_undo_error="stop")
    run.undo()
    run.fail("steps/c/undo")
    assert run.status is Status.FAILURE
    assert run.states["steps/b/undo"] == "PENDING"
    assert run.resolve("steps/c") == Accepted(Status.COMPENSATING)
    undo_all(run, "b", "a")
    assert run.stands("COMPENSATED")


def test_resolving_undoes_nothing_else() -> None:
    """Of an execution that was undone in part, only that part is touched."""
    run = done()
    run.undo("c")
    run.fail("steps/c/undo")
    assert run.resolve("steps/c") == Accepted(Status.FAILURE)
    assert "steps/b/undo" not in run.states
    assert run.out == []


def test_what_cannot_be_resolved() -> None:
    """Only a failed undo of what has ended can be, and the error says what it is."""
    run = done()
    assert "has no undo that failed" in refused(run.resolve("steps/a"))
    run.undo()
    assert "has no undo that failed" in refused(run.resolve("steps/c"))
    run.succeed("steps/c/undo")
    run.fail("steps/b/undo")
    run.succeed("steps/a/undo")
    assert "has no undo that failed" in refused(run.resolve("steps/z"))
    assert "the undo of steps/a is SUCCESS" in refused(run.resolve("steps/a"))


def test_the_failed_undo_of_a_sub_workflow_is_resolved() -> None:
    """It belongs to the whole; what was not compensated is left alone."""
    sub = inner("s", undoable("x"), step("y", "x"), on_error="compensate")
    run = Run(planned(undoable("a"), sub)).start()
    run.succeed("steps/a")
    run.succeed("steps/s/steps/x")
    run.fail("steps/s/steps/y")
    run.fail("steps/s/steps/x/undo")
    assert run.data.incident == "1 undo failed: 'steps/s/steps/x'"
    assert run.resolve("steps/s/steps/x") == Accepted(Status.FAILURE)
    assert run.data.incident == ""
    assert "steps/a/undo" not in run.states
