"""Tests of `flow.programs.compensation`: what is undone, in which order, and how that ends."""

from __future__ import annotations

from typing import Any

import pytest

from flow.kernel.events import PermitRequested, StepSucceeded
from flow.programs import compensation, sending
from flow.programs.compensation import compensates_inside
from flow.retry import RetryPolicy
from flow.status import Status
from tests.flow.programs.driver import REFUSED, Run, inner, planned, step, undoable

RETRY = RetryPolicy(max_attempts=2, initial=10.0, jitter=0.0)
RELOAD = pytest.mark.parametrize("reload", [False, True])


def saga(*steps: Any, **options: Any) -> Run:
    """Return a started execution that takes back what it did if a step fails."""
    return Run(planned(*steps, on_error="compensate", **options)).start()


def undos(run: Run) -> list[str]:
    """Return the paths of the steps whose undos are out."""
    return [path.removesuffix("/undo") for path in run.out]


def drive_back(run: Run, *, reload: bool = False) -> list[list[str]]:
    """Answer every undo well; return which were out at once."""
    order: list[list[str]] = []
    while run.out:
        order.append(undos(run))
        for path in run.out:
            if reload:
                run.reload()
            run.succeed(path)
    return order


def test_nothing_begins_while_a_failure_is_waited_out() -> None:
    """Retries are given up, what is out is waited for, and then everything is taken back."""
    run = saga(undoable("a"), undoable("b", retry=RETRY), undoable("c"), undoable("d", "a"))
    run.fail("steps/b")
    run.fail("steps/c")
    assert run.states["steps/b"] == "FAILURE"
    assert run.status is Status.RUNNING
    run.succeed("steps/a")
    assert "steps/d" not in run.states
    assert undos(run) == ["steps/a", "steps/b", "steps/c"]
    drive_back(run)
    assert run.stands("COMPENSATED")
    assert run.data.failure is not None
    assert run.data.failure.step == "c"


@RELOAD
def test_the_order_is_the_reverse(*, reload: bool) -> None:
    """The failed step comes first, then what it required, and so on; the roots are the last."""
    steps = (undoable("a"), undoable("b", "a"), undoable("c", "a"), undoable("d", "b", "c"))
    run = saga(*steps)
    for name in "abc":
        run.succeed(f"steps/{name}")
    run.fail("steps/d")
    order = [["steps/d"], ["steps/b", "steps/c"], ["steps/a"]]
    assert drive_back(run, reload=reload) == order
    assert run.status is Status.COMPENSATED


def test_the_order_holds_across_steps_that_never_ran() -> None:
    """What surely did not run is not undone, and what it required waits for what required it."""
    steps = (undoable("a"), undoable("b", "a", optional=True), undoable("c", "b"), step("z", "c"))
    run = saga(*steps)
    run.succeed("steps/a")
    run.fail("steps/b", REFUSED)
    run.succeed("steps/c")
    run.fail("steps/z", REFUSED)
    assert drive_back(run) == [["steps/c"], ["steps/a"]]
    assert "steps/b/undo" not in run.states
    assert "steps/z/undo" not in run.states
    assert run.status is Status.COMPENSATED


def test_a_fallback_is_undone_between() -> None:
    """What a fallback did was done after its step, and before what depends on that."""
    run = saga(undoable("a", fallback="f"), undoable("f"), undoable("b", "a"))
    run.fail("steps/a")
    run.succeed("steps/f")
    run.fail("steps/b")
    assert drive_back(run) == [["steps/b"], ["steps/f"], ["steps/a"]]


def test_what_cannot_be_undone_is_recorded() -> None:
    """A step without undo is passed, with the reason on record; a skip of a handler is undone."""
    run = saga(step("a"), undoable("b", "a"), undoable("c", "b"))
    run.succeed("steps/a")
    run.skip("steps/b")
    run.fail("steps/c")
    assert drive_back(run) == [["steps/c"], ["steps/b"]]
    assert run.step("steps/a/undo").reason == "nothing to undo"
    assert run.states["steps/a/undo"] == "SKIPPED"


def test_an_undo_may_have_nothing_to_do() -> None:
    """A handler's skip ends an undo well."""
    run = saga(undoable("a"))
    run.fail("steps/a")
    run.skip("steps/a/undo")
    assert run.status is Status.COMPENSATED
    assert run.states["steps/a/undo"] == "SKIPPED"


def test_supplied_results_are_not_undone() -> None:
    """What did not run in this execution is not its to take back."""
    run = Run(planned(undoable("a"), undoable("b", "a"), on_error="compensate")).start(a=b"1")
    run.fail("steps/b")
    assert drive_back(run) == [["steps/b"]]
    assert "steps/a/undo" not in run.states


@RELOAD
def test_undos_have_policies_of_their_own(*, reload: bool) -> None:
    """An undo is tried again, and has to be begun in time, by what it says itself."""
    run = saga(undoable("a", undo={"retry": RETRY, "start_within_ms": 5_000}))
    run.fail("steps/a")
    run.fail("steps/a/undo")
    assert run.states["steps/a/undo"] == "RETRYING"
    assert run.program.attempts_out == 0
    if reload:
        run.reload()
    run.wait(10)
    assert run.out == ["steps/a/undo"]
    run.begin("steps/a/undo")
    run.fail("steps/a/undo")
    assert run.status is Status.FAILURE
    run.undo()
    run.wait(5)
    assert run.step("steps/a/undo").failure is not None
    assert run.status is Status.FAILURE


# ------------------------------------------------------------------------- failed undos


@RELOAD
def test_others_follow_a_failed_undo(*, reload: bool) -> None:
    """With `continue` it counts as done with; the execution ends in FAILURE and names it."""
    run = saga(undoable("a"), undoable("b", "a"), on_undo_error="continue")
    run.succeed("steps/a")
    run.fail("steps/b")
    run.fail("steps/b/undo")
    if reload:
        run.reload()
    assert drive_back(run) == [["steps/a"]]
    assert run.status is Status.FAILURE
    assert run.data.incident == "1 undo failed: 'steps/b'"


@RELOAD
def test_a_failed_undo_holds_the_others(*, reload: bool) -> None:
    """With `stop` what is out is waited for, and the others wait on record."""
    steps = (undoable("a"), undoable("b", "a"), undoable("c"), undoable("d", "c"), undoable("e"))
    run = saga(*steps, on_undo_error="stop")
    for name in "aced":
        run.succeed(f"steps/{name}")
    run.fail("steps/b")
    assert sorted(undos(run)) == ["steps/b", "steps/d", "steps/e"]
    run.fail("steps/b/undo")
    for name in "de":
        if reload:
            run.reload()
        assert run.status is Status.COMPENSATING
        run.succeed(f"steps/{name}/undo")
    assert run.stands("FAILURE")
    assert run.states["steps/a/undo"] == run.states["steps/c/undo"] == "PENDING"
    assert run.data.failure is not None
    assert run.data.failure.step == "b"


def test_a_load_looks_at_all_that_is_out() -> None:
    """A failed undo that is found first does not end what others are out for."""
    run = Run(planned(*(undoable(name) for name in "abc"), on_undo_error="stop")).start()
    for name in "abc":
        run.succeed(f"steps/{name}")
    run.undo()
    run.fail("steps/a/undo")
    run.reload().succeed("steps/b/undo")
    assert run.stands("COMPENSATING")
    run.reload().succeed("steps/c/undo")
    assert run.stands("FAILURE")


def test_what_succeeded_and_cannot_be_undone_says_so() -> None:
    """An execution without a failure of its own fails for the undos; five at most are shown."""
    run = Run(planned(*(undoable(f"s{number}") for number in range(7)))).start()
    for path in run.out:
        run.succeed(path)
    run.undo()
    for path in run.out:
        run.fail(path)
    assert run.data.failure is not None
    assert run.data.failure.type == "flow.errors.UndoFailed"
    assert len(run.data.failure.fields["steps"]) == 7
    assert "steps/s4" in run.data.incident
    assert "steps/s5" not in run.data.incident


def test_an_undo_that_runs_at_most_once_is_not_tried_again() -> None:
    """Once its permit was given it does not go out a second time; a person resolves it."""
    run = saga(undoable("a", undo={"at_most_once": True}))
    run.fail("steps/a")
    run.decide(permit(run))
    run.fail("steps/a/undo")
    run.undo()
    assert run.status is Status.FAILURE
    assert run.step("steps/a/undo").attempt == 1
    run.resolve("steps/a")
    assert run.stands("COMPENSATED")


def permit(run: Run) -> Any:
    """Return the question of a worker for the permit of the undo."""
    from_worker = run.attempt("steps/a/undo")
    return PermitRequested(from_worker, "permit", "worker")


# ------------------------------------------------------------------------- in doubt


@RELOAD
@pytest.mark.parametrize("began", [True, False])
def test_an_undo_waits_for_word(*, reload: bool, began: bool) -> None:
    """What is in doubt is undone after word of it, if that says so; what it required after that."""
    run = Run(planned(undoable("a"), undoable("b", "a"))).start()
    run.succeed("steps/a")
    run.abort(compensate=True)
    assert run.out == []
    if reload:
        run.reload()
    run.cancelled("steps/b", began=began)
    assert drive_back(run) == ([["steps/b"], ["steps/a"]] if began else [["steps/a"]])
    assert run.status is Status.COMPENSATED


def test_word_may_come_before_the_turn() -> None:
    """A step that is settled early waits for its turn like any other."""
    run = Run(planned(undoable("a", start_within_ms=1_000, fallback="f"), undoable("f"))).start()
    run.wait(1)
    run.abort(compensate=True)
    run.cancelled("steps/a", began=True)
    assert run.out == []
    run.cancelled("steps/f", began=True)
    assert drive_back(run) == [["steps/f"], ["steps/a"]]


def halted() -> Run:
    """Return an execution that ended because of a failed undo, with another one in doubt."""
    steps = (undoable("a"), undoable("b"))
    run = Run(planned(*steps, on_undo_error="stop", settle_within_ms=5_000)).start()
    run.succeed("steps/a")
    run.abort(compensate=True)
    run.fail("steps/a/undo")
    assert run.status is Status.FAILURE
    assert run.states["steps/b/undo"] == "PENDING"
    return run


def test_word_may_come_after_the_end() -> None:
    """It is noted, nothing goes out, and the undo goes out when somebody asks again."""
    run = halted()
    run.cancelled("steps/b", began=True)
    assert run.out == []
    run.undo()
    assert undos(run) == ["steps/a", "steps/b"]
    run = halted()
    run.cancelled("steps/b", began=False)
    assert run.states["steps/b/undo"] == "SKIPPED"


def test_word_that_nothing_began_may_come_too_late() -> None:
    """What failed for want of word is not undone later if word came that it never began."""
    run = Run(planned(undoable("a"), settle_within_ms=5_000)).start()
    run.abort(compensate=True)
    run.wait(5)
    assert run.states["steps/a/undo"] == "FAILURE"
    run.cancelled("steps/a", began=False)
    run.undo()
    assert run.status is Status.COMPENSATED
    assert run.step("steps/a/undo").reason == "its run never began"


@RELOAD
def test_doubt_after_the_end_is_waited_out_anew(*, reload: bool) -> None:
    """Whoever asks again gives the step as much time once more, with a new timer."""
    run = halted()
    run.now_ms += 60_000
    if reload:
        run.reload()
    run.resolve("steps/a")
    assert run.last is not None
    asked = [one.ref.path for one in run.last.changes.outputs if one.task.deadline_ms is not None]
    assert asked == ["steps/b"]
    assert run.out == []
    run.wait(5)
    assert run.status is Status.FAILURE
    assert run.data.incident == "1 undo failed: 'steps/b'"


@RELOAD
def test_an_interrupted_undo_goes_out_again(*, reload: bool) -> None:
    """An abort that takes everything back also takes up what a sub-workflow had begun to undo."""
    sub = inner("s", undoable("x"), undoable("y"), on_error="compensate", timeout_ms=1_000)
    run = Run(planned(sub, step("b"))).start()
    run.succeed("steps/s/steps/x")
    run.wait(1)
    assert undos(run) == ["steps/s/steps/x", "steps/b"] or "steps/b" in run.out
    run.abort(compensate=True)
    assert run.attempt("steps/s/steps/x/undo").number == 2
    if reload:
        run.reload()
    assert run.states["steps/s/steps/y/undo"] == "PENDING"
    run.succeed("steps/s/steps/x/undo")
    assert run.stands("COMPENSATING")
    run.succeed("steps/s/steps/y")
    run.succeed("steps/s/steps/y/undo")
    assert run.stands("COMPENSATED")


@RELOAD
@pytest.mark.parametrize("path", ["steps/b", "steps/b/steps/x"])
def test_what_waits_to_run_again_is_undone(
    path: str, monkeypatch: pytest.MonkeyPatch, *, reload: bool
) -> None:
    """What was put back for a resume and never went out again is undone as what was aborted."""
    second = undoable("b") if path == "steps/b" else inner("b", undoable("x"))
    run = Run(planned(step("a"), second)).start()
    run.fail("steps/a")
    run.fail(path)
    monkeypatch.setattr(sending, "DISPATCH_WINDOW", 1)
    run.resume()
    assert run.states["steps/b"] == "PENDING"
    run.fail("steps/a")
    assert run.status is Status.FAILURE
    if reload:
        run.reload()
    run.undo()
    assert drive_back(run) == [[path]]
    assert run.stands("COMPENSATED")
    assert run.states[path] == "ABORTED"


def test_doubt_about_what_waits_to_run_again_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that was put back is undone without word of its old attempt: it may have begun."""
    run = Run(planned(step("a"), undoable("b"), timeout_ms=5_000)).start()
    run.wait(5)
    monkeypatch.setattr(sending, "DISPATCH_WINDOW", 1)
    run.resume()
    run.fail("steps/a")
    assert run.states["steps/b"] == "PENDING"
    run.undo()
    assert drive_back(run) == [["steps/b"]]


def test_time_that_is_up_outside_ends_the_waiting_for_word() -> None:
    """The undo of a step in doubt is aborted; when the time for word is up nothing happens."""
    deep = inner("t", undoable("x"), timeout_ms=1_000, on_error="compensate")
    sub = inner("s", deep, timeout_ms=2_000, settle_within_ms=9_000, fallback="f")
    run = Run(planned(sub, step("f"))).start()
    run.wait(1)
    assert run.states["steps/s/steps/t/steps/x/undo"] == "PENDING"
    run.wait(1)
    assert run.states["steps/s/steps/t/steps/x/undo"] == "ABORTED"
    run.wait(20)
    assert run.timers() == []
    run.succeed("steps/f")
    assert run.status is Status.SUCCESS
    assert run.data.incident == "1 undo failed: 'steps/s/steps/t/steps/x'"


def test_an_earlier_attempt_may_succeed() -> None:
    """A late success of an undo counts while the next attempt is awaited."""
    run = saga(undoable("a", undo={"retry": RETRY}))
    run.fail("steps/a")
    first = run.attempt("steps/a/undo")
    run.fail("steps/a/undo")
    run.decide(StepSucceeded(first, b"1"))
    assert run.status is Status.COMPENSATED
    assert run.program.attempts_out == 0


def test_the_window_is_for_undos_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more undos are out at once than the window has room for, those waiting included."""
    for module in (compensation, sending):
        monkeypatch.setattr(module, "DISPATCH_WINDOW", 2)
    names = "abcde"
    run = saga(*(undoable(name, undo={"retry": RETRY}) for name in names), step("z", *names))
    while run.out != ["steps/z"]:
        run.succeed(run.out[0])
    run.fail("steps/z")
    assert undos(run) == ["steps/d", "steps/e"]
    run.fail("steps/e/undo")
    assert undos(run) == ["steps/d"]
    run.reload().succeed("steps/d/undo")
    assert undos(run) == ["steps/c"]
    run.succeed("steps/c/undo")
    run.wait(10)
    assert undos(run) == ["steps/b", "steps/e"]


def test_which_plans_may_compensate_inside() -> None:
    """A sub-workflow that compensates itself is looked for at any depth; the answer is kept."""
    plain = planned(inner("s", step("x")))
    deep = planned(inner("s", inner("t", step("x"), on_error="compensate")))
    for _ in range(2):
        assert not compensates_inside(plain)
        assert compensates_inside(deep)
