"""Tests of `flow.defining`: what a program says of a workflow, as a definition."""

from typing import Any

import pytest

from flow import Step, workflow_input
from flow.catalogue import OpenDefinition
from flow.defining import define, definitions_of, returns_of
from flow.errors import InvalidName, InvalidOption, InvalidReference, UnknownRequirement
from flow.template import FromInput, FromStep
from flow.workflow import WorkflowDefinition


def test_what_is_said_is_what_is_defined() -> None:
    """Options become the fields of the definition: seconds milliseconds, hooks definitions."""
    first, last = Step.call("a.first"), Step.call("a.last")
    made = define(
        "w",
        [first],
        first,
        {
            "version": "2",
            "timeout": 1.5,
            "on_end": last,
            "barrier": True,
            "labels": {"a": "b"},
            "on_error": "compensate",
            "on_undo_error": "stop",
            "settle_within": 2.5,
        },
    )
    assert made == WorkflowDefinition(
        id="w",
        steps=(first.definition(),),
        version="2",
        output=FromStep("first"),
        hooks={"on_end": last.definition()},
        barrier=True,
        timeout_ms=1_500,
        labels={"a": "b"},
        on_error="compensate",
        on_undo_error="stop",
        settle_within_ms=2_500,
    )


def test_a_definition_is_validated() -> None:
    """What is no workflow is refused, and so are options that do not exist or make no sense."""
    step = Step.call("a.b", requires=["lost"])
    with pytest.raises(UnknownRequirement, match="'lost'"):
        define("w", [step], None, {})
    with pytest.raises(InvalidOption, match="more than 0"):
        define("w", [Step.call("a.b")], None, {"timeout": 0})
    wrong: Any = {"timeut": 1}
    with pytest.raises(InvalidOption, match="timeout"):
        define("w", [Step.call("a.b")], None, wrong)


def test_a_definition_with_names_is_open() -> None:
    """What names steps cannot be validated yet; each name is kept once, and has to be one."""
    step = Step.call("a.b", requires=["later"])
    made = define("w", [step], "later", {}, ["later", "other", "later"])
    assert isinstance(made, OpenDefinition)
    assert made.names == ("later", "other")
    assert made.definition.steps == (step.definition(),)
    with pytest.raises(InvalidName):
        define("w", [], None, {}, ["no good"])
    with pytest.raises(InvalidName):
        define("no good", [], None, {}, ["later"])


def test_an_output_may_be_an_id_or_a_mapping() -> None:
    """The result is a step's output by id, or what a mapping refers to; nothing unknown."""
    step = Step.call("a.b")
    by_id = define("w", [step], "b", {})
    mapped = define("w", [step], workflow_input.total, {})
    assert isinstance(by_id, WorkflowDefinition)
    assert isinstance(mapped, WorkflowDefinition)
    assert (by_id.output, mapped.output) == (FromStep("b"), FromInput(("total",)))
    with pytest.raises(InvalidReference, match="'c'"):
        define("w", [step], "c", {})


def test_what_stands_in_for_a_step_is_part_of_it() -> None:
    """A fallback comes along with its step, once; what is no step is refused."""
    stand_in = Step.call("a.later")
    steps: list[Step[Any]] = [Step.call("a.b", fallback=stand_in), stand_in]
    assert [each.id for each in definitions_of(steps[:1])] == ["b", "later"]
    assert [each.id for each in definitions_of(steps)] == ["b", "later"]
    wrong: Any = [print]
    with pytest.raises(InvalidOption, match="a workflow is made of steps"):
        definitions_of(wrong)


def test_an_output_tells_the_type_of_the_result() -> None:
    """A step's result has its type; nothing is known of a mapping, or of an id."""
    assert returns_of(Step.call("a.b", returns=int)) is int
    assert returns_of({"a": 1}) is Any
    assert returns_of("b") is Any
