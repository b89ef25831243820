"""Tests for flow.template."""

import re
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow.errors import InvalidReference
from flow.step import Step
from flow.template import (
    Composed,
    FromInput,
    FromOutcome,
    FromRun,
    FromStep,
    Listed,
    Literal,
    Reference,
    mentions,
    template_steps,
    to_template,
    undone,
    workflow_input,
)

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
        "run": undone["output"][0],
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
            ("run", FromRun(("output", 0))),
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
    assert repr(undone.failure.message) == "undone.failure.message"


@pytest.mark.parametrize("reference", [workflow_input, undone, Step.call("a.b").output])
def test_private_attributes_are_not_references(reference: Any) -> None:
    """Names that Python or its tools look up are not taken for fields."""
    assert not hasattr(reference, "_private")
    assert not hasattr(reference, "__deepcopy__")
    assert repr(reference["_private"]).endswith("._private")


def test_what_a_template_mentions() -> None:
    """A part of a kind is found at any depth, and nowhere else."""
    deep = Composed((("a", Listed((Literal(1), FromRun()))),))
    assert mentions(deep, FromRun)
    assert not mentions(deep, FromOutcome)
    assert mentions(FromOutcome(), FromOutcome)
    assert not mentions(None, FromRun)


def test_a_reference_without_a_template_says_so() -> None:
    """A reference of one's own has to say what it leads to."""
    with pytest.raises(NotImplementedError):
        to_template("x", Reference())
