"""Tests of `flow.step`."""

from __future__ import annotations

import re
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow.errors import InvalidName, InvalidOption, InvalidReference
from flow.retry import RetryPolicy
from flow.step import (
    Composed,
    FromInput,
    FromOutcome,
    FromStep,
    Listed,
    Literal,
    Step,
    StepDefinition,
    StepKind,
    template_steps,
    to_template,
    workflow_input,
)
from flow.workflow import WorkflowDefinition

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_json_is_a_literal(value: object) -> None:
    """JSON without references becomes one literal, whatever is nested in it."""
    assert to_template("x", value) == Literal(value)


def test_references_become_templates() -> None:
    """References, steps, mappings, lists and templates are put together as they were written."""
    hold = Step.call("inventory.reserve")
    written = {
        "id": hold.output.id[0]["x y"],
        "all": hold,
        "rest": [workflow_input, workflow_input.order.total, (1, {"deep": hold.output})],
        "fixed": {"a": [1, "b", None]},
        "made": FromOutcome(),
    }
    assert to_template("x", written) == Composed(
        (
            ("id", FromStep("reserve", ("id", 0, "x y"))),
            ("all", FromStep("reserve")),
            (
                "rest",
                Listed(
                    (
                        FromInput(),
                        FromInput(("order", "total")),
                        Listed((Literal(1), Composed((("deep", FromStep("reserve")),)))),
                    ),
                ),
            ),
            ("fixed", Literal({"a": [1, "b", None]})),
            ("made", FromOutcome()),
        ),
    )


@pytest.mark.parametrize("value", [nan, inf, -inf, object, {1}, b"x", 1j])
def test_what_is_not_json_is_refused(value: object) -> None:
    """A template holds references and JSON only, at any depth."""
    text = f"x: the reference to {repr(value)!r} is neither a reference nor a JSON value"
    for written in (value, [value], {"a": {"b": value}}):
        with pytest.raises(InvalidReference, match=f"^{re.escape(text)}$"):
            to_template("x", written)


def test_names_in_a_mapping_are_strings() -> None:
    """A mapping with other keys is refused, for JSON has none."""
    with pytest.raises(InvalidReference, match="reference to '1' is not a string"):
        to_template("x", {1: 2})


def test_template_steps_goes_through_all() -> None:
    """Every reference to a step is told in order, and nothing else."""
    template = Composed(
        (("a", FromStep("x")), ("b", Listed((FromStep("y"), FromInput(), FromStep("x")))))
    )
    assert list(template_steps(template)) == ["x", "y", "x"]
    assert not list(template_steps(None))
    assert not list(template_steps(Literal({"a": 1})))
    assert not list(template_steps(FromOutcome()))


def test_references_are_shown_as_written() -> None:
    """A reference's text is the Python that made it."""
    hold = Step.call("inventory.reserve", id="hold")
    assert repr(hold.output.items[0].id) == "hold.output.items[0].id"
    assert repr(workflow_input.order.total) == "workflow_input.order.total"
    assert repr(hold) == "<Step 'hold': call inventory.reserve>"


@pytest.mark.parametrize("reference", [workflow_input, Step.call("a.b").output])
def test_private_attributes_are_not_references(reference: Any) -> None:
    """Names that Python or its tools look up are not taken for fields."""
    assert not hasattr(reference, "_private")
    assert not hasattr(reference, "__deepcopy__")
    assert repr(reference["_private"]).endswith("._private")


def test_ids_come_from_the_target() -> None:
    """A call is called like its method and a publication like its topic, unless told."""
    assert Step.call("payments.charge").id == "charge"
    assert Step.publish("orders.paid").id == "orders.paid"
    assert Step.call("payments.charge", id="pay").id == "pay"


def test_requirements_include_references() -> None:
    """A step requires what is named and what its input refers to, each once and in order."""
    a, b, c = (Step.call(f"s.{name}") for name in "abc")
    step = Step.call("s.d", requires=[b, "x", b], input={"a": a.output.id, "b": b, "c": [c]})
    assert list(step.requires) == ["b", "x", "a", "c"]
    before = step.definition()
    assert step.require("y", a) is step
    assert list(step.requires) == ["b", "x", "y", "a", "c"]
    assert before.requires == ("b", "x", "a", "c")


def test_a_definition_has_every_option() -> None:
    """What a user declared is in the definition, times in milliseconds, steps as ids."""
    labels = {"team": "shop"}
    retry = RetryPolicy(max_attempts=2)
    fallback = Step.call("s.b")
    step = Step.call(
        "s.a",
        id="x",
        requires=["y"],
        input=workflow_input.total,
        timeout=1.5,
        start_within=0.25,
        retry=retry,
        fallback=fallback,
        optional=True,
        concurrency=3,
        labels=labels,
    )
    assert step.definition() == StepDefinition(
        id="x",
        kind=StepKind.CALL,
        target="s.a",
        requires=("y",),
        input=FromInput(("total",)),
        timeout_ms=1500,
        start_within_ms=250,
        retry=retry,
        fallback="b",
        optional=True,
        concurrency=3,
        labels={"team": "shop"},
    )
    labels["team"] = "other"
    assert step.definition().labels is not labels


def test_a_definition_has_defaults() -> None:
    """A step without options has the documented defaults."""
    definition = Step.publish("orders.paid").definition()
    assert definition == StepDefinition(
        id="orders.paid", kind=StepKind.PUBLISH, target="orders.paid", timeout_ms=60_000
    )
    assert (definition.input, definition.retry, definition.fallback) == (None, None, "")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "timeout=0 is not possible: it is more than 0 seconds"),
        ({"timeout": nan}, "timeout=nan is not possible: it is more than 0 seconds"),
        ({"timeout": inf}, "timeout=inf is not possible: it is more than 0 seconds"),
        ({"start_within": -1}, "start_within=-1 is not possible: it is more than 0 seconds"),
        ({"concurrency": 0}, "concurrency=0 is not possible: it is at least 1"),
        ({"retry": 3}, "retry=3 is not possible: it is a RetryPolicy(max_attempts=…)"),
    ],
)
def test_options_make_sense(options: dict[str, Any], text: str) -> None:
    """Each option that makes no sense is refused with the step's name."""
    with pytest.raises(InvalidOption, match=re.escape(f"<Step 'b': call a.b>: {text}")):
        Step.call("a.b", **options)


def test_names_are_checked() -> None:
    """Endpoints, topics and ids that break the rules are refused."""
    for make in (
        lambda: Step.call("a"),
        lambda: Step.publish("a..b"),
        lambda: Step.call("a.b", id="/"),
        lambda: Step.call("a._b"),
    ):
        with pytest.raises(InvalidName):
            make()


def test_a_wrong_input_names_its_step() -> None:
    """An input that is no template is refused with the step whose it is."""
    with pytest.raises(InvalidReference, match=r"^the input of step 'b': the reference to"):
        Step.call("a.b", input=object())


def test_long_steps_and_steps_that_run_at_most_once() -> None:
    """A heartbeat is a time span, and what runs at most once has no second attempt."""
    definition = Step.call("a.b", heartbeat=2.5, at_most_once=True).definition()
    assert (definition.heartbeat_ms, definition.at_most_once) == (2_500, True)
    plain = Step.call("a.b", at_most_once=False, retry=RetryPolicy()).definition()
    assert (plain.heartbeat_ms, plain.at_most_once) == (None, False)
    with pytest.raises(InvalidOption, match="heartbeat=0 is not possible"):
        Step.call("a.b", heartbeat=0)
    with pytest.raises(InvalidOption, match=r"retry=.*runs at most once is not tried again"):
        Step.call("a.b", at_most_once=True, retry=RetryPolicy())


@pytest.mark.parametrize("options", [{"heartbeat": 5}, {"at_most_once": True}])
def test_only_calls_run_long(options: dict[str, Any]) -> None:
    """Publications and sub-workflows have no handler that could beat or ask for a permit."""
    with pytest.raises(InvalidOption, match="only a step that calls an endpoint"):
        Step.publish("a.b", **options)
    with pytest.raises(InvalidOption, match="only a step that calls an endpoint"):
        Step.sub_workflow(WorkflowDefinition(id="w", steps=()), **options)
