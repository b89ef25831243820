"""Tests of `flow.planner.validation`: what is no workflow is refused, with all offenders."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flow.errors import (
    CyclicRequirement,
    DefinitionError,
    DuplicateDefinition,
    InvalidName,
    InvalidOption,
    InvalidReference,
    SelfRequirement,
    UnknownRequirement,
)
from flow.planner import validation
from flow.planner.validation import check, nested, validate
from flow.step import StepDefinition, StepKind
from flow.template import Composed, FromInput, FromOutcome, FromStep, Listed, Literal, Template
from flow.workflow import WorkflowDefinition


def step(id: str, *requires: str, **options: Any) -> StepDefinition:
    """Return a call step."""
    return StepDefinition(
        id=id, kind=StepKind.CALL, target="service.method", requires=requires, **options
    )


def inner(id: str, workflow: object, *requires: str) -> StepDefinition:
    """Return a step that is a sub-workflow."""
    return StepDefinition(
        id=id, kind=StepKind.WORKFLOW, target="inner", requires=requires, workflow=workflow
    )


def flow(*steps: StepDefinition, **options: Any) -> WorkflowDefinition:
    """Return a workflow called `shop`."""
    return WorkflowDefinition(id="shop", steps=steps, **options)


def expect_refused(
    definition: WorkflowDefinition, error: type[DefinitionError], text: str
) -> DefinitionError:
    """Expect *definition* to be refused with exactly this error, and return it."""
    with pytest.raises(error, match=f"^{re.escape(text)}$") as caught:
        validate(definition)
    return caught.value


def test_a_right_workflow_passes() -> None:
    """Requirements, references, fallbacks, hooks and sub-workflows are right together."""
    definition = flow(
        step("a"),
        step("b", "a", input=Composed((("x", FromStep("a")), ("y", Listed((FromInput(),)))))),
        step("c", "b", fallback="d"),
        step("d", input=FromStep("a", ("x",))),
        inner("e", flow(step("a")), "c"),
        output=Composed((("e", FromStep("e")),)),
        hooks={
            "on_end": step("tell", input=Composed((("c", FromStep("d")), ("o", FromOutcome()))))
        },
    )
    validate(definition)
    steps = check(definition)
    assert steps.index == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
    assert steps.requires == [(), (0,), (1,), (0,), (2,)]
    assert steps.stands_in_for == {3: 2}
    assert steps.levels == [[0], [1], [2], [3, 4]]


def test_a_requirement_counts_once() -> None:
    """What is required twice, and by a reference, is one requirement in the order of mention."""
    definition = flow(step("a"), step("b"), step("c", "b", "b", input=Listed((FromStep("a"),) * 2)))
    assert check(definition).requires[2] == (1, 0)


def test_duplicates_are_all_named() -> None:
    """Ids that are there twice, and hooks with the id of a step, are refused together."""
    expect_refused(
        flow(step("a"), step("b"), step("a"), step("b"), step("c"), hooks={"on_end": step("c")}),
        DuplicateDefinition,
        "workflow 'shop': step ids declared more than once: 'a', 'b', 'c'",
    )


def test_one_hook_may_have_two_occasions() -> None:
    """The same step may be the hook for success and for failure."""
    hook = step("tell")
    definition = flow(step("a"), hooks={"on_success": hook, "on_failure": hook})
    validate(definition)
    assert check(definition).index == {"a": 0}


def test_steps_that_require_themselves_are_all_named() -> None:
    """A requirement of a step on itself is refused, also if a reference makes it."""
    expect_refused(
        flow(step("a", "a"), step("b"), step("c", input=FromStep("c"))),
        SelfRequirement,
        "workflow 'shop': a step cannot require itself: 'a', 'c'",
    )


def test_unknown_requirements_are_all_named() -> None:
    """Requirements, references, fallbacks and hooks that name no step are told with a hint."""
    error = expect_refused(
        flow(
            step("charge", "reserv", "zzzz"),
            step("reserve", input=Composed((("x", FromStep("chargé")),))),
            step("ship", fallback="shop"),
            hooks={"on_end": step("tell", input=FromStep("reserved"))},
        ),
        UnknownRequirement,
        "workflow 'shop': 'charge' requires 'reserv', which is not a step of it; did you mean "
        "'reserve'?; 'charge' requires 'zzzz', which is not a step of it; 'reserve' requires "
        "'chargé', which is not a step of it; did you mean 'charge'?; 'ship' requires 'shop', "
        "which is not a step of it; did you mean 'ship'?; 'tell' requires 'reserved', which is "
        "not a step of it; did you mean 'reserve'?",
    )
    assert isinstance(error, UnknownRequirement)
    assert error.known == ("charge", "reserve", "ship")


def test_nobody_requires_a_hook() -> None:
    """A hook is not a step, so requiring it is requiring what is not there."""
    definition = flow(step("a", "tell"), hooks={"on_end": step("tell")})
    expect_refused(
        definition,
        UnknownRequirement,
        "workflow 'shop': 'a' requires 'tell', which is not a step of it",
    )


def test_hints_stay_cheap() -> None:
    """With very many wrong names the error carries few known ones to compare them with."""
    definition = flow(*(step(f"s{n}", f"t{n}") for n in range(20_000)))
    with pytest.raises(UnknownRequirement) as caught:
        validate(definition)
    assert len(caught.value.missing) == 20_000
    assert len(caught.value.known) == 2


def test_circles_are_all_told() -> None:
    """Every circle is written out, in the order of declaration."""
    expect_refused(
        flow(step("z", "y"), step("y", "z"), step("a", "c"), step("b", "a"), step("c", "b", "z")),
        CyclicRequirement,
        "workflow 'shop': steps require each other in a circle: z -> y -> z; a -> c -> b -> a",
    )


def test_circles_through_references_are_found() -> None:
    """A reference can close a circle."""
    expect_refused(
        flow(step("a", input=FromStep("b")), step("b", "a")),
        CyclicRequirement,
        "workflow 'shop': steps require each other in a circle: a -> b -> a",
    )


def test_circles_are_bounded() -> None:
    """Twenty circles are enough."""
    pairs = [(step(f"a{n}", f"b{n}"), step(f"b{n}", f"a{n}")) for n in range(30)]
    with pytest.raises(CyclicRequirement) as caught:
        validate(flow(*(each for pair in pairs for each in pair)))
    assert len(caught.value.cycles) == 20


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (
            [step("a", fallback="c"), step("b", fallback="c"), step("c")],
            "'c' is not possible: a step stands in for one step only",
        ),
        (
            [step("a", fallback="b"), step("b", fallback="c"), step("c")],
            "'b' is not possible: a fallback has no fallback of its own",
        ),
        (
            [step("a", fallback="a")],
            "'a' is not possible: a fallback has no fallback of its own",
        ),
        (
            [step("a", fallback="b"), step("b"), step("c", "b"), step("d", fallback="e"),
             step("e"), step("f", input=FromStep("e"))],
            ("'b', 'e' is not possible: nobody requires a fallback: require the step that it "
            "stands in for"),
        ),
        (
            [step("a"), step("b", "a", fallback="c"), step("c", "b"), step("d", fallback="e"),
             step("e", "a")],
            ("'c', 'e' is not possible: a fallback requires only what comes before the step that "
            "it stands in for"),
        ),
    ],
)  # fmt: skip
def test_fallbacks_keep_their_rules(steps: list[StepDefinition], text: str) -> None:
    """Each rule for fallbacks is kept, and names all that break it."""
    expect_refused(flow(*steps), InvalidOption, f"workflow 'shop': fallback={text}")


def test_a_fallback_may_require_a_distant_ancestor() -> None:
    """What comes long before the step is there for its fallback, and it comes after its step."""
    definition = flow(step("f", "a"), step("a"), step("b", "a"), step("c", "b", fallback="f"))
    assert check(definition).levels == [[1], [2], [3], [0]]


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (flow(), "steps=0 is not possible: a workflow has at least one step"),
        (
            flow(step("a"), timeout_ms=0),
            "timeout_ms=0 is not possible: it is more than 0",
        ),
        (
            flow(step("a"), hooks={"on_sucess": step("b")}),
            (
                "hooks='on_sucess' is not possible: the hooks are 'on_success', 'on_failure', "
                "'on_end'; did you mean 'on_success'?"
            ),
        ),
        (
            flow(step("a"), hooks={"on_end": step("b", fallback="a")}),
            "fallback='b' is not possible: a hook has none",
        ),
        (
            flow(inner("a", None), inner("b", {}), step("c")._replace(workflow=flow(step("a")))),
            (
                "'a', 'b', 'c': workflow=this is not possible: a step of the kind 'workflow', and "
                "no other, has a definition in it"
            ),
        ),
    ],
)
def test_options_make_sense(definition: WorkflowDefinition, text: str) -> None:
    """An empty workflow, unknown hooks and half sub-workflows are refused."""
    expect_refused(definition, InvalidOption, f"workflow 'shop': {text}")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (
            Listed((FromStep("a"), FromStep("alpa"), FromStep("x"), FromStep("y"))),
            (
                "the output of workflow 'shop': the reference to 'alpa' leads to no step (the same "
                "is true of 'x', 'y'); did you mean 'alpha'?"
            ),
        ),
        (
            FromStep("b"),
            (
                "the output of workflow 'shop': the reference to 'b' leads to a fallback: refer to "
                "the step that it stands in for"
            ),
        ),
        (
            Composed((("x", Listed((FromOutcome(),))),)),
            (
                "the output of workflow 'shop': the reference to 'outcome' leads to what only "
                "hooks can know"
            ),
        ),
    ],
)
def test_the_output_refers_to_steps(output: Template, text: str) -> None:
    """An output cannot refer to what is not there, to a fallback, or to the outcome."""
    definition = flow(step("a", fallback="b"), step("b"), step("alpha"), output=output)
    expect_refused(definition, InvalidReference, text)


def test_only_hooks_know_the_outcome() -> None:
    """A step that refers to the outcome is refused, and all that do are named."""
    expect_refused(
        flow(step("a", input=FromOutcome()), step("b", input=FromOutcome()), output=Literal(1)),
        InvalidReference,
        "the input of step 'a': the reference to 'outcome' leads to what only hooks can know "
        "(the same is true of 'b')",
    )


@pytest.mark.parametrize(
    "definition",
    [
        flow(step("a/b")),
        flow(step("a"), hooks={"on_end": step("")}),
        WorkflowDefinition(id="..", steps=(step("a"),)),
    ],
)
def test_ids_are_names(definition: WorkflowDefinition) -> None:
    """Ids that are no names are refused wherever they stand."""
    with pytest.raises(InvalidName):
        validate(definition)


def test_sub_workflows_are_validated() -> None:
    """A fault deep inside is found, and the workflow that has it is named."""
    broken = WorkflowDefinition(id="broken", steps=(step("a", "a"),))
    for wrong in (
        flow(inner("x", flow(inner("y", broken)))),
        flow(step("x"), hooks={"on_end": inner("y", broken)}),
    ):
        expect_refused(
            wrong, SelfRequirement, "workflow 'broken': a step cannot require itself: 'a'"
        )


def test_nesting_is_bounded() -> None:
    """Sixteen workflows may be nested in each other, seventeen may not."""
    definition = flow(step("a"))
    for _ in range(15):
        definition = flow(inner("a", definition))
    validate(definition)
    expect_refused(
        flow(inner("a", definition)),
        InvalidOption,
        "workflow 'shop': steps=more than 16 levels of sub-workflows is not possible: at most 16 "
        "are allowed",
    )


def test_the_total_number_of_steps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of sub-workflows count, each time they are there."""
    monkeypatch.setattr(validation, "STEPS_LIMIT", 12)
    part = flow(*(step(f"s{n}") for n in range(5)))
    validate(flow(inner("a", part), inner("b", part)))
    expect_refused(
        flow(inner("a", part), inner("b", part), step("c")),
        InvalidOption,
        "workflow 'shop': steps=more than 12 is not possible: at most 12 are allowed, those of "
        "sub-workflows included",
    )


def test_a_bomb_of_sub_workflows_is_refused_soon() -> None:
    """A small definition that stands for ten to the fifteenth steps is refused by counting."""
    definition = flow(step("a"))
    for _ in range(15):
        definition = flow(*(inner(f"s{n}", definition) for n in range(10)))
    with pytest.raises(InvalidOption, match="more than 100,000"):
        validate(definition)


def test_shared_sub_workflows_are_listed_once() -> None:
    """A definition that is there twice is validated once, after the one around it."""
    part = flow(step("a"))
    outer = flow(inner("a", part), inner("b", part))
    assert nested(outer) == [outer, part]


def test_a_definition_is_checked_once_and_then_forgotten() -> None:
    """What was found is kept as long as the definition is, and not for an equal one."""
    first, second = flow(step("a")), flow(step("a"))
    found = validation.check(first)
    assert validation.check(first) is found
    assert validation.check(second) is not found
    before = len(validation._checked)
    del first
    assert len(validation._checked) == before - 1
