"""Tests of `flow.planner` as a whole, on graphs that others have drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flow.planner import levels, plan, reduction, to_dot, to_mermaid, validate
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition

INSTANCES = Path(__file__).resolve().parents[3] / "shared" / "data" / "wfinstances"


def workflow(requires: dict[str, list[str]]) -> WorkflowDefinition:
    """Return a workflow from what each step requires."""
    steps = tuple(
        StepDefinition(id=name, kind=StepKind.CALL, target="a.b", requires=tuple(before))
        for name, before in requires.items()
    )
    return WorkflowDefinition(id="shop", steps=steps)


def ids(definition: WorkflowDefinition) -> list[list[str]]:
    """Return the ids of the steps, level by level."""
    return [[step.definition.id for step in level] for level in levels(plan(definition, ""))]


def instance(name: str) -> dict[str, list[str]]:
    """Return what each task of a recorded scientific workflow requires."""
    path = INSTANCES / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded workflows (WfInstances) are not beside the project")
    tasks = json.loads(path.read_text(encoding="utf-8"))["workflow"]["specification"]["tasks"]
    return {task["id"]: task["parents"] for task in tasks}


def test_a_step_is_never_before_what_it_requires() -> None:
    """In the predecessor's famous graph v4 ran before v2; here it comes last."""
    graph = {"v0": [], "v1": ["v0"], "v2": ["v1"], "v3": ["v0"], "v4": ["v2", "v3"]}
    assert ids(workflow(graph)) == [["v0"], ["v1", "v3"], ["v2"], ["v4"]]


def test_many_roots_are_welcome() -> None:
    """A workflow may begin with several steps that have nothing to do with each other."""
    graph = {"a": [], "b": [], "c": ["a"], "d": [], "e": ["b", "c"]}
    assert ids(workflow(graph)) == [["a", "b", "d"], ["c"], ["e"]]


NAMES = [
    "1000genome-chameleon-8ch-250k-001",
    "bacass-dirt02-001",
    "blast-chameleon-small-001",
    "bwa-chameleon-small-001",
    "epigenomics-chameleon-hep-1seq-100k-001",
    "helloworld-chain-5-chameleon",
    "helloworld-forkjoin-10-chameleon",
    "montage-chameleon-2mass-01d-001",
    "rnaseq-dirt02-001",
    "srasearch-chameleon-20a-003",
]


@pytest.mark.parametrize("name", NAMES)
def test_real_workflows_are_sorted(name: str) -> None:
    """The levels of a recorded workflow are those of taking away what is free, again and again."""
    requires = instance(name)
    left = dict(requires)
    expected: list[list[str]] = []
    while left:
        expected.append([name for name, before in left.items() if not left.keys() & set(before)])
        left = {name: before for name, before in left.items() if name not in expected[-1]}
    definition = workflow(requires)
    validate(definition)
    assert ids(definition) == expected
    edges = {(first, name) for name, before in requires.items() for first in before}
    assert set(reduction(definition)) <= edges
    assert all(f'["{each}"]' in to_mermaid(definition) for each in list(requires)[:5])
    assert all(f'"{each}" [label="{each}"];' in to_dot(definition) for each in list(requires)[:5])


def test_the_limit_of_steps_can_be_reached() -> None:
    """A workflow of a hundred thousand steps is planned, in a line as well as side by side."""
    chain = workflow({f"s{n}": [f"s{n - 1}"] if n else [] for n in range(100_000)})
    assert len(levels(plan(chain, ""))) == 100_000
    star = workflow({f"s{n}": ["s0"] if n else [] for n in range(100_000)})
    assert [len(level) for level in levels(plan(star, ""))] == [1, 99_999]
