"""Tests of `invariants.inputs`: what a handler has to get, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from flow.ports import ExecutionSummary
from flow.status import Status
from flow.step import StepDefinition, StepKind
from flow.template import Composed, FromInput, FromOutcome, FromStep, Listed, Literal, Template
from flow.workflow import WorkflowDefinition
from tests.simulation.folding import Node, Recorded
from tests.simulation.invariants.inputs import UNKNOWN, expected_input, locate


def call(id: str, template: Template | None = None, **options: Any) -> StepDefinition:
    """Return a step that calls an endpoint."""
    return StepDefinition(id=id, kind=StepKind.CALL, target="w.x", input=template, **options)


def nested(id: str, workflow: WorkflowDefinition, template: Template) -> StepDefinition:
    """Return a step that is a sub-workflow."""
    kind = StepKind.WORKFLOW
    return StepDefinition(id=id, kind=kind, target="inner", input=template, workflow=workflow)


INNER = WorkflowDefinition(id="inner", steps=(call("x"),), output=FromStep("x", ("deep",)))
LEAVES = WorkflowDefinition(id="leaves", steps=(call("y"),))
WHOLE = WorkflowDefinition(
    id="w",
    steps=(
        call("a", fallback="spare"),
        call("spare"),
        call("b", FromStep("a")),
        call("c", Composed((("i", FromInput(("n", 0))), ("l", Listed((Literal(1),)))))),
        call("d", FromStep("sub")),
        call("e", FromStep("open")),
        call("f", FromOutcome()),
        nested("sub", INNER, FromInput(("n",))),
        nested("open", LEAVES, FromInput()),
    ),
    hooks={"on_end": call("hook")},
)


def execution(**states: tuple[str, Any]) -> Recorded:
    """Return an execution whose steps are in states, with outputs."""
    summary = ExecutionSummary("e", 0, "w", "h", Status.RUNNING, 0, 0)
    nodes = {"input": Node("input", "input", "SUCCESS", {"body": {"n": [7]}}, 2, 2)}
    for name, (state, output) in states.items():
        path = "steps/" + name.replace("__", "/steps/")
        kind = "sub-workflow" if name in {"sub", "open"} else "step"
        nodes[path] = Node(path, kind, state, {"output": output}, 3, 3)
    return Recorded("e", 0, summary, nodes=nodes)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("steps/a", {"n": [7]}),
        ("steps/spare", {"n": [7]}),
        ("steps/b", "out"),
        ("steps/c", {"i": 7, "l": [1]}),
        ("steps/d", 5),
        ("steps/sub/steps/x", [7]),
        ("steps/e", UNKNOWN),
        ("steps/f", UNKNOWN),
        ("hooks/on_end", UNKNOWN),
        ("steps/nobody", UNKNOWN),
    ],
)
def test_each_template_is_filled_in(path: str, expected: Any) -> None:
    """An input is made of the execution's, of outputs and of literals, in sub-workflows too."""
    there = execution(
        a=("SUCCESS", "out"),
        sub=("SUCCESS", None),
        sub__x=("SUCCESS", {"deep": 5}),
        open=("SUCCESS", None),
    )
    assert expected_input({"h": WHOLE}, there, path) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"a": ("SKIPPED", None)}, None),
        ({"a": ("FAILURE", None), "spare": ("SUCCESS", "instead")}, "instead"),
        ({"a": ("FAILURE", None), "spare": ("FAILURE", None)}, None),
        ({}, None),
    ],
)
def test_what_has_no_output_is_null_or_stood_in_for(
    states: dict[str, tuple[str, Any]], expected: Any
) -> None:
    """A step without an output counts as null, unless its fallback has one."""
    assert expected_input({"h": WHOLE}, execution(**states), "steps/b") == expected


def test_a_step_is_found_in_its_workflow() -> None:
    """A path leads to the step, to the workflow around it, and to the prefix of its siblings."""
    found = locate({"h": WHOLE}, execution(), "steps/sub/steps/x")
    assert found == (INNER.steps[0], INNER, "steps/sub/")
    assert locate({}, execution(), "steps/a") is None
