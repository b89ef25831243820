"""Tests of `flow.step`."""

from __future__ import annotations

import re
from math import inf, nan
from typing import Any

import pytest

from flow.errors import InvalidName, InvalidOption, InvalidReference
from flow.retry import RetryPolicy
from flow.step import Step, StepDefinition, StepKind
from flow.template import Composed, FromInput, FromRun, FromStep, undone, workflow_input
from flow.workflow import WorkflowDefinition


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


def test_an_undo_is_an_endpoint_or_a_step() -> None:
    """An undo may be given as an endpoint or as a step; in the definition it requires nothing."""
    by_name = Step.call("payments.charge", undo="payments.refund").definition()
    assert by_name.undo == StepDefinition("refund", StepKind.CALL, "payments.refund")
    charge = Step.call("payments.charge", requires=["reserve"])
    retry = RetryPolicy(max_attempts=5)
    undo = Step.publish(
        "payments.undone", input={"id": charge.output.id, "why": undone.failure}, retry=retry
    )
    assert charge.undo_with(undo) is charge
    assert charge.definition().undo == StepDefinition(
        id="payments.undone",
        kind=StepKind.PUBLISH,
        target="payments.undone",
        input=Composed((("id", FromStep("charge", ("id",))), ("why", FromRun(("failure",))))),
        retry=retry,
    )
    assert charge.definition().requires == ("reserve",)


def test_an_undo_is_not_in_the_graph() -> None:
    """An undo with options of the graph, a second undo, and a sub-workflow's are refused."""
    inner = WorkflowDefinition(id="inner", steps=(Step.call("s.a").definition(),))
    sub = Step.sub_workflow(inner)
    with pytest.raises(InvalidOption, match="a sub-workflow is undone step by step"):
        sub.undo_with(Step.call("s.u"))
    charge = Step.call("payments.charge")
    with pytest.raises(InvalidOption, match="an undo calls an endpoint or publishes to a topic"):
        charge.undo_with(sub)
    wrong = (
        Step.call("s.u", requires=["x"]),
        Step.call("s.u", optional=True),
        Step.call("s.u", concurrency=1),
        Step.call("s.u", fallback="x"),
        Step.call("s.u", undo="s.v"),
    )
    for undo in wrong:
        with pytest.raises(InvalidOption, match="it is the undo of 'charge', and not in the graph"):
            charge.undo_with(undo)
    charge.undo_with(Step.call("s.u"))
    with pytest.raises(InvalidOption, match=re.escape("it has <Step 'u': call s.u> already")):
        charge.undo_with(Step.call("s.v"))
