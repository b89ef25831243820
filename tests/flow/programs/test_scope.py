"""Tests of `flow.programs.scope`: what is ready, what is out, and what holds it back."""

from __future__ import annotations

from typing import Any

from flow.failure import Failure
from flow.kernel.decide import MACHINES
from flow.kernel.execution import EXECUTION, ExecutionData
from flow.kernel.tree import Tree
from flow.programs.scope import Scope
from flow.status import Status
from flow.step import StepDefinition
from tests.flow.programs.driver import planned, step


def scope_of(*steps: StepDefinition, **options: Any) -> Scope:
    """Return the scope of a workflow that has just begun."""
    root = Tree.create(MACHINES, EXECUTION, Status.RUNNING, ExecutionData()).root
    return Scope(planned(*steps, **options), root)


def take_all(scope: Scope) -> list[str]:
    """Send everything that is ready, and return the ids."""
    names: list[str] = []
    while (number := scope.next_ready()) is not None:
        scope.occupy(number)
        names.append(scope.plan.steps[number].definition.id)
    return names


def end(scope: Scope, *names: str) -> None:
    """End steps that are out well."""
    for name in names:
        scope.vacate(scope.plan.index[name])
        scope.satisfy(scope.plan.index[name])


def test_steps_are_ready_when_all_before_them_is_done() -> None:
    """A step waits for all that it requires, and everything in the end is done."""
    scope = scope_of(step("a"), step("b"), step("c", "a", "b"))
    assert take_all(scope) == ["a", "b"]
    end(scope, "a")
    assert take_all(scope) == []
    end(scope, "b")
    assert scope.ready
    assert take_all(scope) == ["c"]
    assert (scope.active, scope.left, scope.ready) == (1, 1, [])
    end(scope, "c")
    assert (scope.active, scope.left) == (0, 0)


def test_scopes_of_one_plan_share_nothing_that_changes() -> None:
    """What follows from the plan is worked out once; each scope begins as if it were the first."""
    plan = planned(step("a", concurrency=1), step("b", "a", target="service.a"), barrier=True)
    root = Tree.create(MACHINES, EXECUTION, Status.RUNNING, ExecutionData()).root
    first = Scope(plan, root)
    worked_out = plan.notes["outset"]
    for _ in range(2):
        scope = Scope(plan, root)
        assert take_all(scope) == ["a"]
        end(scope, "a")
        assert take_all(scope) == ["b"]
        end(scope, "b")
        assert not scope.left
    assert first.left
    assert take_all(first) == ["a"]
    assert plan.notes["outset"] is worked_out


def test_satisfying_twice_counts_once() -> None:
    """A step that is satisfied again does not count again."""
    scope = scope_of(step("a"), step("b"))
    scope.satisfy(0)
    scope.satisfy(0)
    assert scope.left
    assert take_all(scope) == ["b"]


def test_a_fallback_satisfies_nobody_by_itself() -> None:
    """A fallback is not ready until it is called in, and does not count among what is left."""
    scope = scope_of(step("a", fallback="f"), step("b"), step("f"))
    fallback = scope.plan.index["f"]
    scope.satisfy(fallback)
    assert take_all(scope) == ["a", "b"]
    scope.call_in(fallback)
    assert take_all(scope) == ["f"]
    end(scope, "f")
    assert scope.left
    end(scope, "a", "b")
    assert not scope.left


def test_a_fallback_with_requirements_waits_to_be_called() -> None:
    """What a fallback requires does not make it ready."""
    scope = scope_of(step("a"), step("b", "a", fallback="f"), step("f", "a"))
    take_all(scope)
    end(scope, "a")
    assert take_all(scope) == ["b"]


def test_what_was_taken_does_not_go_out() -> None:
    """A step that has ended is not sent, although it is ready."""
    scope = scope_of(step("a"), step("b"))
    scope.take(0)
    assert take_all(scope) == ["b"]


def test_a_cap_holds_steps_of_a_target() -> None:
    """No more steps of a target are out than the smallest cap says; others pass by."""
    same = {"target": "service.same"}
    steps = (step("a", concurrency=2, **same), step("b", **same), step("c", **same), step("d"))
    scope = scope_of(*steps, step("e", concurrency=1, **same))
    assert take_all(scope) == ["a", "d"]
    end(scope, "d")
    assert take_all(scope) == []
    for before, after in (("a", ["b"]), ("b", ["c"]), ("c", ["e"]), ("e", [])):
        end(scope, before)
        assert take_all(scope) == after


def test_fallbacks_go_first_when_a_target_is_free() -> None:
    """Among the held steps of a target a fallback is the first."""
    same = {"target": "service.same", "concurrency": 1}
    scope = scope_of(
        step("a", fallback="f"), step("b", **same), step("c", **same), step("f", **same)
    )
    assert take_all(scope) == ["a", "b"]
    scope.vacate(scope.plan.index["a"])
    scope.call_in(scope.plan.index["f"])
    assert take_all(scope) == []
    end(scope, "b")
    assert take_all(scope) == ["f"]


def test_a_barrier_keeps_levels_apart() -> None:
    """With a barrier a level begins when the one before has ended; fallbacks pass it."""
    steps = (step("a", fallback="f"), step("c"), step("b", "c"), step("d", "b"), step("f"))
    scope = scope_of(*steps, barrier=True)
    assert take_all(scope) == ["a", "c"]
    end(scope, "c")
    assert take_all(scope) == []
    scope.vacate(scope.plan.index["a"])
    scope.call_in(scope.plan.index["f"])
    assert take_all(scope) == ["f"]
    scope.vacate(scope.plan.index["f"])
    scope.satisfy(scope.plan.index["a"])
    assert take_all(scope) == ["b"]
    end(scope, "b")
    assert take_all(scope) == ["d"]


def test_the_earliest_failure_counts() -> None:
    """Whichever order failures are found in, the one that came first is to blame."""
    scope = scope_of(step("a"))
    late, early = Failure("late", ""), Failure("early", "")
    scope.fail(late, 9)
    scope.fail(early, 5)
    scope.fail(late, 7)
    assert scope.failure is early
    assert scope.halted


def test_failing_stops_what_is_inside() -> None:
    """A failing workflow stops its sub-workflows at any depth, but not its own hooks."""
    tree = Tree.create(MACHINES, EXECUTION, Status.RUNNING, ExecutionData())
    with tree.transaction():
        sub = tree.root.add_child("steps/s", EXECUTION, Status.RUNNING, ExecutionData())
        hook = tree.root.add_child("hooks/on_end", EXECUTION, Status.RUNNING, ExecutionData())
        nested = sub.add_child("hooks/on_end", EXECUTION, Status.RUNNING, ExecutionData())
    plan = planned(step("a"))
    root = Scope(plan, tree.root)
    inside, told = Scope(plan, sub, root), Scope(plan, hook, root)
    deeper = Scope(plan, nested, inside)
    assert not any(scope.halted for scope in (root, inside, told, deeper))
    inside.fail(Failure("x", ""), 1)
    assert (inside.halted, inside.stopped, deeper.stopped) == (True, False, False)
    root.fail(Failure("x", ""), 1)
    assert (root.stopped, inside.stopped, told.stopped, deeper.stopped) == (
        False,
        True,
        False,
        True,
    )
    assert (root.depth, inside.depth, deeper.depth) == (0, 1, 2)


def test_blocking_takes_what_depends_on_a_step_out() -> None:
    """What is behind a failed step does not go out and is not waited for; with a barrier too."""
    steps = (step("a"), step("b", "a"), step("c", "b"), step("d"), step("e", "d"))
    for barrier in (False, True):
        scope = scope_of(*steps, barrier=barrier)
        names = {scope.plan.steps[number].definition.id: number for number in range(5)}
        assert take_all(scope) == ["a", "d"]
        scope.vacate(names["a"])
        scope.block(names["a"])
        found: list[int] = []
        for number in scope.blocks(names["a"]):
            found.append(number)
            scope.block(number)
        assert found == [names["b"], names["c"]]
        end(scope, "d")
        assert take_all(scope) == ["e"]
        end(scope, "e")
        assert scope.left == 0


def test_what_is_known_is_not_blocked() -> None:
    """A step with a known result is passed by, and so is a fallback that requires a failed step."""
    scope = scope_of(step("a"), step("b", "a", fallback="f"), step("f", "a"), step("c", "b"))
    scope.satisfy(scope.plan.index["b"])
    assert list(scope.blocks(scope.plan.index["a"])) == []


def test_what_fails_goes_on_only_by_its_mode() -> None:
    """With `continue` a failure stops nothing, unless time is up; a compensation stops all."""
    for mode, stops in (("stop", True), ("compensate", True), ("continue", False)):
        scope = scope_of(step("a"), on_error=mode)
        assert not scope.failing
        scope.fail(Failure("x", ""), 1)
        assert (scope.failing, scope.halted) == (stops, stops)
        scope.expired = True
        assert scope.failing
    tree = Tree.create(MACHINES, EXECUTION, Status.COMPENSATING, ExecutionData())
    assert Scope(planned(step("a"), on_error="continue"), tree.root).failing
