"""Tests of `flow.kernel.waiters`: who waits for the end is told, whatever happens."""

from __future__ import annotations

from flow.errors import TooMany
from flow.kernel import waiters
from flow.kernel.commands import SendAnswer
from flow.kernel.decide import Accepted, Refused
from flow.kernel.events import AnswerRequested
from flow.kernel.waiters import WAITER, WaiterData
from flow.status import Status
from tests.flow.programs.driver import Run, planned, step


def asked(name: str = "w1") -> AnswerRequested:
    """Return the event of a waiter."""
    return AnswerRequested(name, "shop.reply.1", f"c-{name}")


def answers(run: Run) -> list[str]:
    """Return the waiters whom the last decision wants to be answered."""
    assert run.last is not None
    outputs = run.last.changes.outputs
    return [one.ref.path for one in outputs if isinstance(one.task, SendAnswer)]


def test_a_waiter_is_answered_at_the_end() -> None:
    """Waiters are kept in the tree, survive a load, and are answered by the decision that ends."""
    run = Run(planned(step("a"), step("b", "a"))).start()
    assert run.decide(asked()) == Accepted(Status.RUNNING)
    assert run.decide(asked("w2")) == Accepted(Status.RUNNING)
    assert run.tree.node("waiters/w2").read(WAITER) == WaiterData("shop.reply.1", "c-w2")
    assert answers(run) == []
    run.succeed("steps/a")
    assert answers(run) == []
    run.reload()
    assert run.succeed("steps/b") == Accepted(Status.SUCCESS)
    assert answers(run) == ["waiters/w1", "waiters/w2"]


def test_a_failure_and_an_abort_are_told_as_well() -> None:
    """However an execution ends, its waiters hear of it."""
    run = Run(planned(step("a"))).start()
    run.decide(asked())
    run.fail("steps/a")
    assert answers(run) == ["waiters/w1"]
    run = Run(planned(step("a"))).start()
    run.decide(asked())
    run.abort()
    assert answers(run) == ["waiters/w1"]


def test_whoever_asks_twice_waits_once() -> None:
    """The same question again adds nothing while the execution runs."""
    run = Run(planned(step("a"))).start()
    run.decide(asked())
    number = run.tree.number
    assert run.decide(asked()) == Accepted(Status.RUNNING)
    assert run.tree.number == number
    run.succeed("steps/a")
    assert answers(run) == ["waiters/w1"]


def test_whoever_asks_after_the_end_is_answered_at_once() -> None:
    """An ended execution answers a new waiter, and an old one once more for each question."""
    run = Run(planned(step("a"))).start()
    run.decide(asked())
    run.succeed("steps/a")
    assert run.decide(asked("late")) == Accepted(Status.SUCCESS)
    assert answers(run) == ["waiters/late"]
    assert run.decide(asked()) == Accepted(Status.SUCCESS)
    assert answers(run) == ["waiters/w1"]


def test_who_waits_is_told_of_each_end() -> None:
    """After a resume everybody waits once more, whether they were told of the failure or not."""
    run = Run(planned(step("a"))).start()
    run.decide(asked())
    run.decide(asked("other"))
    run.fail("steps/a")
    answered = [one for one in run.tree.regenerate() if isinstance(one.task, SendAnswer)]
    assert [one.ref.path for one in answered] == ["waiters/w1", "waiters/other"]
    run.resume()
    # What was not sent until now would tell of an end that is none.
    wanted = [one.task.validate(one.ref, run.tree.node(one.ref.path)) for one in answered]
    assert wanted == [False, False]
    assert run.decide(asked()) == Accepted(Status.RUNNING)
    run.succeed("steps/a")
    assert answers(run) == ["waiters/w1", "waiters/other"]


def test_there_is_an_end_to_waiters() -> None:
    """A thousand may wait for one execution; the next is refused, and nothing else changes."""
    run = Run(planned(step("a"))).start()
    for number in range(waiters.WAITERS_MAX):
        run.decide(asked(f"w{number}"))
    verdict = run.decide(asked("one-more"))
    assert isinstance(verdict, Refused)
    assert isinstance(verdict.error, TooMany)
    assert run.tree.find("waiters/one-more") is None
    assert run.decide(asked("w7")) == Accepted(Status.RUNNING)
