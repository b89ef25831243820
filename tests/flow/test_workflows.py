"""Tests of `flow.workflows`: workflows as users hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from flow import ExecutionCompensated, Flow, Step, workflow_input
from flow.defining import WorkflowOptions
from flow.errors import (
    CyclicRequirement,
    InvalidInput,
    InvalidOption,
    StepIsRequired,
    UnknownRequirement,
    UnknownStep,
)
from flow.testing import FlowHarness
from flow.workflows import start_arguments
from tests.flow.runtime.worlds import chain, stub_chain


@dataclass
class Receipt:
    """What was paid."""

    id: str


async def test_results_are_typed() -> None:
    """The result of a workflow whose output is a step has that step's type."""
    app = Flow("world", broker="memory://", store="memory://")
    pay = Step.call("pay.charge", returns=Receipt)
    workflow = app.workflow("w", pay, output=pay)
    async with FlowHarness(app) as test:
        test.stub("pay.charge", [{"id": "r1"}, {"id": 7}])
        assert await workflow.run() == Receipt("r1")
        with pytest.raises(InvalidInput, match="the result of execution"):
            await workflow.run()
        # Another output than the declared one has no declared type.
        result: Any = await workflow.run(output="charge")
        assert result == {"id": 7}


async def test_an_output_can_be_a_mapping() -> None:
    """A workflow's result is a step's output, what a mapping says, or its leaves by id."""
    app = Flow("world", broker="memory://", store="memory://")
    one: Step[Any] = Step.call("work.s1")
    two: Step[Any] = Step.call("work.s2", requires=[one])
    three: Step[Any] = Step.call("work.s3", requires=[one])
    shaped = app.workflow(
        "shaped", one, two, output={"first": one.output, "list": [two.output, workflow_input.n, 9]}
    )
    leaves = app.workflow("leaves", one, two, three)
    async with FlowHarness(app) as test:
        stub_chain(test)
        assert await shaped.run({"n": 5}) == {"first": 1, "list": [2, 5, 9]}
        assert await leaves.run() == {"s2": 2, "s3": 3}


def test_levels_show_what_runs_together() -> None:
    """Steps stand in the level after the last one that they require."""
    app = Flow("world", broker="memory://", store="memory://")
    one: Step[Any] = Step.call("work.s1")
    two: Step[Any] = Step.call("work.s2")
    three: Step[Any] = Step.call("work.s3", requires=[one, two])
    four: Step[Any] = Step.call("work.s4", requires=[two])
    workflow = app.workflow("w", one, two, three, four)
    levels = [[step.id for step in level] for level in workflow.steps()]
    assert levels == [["s1", "s2"], ["s3", "s4"]]
    assert "s1" in workflow.to_mermaid()
    assert "s1" in workflow.to_dot()
    assert repr(workflow) == "<Workflow 'w': 4 steps>"


def test_steps_can_be_added_and_removed() -> None:
    """A workflow changes as a whole or not at all, and its hash with it."""
    _app, workflow = chain()
    before, hash_ = workflow.definition, workflow.hash
    more: Step[Any] = Step.call("work.s4", requires=["s3"])
    assert workflow.append_steps(more) is workflow
    assert workflow.hash != hash_
    assert workflow.remove_steps(more).definition == before
    with pytest.raises(StepIsRequired, match="'s2' is required by 's3'"):
        workflow.remove_steps("s2")
    with pytest.raises(StepIsRequired, match="'s3' is required by 'the output'"):
        workflow.remove_steps("s3")
    with pytest.raises(UnknownStep, match="did you mean 's1'"):
        workflow.remove_steps("s11")
    with pytest.raises(UnknownRequirement):
        workflow.append_steps(Step.call("work.s5", requires=["nobody"]))
    with pytest.raises(CyclicRequirement):
        workflow.append_steps(
            Step.call("work.a", requires=["b"]), Step.call("work.b", requires=["a"])
        )
    assert workflow.definition == before


def test_a_change_of_steps_keeps_everything_else() -> None:
    """What a workflow does when something fails stays when steps are added."""
    app = Flow("world", broker="memory://", store="memory://")
    first: Step[Any] = Step.call("work.s1")
    options = WorkflowOptions(on_error="compensate", on_undo_error="stop", settle_within=5)
    workflow = app.workflow("w", first, **options)
    changed = workflow.append_steps(Step.call("work.s2")).definition
    assert (changed.on_error, changed.on_undo_error) == ("compensate", "stop")
    assert changed.settle_within_ms == 5_000


async def test_modes_can_be_chosen_for_one_execution() -> None:
    """A start says what its failures lead to; what is no such mode is refused."""
    app = Flow("world", broker="memory://", store="memory://")
    first: Step[Any] = Step.call("work.s1", undo="work.back")
    workflow = app.workflow("w", first)
    async with FlowHarness(app) as test:
        test.stub("work.s1", ValueError("no"))
        test.stub("work.back", None)
        with pytest.raises(ExecutionCompensated):
            await workflow.run(on_error="compensate", on_undo_error="stop")
        wrong: Any = "undo"
        with pytest.raises(InvalidOption, match="on_error"):
            await workflow.run(on_error=wrong)


async def test_a_changed_workflow_can_be_saved() -> None:
    """What was changed is used by executions that start after it was saved."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test, 4)
        assert await workflow.run() == 3
        last: Step[Any] = Step.call("work.s4", requires=["s3"])
        changed = await app.workflows.create("other", Step.call("work.s1"))
        changed.append_steps(Step.call("work.s2", requires=["s1"]))
        assert await app.workflows.save(changed) == changed.hash
        assert await changed.run() == {"s2": 2}
        workflow.append_steps(last)
        await app.workflows.save(workflow)
        await workflow.run()
        assert len(test.calls("work.s4")) == 1


def test_start_arguments_are_checked() -> None:
    """What a start asks for is checked before it is sent."""
    arguments = start_arguments("w", b'{"a":1}', {"skip": ["s1"], "start": Step.call("a.b")})
    assert arguments["input"] == {"a": 1}
    assert start_arguments("w", b"null", {}) == {"workflow": "w", "input": None}
    assert arguments["options"] == {"skip": ("s1",), "start_at": ("b",)}
    for timeout in (0, -1, float("nan")):
        with pytest.raises(InvalidOption, match="timeout"):
            start_arguments("w", b"1", {"timeout": timeout})
    with pytest.raises(InvalidInput):
        start_arguments("w", b"{", {})
