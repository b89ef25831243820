"""Tests for flow.planner.undos."""

import re
from typing import Any

import pytest

from flow.errors import InvalidName, InvalidOption, InvalidReference
from flow.planner.undos import expect_undos
from flow.step import StepDefinition, StepKind
from flow.template import Composed, FromInput, FromOutcome, FromRun, FromStep, Literal, Template
from flow.workflow import WorkflowDefinition


def _call(name: str, **fields: Any) -> StepDefinition:
    return StepDefinition(name, StepKind.CALL, f"s.{name}", **fields)


def _with_undo(undo: StepDefinition, **fields: Any) -> WorkflowDefinition:
    charge = _call("charge", requires=("hold",), undo=undo, **fields)
    return WorkflowDefinition(id="w", steps=(_call("hold"), _call("other"), charge))


def test_an_undo_may_refer_to_what_its_step_knows() -> None:
    """The step itself, what it requires or refers to, the input and the run are all there."""
    references: tuple[Template, ...] = (
        FromStep("charge", ("id",)),
        FromStep("hold"),
        FromStep("other"),
        FromInput(),
        FromRun(("output",)),
        Literal(1),
    )
    undo = _call("refund", input=Composed(tuple((str(n), r) for n, r in enumerate(references))))
    expect_undos(_with_undo(undo, input=FromStep("other")))


@pytest.mark.parametrize(
    ("undo", "error", "text"),
    [
        (
            _call("u", input=FromStep("other")),
            InvalidReference,
            "the input of the undo of step 'charge': the reference to 'other' leads to no step",
        ),
        (
            _call("u", input=FromOutcome()),
            InvalidReference,
            "the reference to 'outcome' leads to what only hooks can know",
        ),
        (_call("u", requires=("hold",)), InvalidOption, "undo='charge' is not possible: an undo"),
        (_call("u", optional=True), InvalidOption, "requires nothing by itself"),
        (_call("u", fallback="hold"), InvalidOption, "requires nothing by itself"),
        (_call("u", concurrency=1), InvalidOption, "requires nothing by itself"),
        (_call("u", undo=_call("v")), InvalidOption, "requires nothing by itself"),
        (
            StepDefinition("u", StepKind.WORKFLOW, "w"),
            InvalidOption,
            "an undo calls an endpoint or publishes to a topic",
        ),
        (_call("u", workflow=1), InvalidOption, "an undo calls an endpoint"),
        (_call("a b"), InvalidName, "a b"),
    ],
)
def test_an_undo_that_cannot_be_carried_out_is_refused(
    undo: StepDefinition, error: type[Exception], text: str
) -> None:
    """Every error names the step, and says what an undo may be."""
    with pytest.raises(error, match=re.escape(text)):
        expect_undos(_with_undo(undo))


def test_hooks_and_sub_workflows_have_no_undo() -> None:
    """What is undone by itself, or never, must not say how."""
    hook = _call("h", undo=_call("u"))
    with pytest.raises(InvalidOption, match="undo='h' is not possible: a hook is not undone"):
        expect_undos(WorkflowDefinition(id="w", steps=(_call("a"),), hooks={"on_end": hook}))
    inner = WorkflowDefinition(id="inner", steps=(_call("a"),))
    sub = StepDefinition("sub", StepKind.WORKFLOW, "inner", workflow=inner, undo=_call("u"))
    with pytest.raises(InvalidOption, match="a sub-workflow is undone step by step"):
        expect_undos(WorkflowDefinition(id="w", steps=(sub,)))


def test_a_hook_knows_of_no_run() -> None:
    """Only an undo has a run to refer to."""
    hook = _call("h", input=FromRun())
    with pytest.raises(InvalidReference, match=re.escape("what only undos can know (hooks: 'h')")):
        expect_undos(WorkflowDefinition(id="w", steps=(_call("a"),), hooks={"on_end": hook}))


@pytest.mark.parametrize(
    ("modes", "text"),
    [
        (
            {"on_error": "compensat"},
            (
                "on_error='compensat' is not possible: it is one of 'stop', 'continue', "
                "'compensate'; did you mean 'compensate'?"
            ),
        ),
        (
            {"on_undo_error": "compensate"},
            "on_undo_error='compensate' is not possible: it is one of 'continue', 'stop'",
        ),
        ({"settle_within_ms": 0}, "settle_within_ms=0 is not possible: it is more than 0"),
    ],
)
def test_unknown_modes_are_refused(modes: dict[str, Any], text: str) -> None:
    """A mode that there is not is refused with those that there are."""
    with pytest.raises(InvalidOption, match=re.escape(f"workflow 'w': {text}")):
        expect_undos(WorkflowDefinition(id="w", steps=(_call("a"),), **modes))
