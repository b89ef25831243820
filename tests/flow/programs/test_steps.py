"""Tests of `flow.programs.steps`: every option of a start and of a step, and the public names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from flow.codec import assemble, loads
from flow.plan import Plan, StartOptions
from flow.programs import places
from flow.programs.steps import StepsProgram
from flow.retry import RetryPolicy
from flow.status import Status
from flow.step import StepDefinition, StepKind
from flow.template import FromInput, FromStep
from tests.flow.programs.driver import Run, inner, planned, step

CHAIN = (step("a"), step("b", "a"), step("c", "b"))
RETRY = RetryPolicy(max_attempts=2, initial=0.0)


def drive(run: Run, fails: str = "") -> list[str]:
    """Answer everything until it ends; return the order in which attempts went out."""
    order: list[str] = []
    for _ in range(50):
        run.wait(60)
        out = run.out
        if not out:
            break
        order += [path.removeprefix("steps/") for path in out]
        for path in out:
            name = path.removeprefix("steps/")
            if name in fails.split():
                run.fail(path)
            else:
                run.succeed(path, f'"{name}"'.encode())
    return order


START_OPTIONS = [
    ("nothing", CHAIN, StartOptions(), "", "a b c", {"c": "c"}),
    ("start_at", CHAIN, StartOptions(start_at=("b",)), "", "b c", {"c": "c"}),
    (
        "start_at with fallbacks",
        (step("a", fallback="f"), step("f"), step("b", "a"), step("c", "b")),
        StartOptions(start_at=("b",)),
        "",
        "b c",
        {"c": "c"},
    ),
    ("reverse", CHAIN, StartOptions(reverse=True), "", "c b a", {"a": "a"}),
    ("skip", CHAIN, StartOptions(skip=("b",)), "", "a c", {"c": "c"}),
    ("optional", CHAIN, StartOptions(optional=("a",)), "a", "a b c", {"c": "c"}),
    ("max_attempts", CHAIN[:1], StartOptions(max_attempts={"a": 3}), "a", "a a a", None),
    (
        "fallback",
        (*CHAIN, step("f")),
        StartOptions(fallback={"b": "f"}),
        "b",
        "a b f c",
        {"c": "c"},
    ),
    (
        "fallback skipped",
        (step("a", fallback="f"), step("f"), step("b", "a"), step("c", "b")),
        StartOptions(skip=("f",)),
        "",
        "a b c",
        {"c": "c"},
    ),
    (
        "barrier",
        (step("a"), step("b"), step("c", "a"), step("d", "c")),
        StartOptions(barrier=True),
        "",
        "a b c d",
        {"b": "b", "d": "d"},
    ),
    ("output", CHAIN, StartOptions(output="a"), "", "a b c", "a"),
]


@pytest.mark.parametrize(
    ("steps", "options", "fails", "order", "result"),
    [pytest.param(*row[1:], id=row[0]) for row in START_OPTIONS],
)
def test_start_options(
    steps: tuple[StepDefinition, ...], options: StartOptions, fails: str, order: str, result: object
) -> None:
    """Each start option changes what runs, in which order, and what comes out."""
    run = Run(planned(*steps, options=options)).start()
    assert drive(run, fails) == order.split()
    if result is None:
        assert run.status is Status.FAILURE
    else:
        assert run.status is Status.SUCCESS
        assert loads(run.result()) == result


def test_the_start_may_set_a_timeout() -> None:
    """`timeout_ms` of the start replaces that of the definition."""
    run = Run(planned(*CHAIN, timeout_ms=60_000, options=StartOptions(timeout_ms=2_000))).start()
    assert run.program.timeout_ms == 2_000
    run.wait(2)
    assert run.status is Status.FAILURE


def test_supplied_results_skip_their_steps() -> None:
    """A step whose result is known does not run; why is written with it."""
    run = Run(planned(*CHAIN, options=StartOptions(start_at=("c",)))).start(a=b"1")
    assert run.step("steps/a").reason == "start_at"
    run = Run(planned(*CHAIN)).start(a=b"1", c=b"3")
    assert run.step("steps/a").reason == "its result was supplied"
    assert drive(run) == ["b"]
    assert loads(run.result()) == {"c": 3}
    assert Run(planned(*CHAIN)).start(a=b"1", b=b"2", c=b"3").status is Status.SUCCESS


def expect_retry(run: Run) -> None:
    """Check that the step is tried a second time."""
    assert drive(run, "a") == ["a", "a"]


def expect_fallback(run: Run) -> None:
    """Check that another step stands in."""
    assert drive(run, "a") == ["a", "b"]


def expect_optional(run: Run) -> None:
    """Check that the step may fail."""
    assert drive(run, "a") == ["a", "b"]
    assert run.status is Status.SUCCESS


def expect_one_at_a_time(run: Run) -> None:
    """Check that the second step waits."""
    assert run.out == ["steps/a"]


def expect_a_timer(run: Run) -> None:
    """Check that the attempt has to begin soon."""
    assert len(run.wait(1)) == 1


def expect_nothing_special(run: Run) -> None:
    """Check that both steps go out at once."""
    assert run.out == ["steps/a", "steps/b"]


def expect_total(run: Run) -> None:
    """Check that the step gets a part of the input."""
    node = run.tree.node("steps/a")
    bodies = run.program.bodies_of(run.tree, node)
    assert assemble(FromInput(), bodies, "") == b'{"total":5}'
    assert run.program.definition(node).input == FromInput(("total",))


def expect_undo(run: Run) -> None:
    """Check that the step can be taken back."""
    run.abort(compensate=True)
    run.succeed("steps/a")
    assert run.out == ["steps/a/undo"]
    assert run.program.definition(run.tree.node("steps/a/undo")).target == "service.u"


def expect_order(run: Run) -> None:
    """Check that the second step comes after the first."""
    assert drive(run) == ["a", "b"]


STEP_OPTIONS: list[tuple[dict[str, Any], dict[str, Any], Callable[[Run], None]]] = [
    ({}, {}, expect_nothing_special),
    ({"labels": {"team": "x"}, "timeout_ms": 1}, {}, expect_nothing_special),
    ({"kind": StepKind.PUBLISH, "target": "topic"}, {}, expect_nothing_special),
    ({"retry": RETRY, "concurrency": 1}, {"target": "service.a"}, expect_retry),
    ({"fallback": "b"}, {}, expect_fallback),
    ({"optional": True}, {"requires": ("a",)}, expect_optional),
    ({"concurrency": 1}, {"target": "service.a"}, expect_one_at_a_time),
    ({"start_within_ms": 1_000}, {}, expect_a_timer),
    ({"input": FromInput(("total",))}, {}, expect_total),
    ({}, {"input": FromStep("a")}, expect_order),
    ({"undo": step("u")}, {}, expect_undo),
]


@pytest.mark.parametrize(("first", "second", "expect"), STEP_OPTIONS)
def test_step_options(
    first: dict[str, Any], second: dict[str, Any], expect: Callable[[Run], None]
) -> None:
    """Each option of a step does what it says."""
    requires = second.get("requires", ())
    others = {name: value for name, value in second.items() if name != "requires"}
    run = Run(planned(step("a", **first), step("b", *requires, **others))).start()
    expect(run)


def test_an_option_for_each_field() -> None:
    """The rows above name every option that a step has, and every option of a start."""
    named = {name for first, second, _ in STEP_OPTIONS for name in (*first, *second)}
    elsewhere = {"id", "workflow", "heartbeat_ms", "at_most_once"}
    assert set(StepDefinition._fields) - named == elsewhere
    rows = " ".join(row[0] for row in START_OPTIONS)
    others = {"timeout_ms", "on_error", "on_undo_error"}
    assert {item.name for item in fields(StartOptions)} - set(rows.split()) == others


# ------------------------------------------------------------------------- the public names


def test_a_program_is_attached_to_what_was_loaded() -> None:
    """A program knows its plan, and after a load what is out."""
    plan = planned(inner("s", step("x")), step("a"))
    run = Run(plan)
    assert StepsProgram.attach(plan, assemble, run.tree).attempts_out == 0
    run.start()
    program = StepsProgram.attach(plan, assemble, run.journal.load())
    assert (program.plan, program.attempts_out, program.timeout_ms) == (plan, 2, None)
    node = run.tree.node("steps/s/steps/x")
    assert places.plan_of(plan, node) is plan.steps[plan.index["s"]].plan
    assert places.planned(plan, node).definition.id == "x"
    assert program.definition(run.tree.node("steps/a")).id == "a"


def test_the_root_has_bodies() -> None:
    """The bodies of the whole are found by its root as well."""
    run = Run(planned(step("a"))).start(b"3")
    assert run.program.bodies_of(run.tree, run.tree.root).input() == b"3"
    assert isinstance(run.plan, Plan)
