"""Tests of `flow.programs.unwinding`: whose turn it is to be undone."""

from __future__ import annotations

from flow.kernel.decide import MACHINES
from flow.kernel.execution import EXECUTION, ExecutionData
from flow.kernel.tree import Tree
from flow.plan import Plan, StartOptions
from flow.programs.unwinding import Unwinding, followers
from flow.status import Status
from tests.flow.programs.driver import planned, step


def unwinding_of(plan: Plan, outer: Unwinding | None = None) -> Unwinding:
    """Return an unwinding that has just begun."""
    tree = Tree.create(MACHINES, EXECUTION, Status.COMPENSATING, ExecutionData())
    return Unwinding(plan, tree.root, outer)


def order(plan: Plan) -> list[list[str]]:
    """Return the steps whose turn comes at once, by name, until all are done with."""
    unwinding = unwinding_of(plan)
    found: list[list[str]] = []
    turns = list(unwinding.last())
    while turns:
        found.append(sorted(plan.steps[number].definition.id for number in turns))
        turns = [each for number in turns for each in unwinding.leave(number)]
    assert unwinding.complete
    return found


def test_the_last_comes_first() -> None:
    """A step's turn comes when all that depend on it are done with; others go side by side."""
    plan = planned(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"), step("e"))
    assert order(plan) == [["d", "e"], ["b", "c"], ["a"]]


def test_a_fallback_comes_in_between() -> None:
    """First what depends on a step, then its fallback, then the step, then what it requires."""
    steps = (step("r"), step("a", "r", fallback="f"), step("f", "r"), step("d", "a"))
    assert order(planned(*steps)) == [["d"], ["f"], ["a"], ["r"]]


def test_a_fallback_may_have_waited_for_a_fallback() -> None:
    """What a fallback requires may have been stood in for; then that is undone after it."""
    steps = (step("a", fallback="f"), step("f"), step("b", "a", fallback="g"), step("g", "a"))
    assert order(planned(*steps)) == [["g"], ["b"], ["f"], ["a"]]


def test_a_fallback_that_is_none_any_more() -> None:
    """A fallback that the start options replaced goes by its own requirements."""
    steps = (step("a", fallback="f"), step("f"), step("g"), step("d", "a"))
    plan = planned(*steps, options=StartOptions(fallback={"a": "g"}))
    assert order(plan) == [["d", "f"], ["g"], ["a"]]
    left_out = planned(*steps, options=StartOptions(skip=("f",)))
    assert ["a"] in order(left_out)


def test_the_reverse_of_a_reversed_plan() -> None:
    """What ran from the leaves to the roots is undone from the roots on."""
    chain = (step("a"), step("b", "a"), step("c", "b"))
    assert order(planned(*chain, options=StartOptions(reverse=True))) == [["a"], ["b"], ["c"]]


def test_what_waits_goes_in_reverse_plan_order() -> None:
    """Of those that may go out the one with the highest number is the first."""
    unwinding = unwinding_of(planned(*(step(name) for name in "abc")))
    for number in (1, 2, 0):
        unwinding.wait(number)
    assert [unwinding.next() for _ in range(4)] == [2, 1, 0, None]


def test_a_failed_undo_halts_what_is_inside() -> None:
    """With `stop` nothing more goes out in the workflow and below it; with `continue` it does."""
    for mode, halts in (("stop", True), ("continue", False)):
        outer = unwinding_of(planned(step("a"), on_undo_error=mode))
        within = unwinding_of(planned(step("x"), on_undo_error="continue"), outer)
        within.wait(0)
        assert not within.halted
        outer.failed = True
        assert (outer.halted, within.halted) == (halts, halts)
        assert (within.over, within.next()) == (halts, None if halts else 0)


def test_it_is_over_when_nothing_is_out_or_left() -> None:
    """What is out is waited for, even if nothing else goes out any more."""
    unwinding = unwinding_of(planned(step("a"), on_undo_error="stop"))
    assert not unwinding.over
    unwinding.active = 1
    unwinding.leave(0)
    assert unwinding.complete
    assert not unwinding.over
    unwinding.active = 0
    assert unwinding.over


def test_deeper_ones_come_first() -> None:
    """Among unwindings the order follows from the tree alone."""
    tree = Tree.create(MACHINES, EXECUTION, Status.RUNNING, ExecutionData())
    with tree.transaction():
        first = tree.root.add_child("steps/a", EXECUTION, Status.RUNNING, ExecutionData())
        second = tree.root.add_child("steps/b", EXECUTION, Status.RUNNING, ExecutionData())
        deep = second.add_child("steps/x", EXECUTION, Status.RUNNING, ExecutionData())
    plan = planned(step("a"))
    every = [Unwinding(plan, owner) for owner in (second, first, deep, tree.root)]
    assert [each.owner.path for each in sorted(every)] == [
        "steps/b/steps/x",
        "steps/a",
        "steps/b",
        "",
    ]


def test_followers_are_all_that_came_after() -> None:
    """Who depends on a step, directly or not, and through fallbacks too."""
    steps = (
        *(step("a"), step("b", "a", fallback="f"), step("f", "a"), step("c", "b")),
        *(step("d", "c"), step("e")),
    )
    plan = planned(*steps)

    def names(*chosen: str) -> str:
        found = followers(plan, chosen)
        return "".join(sorted(plan.steps[number].definition.id for number in found))

    assert names("a") == "abcdf"
    assert names("b") == "bcdf"
    assert names("f") == "cdf"
    assert names("c", "e") == "cde"
    assert names() == ""
