"""Tests of `flow.kernel.control`: pauses of a whole workflow, as one execution sees them."""

from __future__ import annotations

import pytest

from flow.errors import NotPossible
from flow.kernel.decide import Accepted, Refused
from flow.kernel.events import ExecutionStarted, ResumeRequested, SuspendRequested
from flow.kernel.execution import COMMAND
from flow.status import Status
from tests.flow.programs.driver import Run, planned, step

PAUSE = SuspendRequested("p", verb="pause")
UNPAUSE = ResumeRequested("u", only_paused=True)


def chain() -> Run:
    """Return an execution of two steps, one after the other, that has not begun."""
    return Run(planned(step("a"), step("b", "a")))


def test_a_start_into_a_pause_makes_no_attempt() -> None:
    """An execution that is started while its workflow is paused is suspended before it begins."""
    run = chain()
    event = ExecutionStarted("shop", "hash", b"{}", paused_by="p")
    assert run.decide(event) == Accepted(Status.SUSPENDED)
    assert run.sent() == []
    assert run.tree.node("commands/p").read(COMMAND).verb == "pause"
    assert run.reload().decide(UNPAUSE) == Accepted(Status.RUNNING)
    assert run.out == ["steps/a"]


def test_a_start_whose_results_are_all_known_is_held_as_well() -> None:
    """Even an execution without anything to do ends only once the pause is over."""
    run = Run(planned(step("a")))
    event = ExecutionStarted("shop", "hash", b"{}", results={"a": b"1"}, paused_by="p")
    assert run.decide(event) == Accepted(Status.SUSPENDED)
    assert run.decide(UNPAUSE) == Accepted(Status.SUCCESS)


def test_the_end_of_a_pause_resumes_what_it_held() -> None:
    """What a pause suspended goes on, also after a pause before it, and also before it is quiet."""
    run = chain().start()
    assert run.decide(PAUSE) == Accepted(Status.SUSPENDING)
    assert run.decide(UNPAUSE) == Accepted(Status.RUNNING)
    run.decide(SuspendRequested("p2", verb="pause"))
    run.decide(SuspendRequested("p3", verb="pause"))
    run.succeed("steps/a")
    assert run.decide(ResumeRequested("u2", only_paused=True)) == Accepted(Status.RUNNING)
    assert run.out == ["steps/b"]


@pytest.mark.parametrize("by_hand_first", [True, False])
def test_what_was_suspended_by_hand_stays_so(*, by_hand_first: bool) -> None:
    """A person's suspension holds beyond the pause, whether it came before or during it."""
    run = chain().start()
    commands = [SuspendRequested("s"), PAUSE] if by_hand_first else [PAUSE, SuspendRequested("s")]
    for command in commands:
        run.decide(command)
    verdict = run.decide(UNPAUSE)
    assert isinstance(verdict, Refused)
    assert isinstance(verdict.error, NotPossible)
    assert run.tree.find("commands/u") is None
    assert run.resume() == Accepted(Status.RUNNING)
    assert run.decide(SuspendRequested("p9", verb="pause")) == Accepted(Status.SUSPENDING)
    assert run.decide(UNPAUSE) == Accepted(Status.RUNNING)


@pytest.mark.parametrize("state", ["RUNNING", "FAILURE", "SUCCESS"])
def test_the_end_of_a_pause_touches_nothing_else(state: str) -> None:
    """What runs, has failed or has succeeded is left alone."""
    run = chain().start()
    if state == "FAILURE":
        run.fail("steps/a")
    elif state == "SUCCESS":
        run.succeed("steps/a")
        run.succeed("steps/b")
    number = run.tree.number
    assert isinstance(run.decide(UNPAUSE), Refused)
    assert run.stands(state)
    assert run.tree.number == number


def test_a_pause_is_refused_by_name() -> None:
    """What has ended refuses to be paused, and says what was asked for."""
    run = Run(planned(step("a"))).start()
    run.succeed("steps/a")
    verdict = run.decide(PAUSE)
    assert isinstance(verdict, Refused)
    assert str(verdict.error) == "cannot pause execution '': it is SUCCESS"
