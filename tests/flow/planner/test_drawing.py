"""Tests of `flow.planner.drawing`."""

from __future__ import annotations

import re

import pytest

from flow.errors import SelfRequirement
from flow.planner.drawing import reduction, to_dot, to_mermaid
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition


def step(
    id: str, *requires: str, kind: StepKind = StepKind.CALL, fallback: str = ""
) -> StepDefinition:
    """Return a step."""
    return StepDefinition(id=id, kind=kind, target="a.b", requires=requires, fallback=fallback)


def inner(id: str, workflow: WorkflowDefinition, *requires: str) -> StepDefinition:
    """Return a step that is a sub-workflow."""
    return StepDefinition(
        id=id, kind=StepKind.WORKFLOW, target="x", requires=requires, workflow=workflow
    )


PART = WorkflowDefinition(id="part", steps=(step("first"), step("last", "first")))
SHOP = WorkflowDefinition(
    id="shop",
    steps=(
        step("end"),
        step("a", "end", fallback="b"),
        step("b", "end"),
        inner("part", WorkflowDefinition(id="p", steps=(inner("deep", PART),)), "a"),
        step("orders.paid", "part", "a", "end", kind=StepKind.PUBLISH),
    ),
    hooks={"on_end": step("tell"), "on_failure": step("on_failure")},
)


def test_the_reduction_leaves_out_what_is_implied() -> None:
    """Requirements that others imply, and those of fallbacks, are left out."""
    assert reduction(SHOP) == (("end", "a"), ("a", "part"), ("part", "orders.paid"))


def test_mermaid() -> None:
    """The whole picture is as it should be, golden."""
    assert (
        to_mermaid(SHOP)
        == """\
%% shop
flowchart TD
  n0["end"]
  n1["a"]
  n2["b"]
  subgraph n3["part"]
    subgraph n4["deep"]
      n5["first"]
      n6["last"]
      n5 --> n6
    end
  end
  n7(["orders.paid"])
  n0 --> n1
  n1 --> n3
  n3 --> n7
  n1 -. fallback .-> n2
  subgraph n8["hooks"]
    n9{{"on_end: tell"}}
    n10{{"on_failure"}}
  end
"""
    )


def test_dot() -> None:
    """The whole graph is as it should be, golden."""
    assert (
        to_dot(SHOP)
        == """\
digraph "shop" {
  compound=true;
  node [shape=box];
  "end" [label="end"];
  "a" [label="a"];
  "b" [label="b"];
  subgraph "cluster/part" {
    label="part";
    subgraph "cluster/part/deep" {
      label="deep";
      "part/deep/first" [label="first"];
      "part/deep/last" [label="last"];
      "part/deep/first" -> "part/deep/last";
    }
  }
  "orders.paid" [label="orders.paid", shape=parallelogram];
  "end" -> "a";
  "a" -> "part/deep/first" [lhead="cluster/part"];
  "part/deep/last" -> "orders.paid" [ltail="cluster/part"];
  "a" -> "b" [style=dashed, label="fallback"];
  subgraph "cluster/hooks:" {
    label="hooks";
    "hooks:/on_end" [label="on_end: tell", shape=hexagon];
    "hooks:/on_failure" [label="on_failure", shape=hexagon];
  }
}
"""
    )


def test_a_mermaid_label_is_no_list() -> None:
    """A name that Mermaid would read as the beginning of a list is escaped."""
    text = to_mermaid(WorkflowDefinition(id="w", steps=(step("1."), step("1.2"))))
    assert 'n0["1#46;"]' in text
    assert 'n1["1.2"]' in text


def test_names_that_are_keywords_are_quoted() -> None:
    """Words of the two languages stand only in quotes."""
    words = ("graph", "digraph", "subgraph", "end", "node", "edge", "style", "class", "0", "o", "x")
    definition = WorkflowDefinition(id="w", steps=tuple(map(step, words)))
    for word in words:
        assert f'["{word}"]' in to_mermaid(definition)
        assert f'  "{word}" [label="{word}"];' in to_dot(definition)


def test_a_large_workflow_is_drawn() -> None:
    """Thousands of steps with many implied requirements leave the few lines that matter."""
    steps = tuple(step(f"s{n}", *(f"s{m}" for m in range(max(0, n - 9), n))) for n in range(3000))
    definition = WorkflowDefinition(id="w", steps=steps)
    assert len(reduction(definition)) == 2999
    assert len(re.findall("-->", to_mermaid(definition))) == 2999
    assert len(re.findall("->", to_dot(definition))) == 2999


@pytest.mark.parametrize("draw", [reduction, to_mermaid, to_dot])
def test_what_is_no_workflow_is_not_drawn(draw: object) -> None:
    """An invalid definition is refused as everywhere."""
    assert callable(draw)
    with pytest.raises(SelfRequirement):
        draw(WorkflowDefinition(id="w", steps=(step("a", "a"),)))
