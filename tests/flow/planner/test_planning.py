"""Tests of `flow.planner.planning`: numbering, levels, and what start options change."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from flow.errors import FlowError, InvalidOption, InvalidReference, UnknownStep
from flow.plan import Plan, StartOptions
from flow.planner.planning import levels, plan, sorted_steps
from flow.retry import RetryPolicy
from flow.step import StepDefinition, StepKind
from flow.template import Composed, FromStep, Listed, template_steps
from flow.workflow import WorkflowDefinition


def step(id: str, *requires: str, **options: Any) -> StepDefinition:
    """Return a call step."""
    return StepDefinition(
        id=id, kind=StepKind.CALL, target="service.method", requires=requires, **options
    )


def inner(id: str, workflow: WorkflowDefinition, *requires: str) -> StepDefinition:
    """Return a step that is a sub-workflow."""
    return StepDefinition(
        id=id, kind=StepKind.WORKFLOW, target=workflow.id, requires=requires, workflow=workflow
    )


def flow(*steps: StepDefinition, **options: Any) -> WorkflowDefinition:
    """Return a workflow called `shop`."""
    return WorkflowDefinition(id="shop", steps=steps, **options)


def modes(made: Plan) -> tuple[str, str, int]:
    """Return what a plan does after an error."""
    return made.on_error, made.on_undo_error, made.settle_within_ms


def named(made: Plan) -> list[list[str]]:
    """Return the ids of the steps, level by level."""
    return [[each.definition.id for each in level] for level in levels(made)]


def test_sorted_steps_are_the_levels_of_the_plan() -> None:
    """Sorting a definition gives what its plan gives, without making one."""
    for definition in (DIAMOND, flow(step("b", fallback="c"), step("c"), step("a", "b"))):
        assert [[each.id for each in level] for level in sorted_steps(definition)] == named(
            plan(definition, "")
        )
    with pytest.raises(InvalidOption):
        sorted_steps(flow())


def outside(made: Plan) -> dict[str, str]:
    """Return why steps are outside, by their ids."""
    return {made.steps[number].definition.id: reason for number, reason in made.outside.items()}


def needed(made: Plan) -> dict[str, tuple[str, ...]]:
    """Return whose results are needed by whom, by ids."""
    return {made.steps[number].definition.id: users for number, users in made.needed.items()}


def leaves(made: Plan) -> list[str]:
    """Return the ids that the output refers to."""
    return list(template_steps(made.output))


DIAMOND = flow(step("d", "b", "c"), step("c", "a"), step("b", "a"), step("a"))


@st.composite
def workflows(draw: st.DrawFn) -> WorkflowDefinition:
    """Return a workflow of up to ten steps, declared in any order."""
    size = draw(st.integers(1, 10))
    before = [
        draw(st.sets(st.integers(0, max(0, n - 1)), max_size=3)) & {*range(n)} for n in range(size)
    ]
    steps = [step(f"s{n}", *(f"s{each}" for each in sorted(before[n]))) for n in range(size)]
    return flow(*draw(st.permutations(steps)))


def closure(definition: WorkflowDefinition, starts: set[str]) -> set[str]:
    """Return the starts and what depends on them, the slow and obvious way."""
    found = set(starts)
    while more := {
        each.id for each in definition.steps if found & set(each.requires) and each.id not in found
    }:
        found |= more
    return found


def test_a_plan_is_numbered_level_by_level() -> None:
    """Steps are sorted by level, then by declaration, with edges in both directions."""
    made = plan(DIAMOND, "hash")
    assert (made.workflow, made.hash) == ("shop", "hash")
    assert [each.definition.id for each in made.steps] == ["a", "c", "b", "d"]
    assert made.index == {"a": 0, "c": 1, "b": 2, "d": 3}
    assert [each.level for each in made.steps] == [0, 1, 1, 2]
    assert [each.requires for each in made.steps] == [(), (0,), (0,), (1, 2)]
    assert [each.dependents for each in made.steps] == [(1, 2), (3,), (3,), ()]
    assert made.output == Composed((("d", FromStep("d")),))
    assert (made.barrier, made.timeout_ms, made.hooks) == (False, None, {})
    assert (made.outside, made.needed) == ({}, {})
    assert plan(DIAMOND, "hash") == made


@given(workflows())
def test_every_requirement_is_in_an_earlier_level(definition: WorkflowDefinition) -> None:
    """Requirements come earlier by number and level, and edges are there in both directions."""
    made = plan(definition, "")
    for number, each in enumerate(made.steps):
        assert made.index[each.definition.id] == number
        assert {made.steps[first].definition.id for first in each.requires} == set(
            each.definition.requires
        )
        assert all(first < number for first in each.requires)
        assert each.level == max((made.steps[n].level + 1 for n in each.requires), default=0)
        assert all(number in made.steps[first].dependents for first in each.requires)
        assert all(number in made.steps[then].requires for then in each.dependents)


@given(workflows())
def test_the_default_output_has_every_leaf(definition: WorkflowDefinition) -> None:
    """The default output is an object of the leaves by id, as they were declared."""
    required = {name for each in definition.steps for name in each.requires}
    expected = [each.id for each in definition.steps if each.id not in required]
    assert leaves(plan(definition, "")) == expected


@given(workflows())
def test_reverse_of_reverse_is_forward(definition: WorkflowDefinition) -> None:
    """A workflow whose requirements are turned around runs in reverse as the first one forward."""
    turned = flow(
        *(
            step(each.id, *(other.id for other in definition.steps if each.id in other.requires))
            for each in definition.steps
        )
    )
    reverse = StartOptions(reverse=True)
    assert named(plan(turned, "", reverse)) == named(plan(definition, ""))
    assert named(plan(definition, "", reverse)) == named(plan(turned, ""))


@given(workflows(), st.data())
def test_start_at_runs_what_depends_on_the_start(
    definition: WorkflowDefinition, data: st.DataObject
) -> None:
    """Outside is exactly what the named steps do not lead to, in both directions."""
    ids = [each.id for each in definition.steps]
    starts = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3))
    made = plan(definition, "", StartOptions(start_at=tuple(starts)))
    assert outside(made).keys() == set(ids) - closure(definition, set(starts))
    assert set(outside(made).values()) <= {"start_at"}
    before = set(starts)
    while (
        more := {name for s in definition.steps if s.id in before for name in s.requires} - before
    ):
        before |= more
    made = plan(definition, "", StartOptions(start_at=tuple(starts), reverse=True))
    assert outside(made).keys() == set(ids) - before


def test_reverse_keeps_fallbacks_with_their_steps() -> None:
    """In reverse a fallback is later than its step, waits for nothing, and no leaf."""
    definition = flow(
        step("a"), step("b", "a", fallback="f"), step("f", "a"), step("c", "b"), step("d", "a")
    )
    made = plan(definition, "", StartOptions(reverse=True))
    assert named(made) == [["c", "d"], ["b"], ["a", "f"]]
    fallback = made.steps[made.index["f"]]
    assert (fallback.requires, fallback.dependents) == ((), ())
    assert fallback.stands_in_for == made.index["b"]
    assert made.steps[made.index["b"]].fallback == made.index["f"]
    assert leaves(made) == ["a"]


def test_fallbacks_are_planned() -> None:
    """A fallback knows its step and the other way round, and is no leaf."""
    made = plan(flow(step("a", fallback="b"), step("b"), step("c", "a")), "")
    assert named(made) == [["a"], ["b", "c"]]
    assert made.steps[0].fallback == made.index["b"]
    assert made.steps[made.index["b"]].stands_in_for == 0
    assert made.steps[0].dependents == (made.index["c"],)
    assert leaves(made) == ["c"]


def test_start_at_takes_fallbacks_along() -> None:
    """A fallback is inside exactly if its step is."""
    definition = flow(
        *(step("a", fallback="x"), step("x"), step("b", "a", fallback="y"), step("y", "a"))
    )
    made = plan(definition, "", StartOptions(start_at=("b",)))
    assert outside(made) == {"a": "start_at", "x": "start_at"}


def test_start_at_needs_what_is_referred_to() -> None:
    """Results that steps inside or the written output refer to are needed, and others are not."""
    definition = flow(
        step("a"),
        step("b", "a"),
        step("c", input=Listed((FromStep("a"), FromStep("b"), FromStep("a", ("x",))))),
        step("d", "c", input=FromStep("a"), fallback="e"),
        step("e", input=FromStep("b")),
        step("z"),
        output=Listed((FromStep("d"), FromStep("z"))),
        hooks={"on_end": step("tell", input=FromStep("z"))},
    )
    made = plan(definition, "", StartOptions(start_at=("c",)))
    assert needed(made) == {"a": ("c", "d"), "b": ("c", "e"), "z": ("output",)}
    assert needed(plan(definition, "")) == {}


def test_start_at_needs_nothing_for_the_default_output() -> None:
    """The default output keeps its shape; its leaves that are outside are not needed."""
    made = plan(flow(step("a"), step("b", "a"), step("z")), "", StartOptions(start_at=("b",)))
    assert leaves(made) == ["b", "z"]
    assert needed(made) == {}


def test_reverse_needs_nothing_that_runs_later() -> None:
    """Inputs that refer to what runs later in reverse need nothing."""
    definition = flow(step("a"), step("b", input=FromStep("a")), step("c", input=FromStep("b")))
    made = plan(definition, "", StartOptions(start_at=("b",), reverse=True))
    assert outside(made) == {"c": "start_at"}
    assert needed(made) == {}
    assert made.steps[made.index["b"]].definition.input == FromStep("a")


def test_skipped_steps_are_outside_and_not_needed() -> None:
    """A skipped step stays in the graph, its fallback is skipped too, and nothing needs it."""
    definition = flow(step("a", fallback="f"), step("f"), step("b", input=FromStep("a")))
    made = plan(definition, "", StartOptions(skip=("a",)))
    assert outside(made) == {"a": "skip", "f": "skip"}
    assert made.steps[made.index["b"]].requires == (made.index["a"],)
    assert needed(made) == {}
    both = plan(definition, "", StartOptions(skip=("a",), start_at=("b",)))
    assert outside(both) == {"a": "skip", "f": "skip"}
    assert needed(both) == {}


def test_a_skipped_fallback_is_none() -> None:
    """A step whose fallback is skipped has no fallback, and is itself not outside."""
    made = plan(flow(step("a", fallback="f"), step("f")), "", StartOptions(skip=("f",)))
    assert outside(made) == {"f": "skip"}
    assert made.steps[0].fallback is None
    assert made.steps[1].stands_in_for == 0


def test_single_steps_are_changed() -> None:
    """Options make steps optional, and change the attempts and nothing else of a policy."""
    policy = RetryPolicy(max_attempts=2, initial=7.0)
    options = StartOptions(optional=("a",), max_attempts={"a": 5, "b": 6})
    made = plan(flow(step("a", retry=policy), step("b"), step("c")), "", options)
    first, second, third = (each.definition for each in made.steps)
    assert (first.optional, first.retry) == (True, RetryPolicy(max_attempts=5, initial=7.0))
    assert (second.optional, second.retry) == (False, RetryPolicy(max_attempts=6))
    assert (third.optional, third.retry) == (False, None)


def test_fallbacks_are_chosen_at_the_start() -> None:
    """Another fallback can be chosen; the one before is left out and is no leaf."""
    definition = flow(step("a", fallback="x"), step("x"), step("y"), step("b", "a"))
    made = plan(definition, "", StartOptions(fallback={"a": "y"}))
    assert made.steps[made.index["a"]].fallback == made.index["y"]
    assert outside(made) == {"x": "fallback"}
    assert leaves(made) == ["b"]
    none = plan(definition, "", StartOptions(fallback={"a": ""}, reverse=True))
    assert none.steps[none.index["a"]].fallback is None
    assert outside(none) == {"x": "fallback"}
    assert leaves(none) == ["a", "y"]


def test_the_whole_is_changed() -> None:
    """Options replace the output, the barrier and the timeout, and leave them otherwise."""
    definition = flow(step("a"), step("b", "a"), output=FromStep("b"), barrier=True, timeout_ms=5)
    made = plan(definition, "")
    assert (made.output, made.barrier, made.timeout_ms) == (FromStep("b"), True, 5)
    made = plan(definition, "", StartOptions(output="a", barrier=False, timeout_ms=7))
    assert (made.output, made.barrier, made.timeout_ms) == (FromStep("a"), False, 7)


def test_hooks_are_planned_apart() -> None:
    """A hook is a step after the last level without edges, and no leaf."""
    part = flow(step("x"))
    hooks = {"on_end": step("tell", input=FromStep("a")), "on_failure": inner("mend", part)}
    made = plan(flow(step("a"), step("b", "a"), hooks=hooks), "h")
    assert list(made.index) == ["a", "b"]
    assert list(made.hooks) == ["on_end", "on_failure"]
    hook = made.hooks["on_end"]
    assert (hook.definition.id, hook.level, hook.requires, hook.dependents) == ("tell", 2, (), ())
    assert made.hooks["on_failure"].plan == plan(part, "h")
    assert leaves(made) == ["b"]


def test_sub_workflows_are_planned() -> None:
    """A sub-workflow is planned once; reverse reaches into it, and other options do not."""
    part = flow(step("x"), step("y", "x"), barrier=True, timeout_ms=9)
    definition = flow(inner("a", part), inner("b", part, "a"))
    made = plan(definition, "h")
    assert made.steps[0].plan == plan(part, "h")
    assert made.steps[0].plan is made.steps[1].plan
    options = StartOptions(reverse=True, barrier=False, timeout_ms=5, start_at=("b",))
    made = plan(definition, "h", options)
    assert named(made) == [["b"], ["a"]]
    assert made.steps[0].plan == plan(part, "h", StartOptions(reverse=True))


def test_modes_come_from_around() -> None:
    """The start says it, else the workflow itself, else the one around it, else the default."""
    quiet = flow(step("x"))
    own = flow(step("x"), on_error="continue", settle_within_ms=5)
    around = flow(inner("a", quiet), inner("b", own), on_error="compensate", on_undo_error="stop")
    assert modes(plan(quiet, "")) == ("stop", "continue", 60_000)
    made = plan(around, "")
    assert modes(made) == ("compensate", "stop", 60_000)
    assert [modes(each.plan) for each in made.steps if each.plan] == [
        ("compensate", "stop", 60_000),
        ("continue", "stop", 5),
    ]
    made = plan(around, "", StartOptions(on_error="stop", on_undo_error="continue"))
    assert modes(made) == ("stop", "continue", 60_000)
    assert [modes(each.plan) for each in made.steps if each.plan] == [
        ("stop", "continue", 60_000),
        ("continue", "continue", 5),
    ]


def test_one_definition_has_a_plan_for_each_mode() -> None:
    """The same sub-workflow inside workflows of different modes is planned for each of them."""
    part = flow(step("x"))
    outer = flow(inner("p", part), on_error="compensate")
    made = plan(flow(inner("p", part), inner("o", outer)), "")
    first, second = made.steps[0].plan, made.steps[1].plan
    assert first is not None
    assert second is not None
    assert first.on_error == "stop"
    assert second.steps[0].plan is not None
    assert second.steps[0].plan.on_error == "compensate"


def test_an_undo_is_planned_beside_its_step() -> None:
    """A step's undo is a planned step without edges, and the others have none."""
    undo = step("refund")
    made = plan(flow(step("hold"), step("charge", "hold", undo=undo)), "")
    assert made.steps[0].undo is None
    planned = made.steps[1].undo
    assert planned is not None
    assert (planned.definition, planned.level, planned.requires, planned.dependents) == (
        undo,
        1,
        (),
        (),
    )
    assert list(made.index) == ["hold", "charge"]


@pytest.mark.parametrize(
    "options",
    [
        StartOptions(start_at=("a", "bb")),
        StartOptions(skip=("bb",)),
        StartOptions(optional=("bb",)),
        StartOptions(max_attempts={"bb": 1}),
        StartOptions(fallback={"bb": "a"}),
        StartOptions(fallback={"a": "bb"}),
        StartOptions(output="bb"),
    ],
)
def test_unknown_steps_are_refused(options: StartOptions) -> None:
    """Every option that names a step is refused if the workflow has none of that name."""
    text = "workflow 'shop' has no step 'bb'; did you mean 'b'?"
    with pytest.raises(UnknownStep, match=f"^{re.escape(text)}$"):
        plan(flow(step("a"), step("b")), "", options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            StartOptions(timeout_ms=0),
            InvalidOption,
            "the start of workflow 'shop': timeout_ms=0 is not possible: it is more than 0",
        ),
        (
            StartOptions(max_attempts={"a": 0}),
            InvalidOption,
            "RetryPolicy: max_attempts=0 is not possible: it must be at least 1",
        ),
        (
            StartOptions(start_at=("b", "f")),
            InvalidOption,
            (
                "the start of workflow 'shop': start_at='f' is not possible: a fallback runs only "
                "when a step has failed: start at that step"
            ),
        ),
        (
            StartOptions(start_at=("f",), fallback={"a": ""}),
            InvalidOption,
            (
                "the start of workflow 'shop': start_at='f' is not possible: a fallback runs only "
                "when a step has failed: start at that step"
            ),
        ),
        (
            StartOptions(start_at=("b",), skip=("b",)),
            InvalidOption,
            "the start of workflow 'shop': skip='b' is not possible: at least one step has to run",
        ),
        (
            StartOptions(on_error=cast("Any", "undo")),
            InvalidOption,
            (
                "the start of workflow 'shop': on_error='undo' is not possible: it is one of "
                "'stop', 'continue', 'compensate'"
            ),
        ),
        (
            StartOptions(on_undo_error=cast("Any", "compensate")),
            InvalidOption,
            (
                "the start of workflow 'shop': on_undo_error='compensate' is not possible: it is "
                "one of 'continue', 'stop'"
            ),
        ),
        (
            StartOptions(fallback={"b": "f"}),
            InvalidOption,
            "workflow 'shop': fallback='f' is not possible: a step stands in for one step only",
        ),
        (
            StartOptions(output="f"),
            InvalidReference,
            (
                "the output of workflow 'shop': the reference to 'f' leads to a fallback: refer to "
                "the step that it stands in for"
            ),
        ),
    ],
)
def test_impossible_starts_are_refused(
    options: StartOptions, error: type[FlowError], text: str
) -> None:
    """Options that make no sense with the workflow are refused with the reason."""
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        plan(flow(step("a", fallback="f"), step("f"), step("b", "a")), "", options)
