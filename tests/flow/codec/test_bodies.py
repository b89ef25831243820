"""Putting bodies together from what an execution has gathered."""

from typing import Any

import pytest

from flow.codec import assemble, loads
from flow.codec.bodies import assemble_source
from flow.errors import MappingFailed, TooLarge
from flow.failure import Failure
from flow.kernel.decide import MACHINES
from flow.kernel.execution import EXECUTION, INPUT, SUB_WORKFLOW, ExecutionData, InputData
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Tree
from flow.names import REQUEST_LIMIT
from flow.planner import plan
from flow.programs.bodies import Bodies
from flow.status import Status
from flow.step import StepDefinition, StepKind
from flow.template import Composed, FromInput, FromOutcome, FromStep, Listed, Literal, Template
from flow.workflow import WorkflowDefinition

INNER = WorkflowDefinition(
    id="inner",
    steps=(StepDefinition(id="weigh", kind=StepKind.CALL, target="stock.weigh"),),
    output=Composed((("given", FromInput(("id",))), ("weight", FromStep("weigh")))),
)
OUTER = WorkflowDefinition(
    id="outer",
    steps=(
        StepDefinition(id="hold", kind=StepKind.CALL, target="stock.hold"),
        StepDefinition(
            id="pack",
            kind=StepKind.WORKFLOW,
            target="inner",
            requires=("hold",),
            input=FromStep("hold"),
            workflow=INNER,
        ),
    ),
)
BODY = b'{"total": 1.50, "lines": [{"sku": "a"}, {"sku": "b"}], "none": null}'
HOLD = b'{"id": "h1"}'


def bodies(body: bytes = BODY, hold: bytes = HOLD) -> Bodies:
    """Return the bodies of an execution that has failed late: all steps are done."""
    failed = ExecutionData(outcome="FAILURE", failure=Failure("E", "no", step="pack"))
    tree = Tree.create(MACHINES, EXECUTION, Status.RUNNING, failed)
    with tree.transaction():
        data = InputData("outer", "hash", body)
        tree.root.add_child("input", INPUT, Status.SUCCESS, data)
        tree.root.add_child("steps/hold", STEP, Status.SUCCESS, StepData(output=hold))
        done = ExecutionData()
        inner = tree.root.add_child("steps/pack", SUB_WORKFLOW, Status.SUCCESS, done)
        inner.add_child("steps/weigh", STEP, Status.SUCCESS, StepData(output=b"2.0"))
    return Bodies(tree, plan(OUTER, "hash"))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (FromInput(), BODY),
        (FromInput(("total",)), b"1.5"),
        (FromInput(("lines", 1, "sku")), b'"b"'),
        (FromInput(("lines", -1)), b'{"sku":"b"}'),
        (FromInput(("none",)), b"null"),
        (FromStep("hold"), HOLD),
        (FromStep("hold", ("id",)), b'"h1"'),
        (FromStep("pack"), b'{"given":"h1","weight":2.0}'),
        (FromStep("pack", ("weight",)), b"2.0"),
        (Literal({"a": [1, None]}), b'{"a":[1,null]}'),
        (Composed((("b", FromStep("hold")), ("a", FromInput(("total",))))), b'{"b":%b,"a":1.5}'),
        (Listed((FromStep("hold"), Literal("x"), Listed(()))), b'[%b,"x",[]]'),
    ],
)
def test_templates_become_text(template: Template, text: bytes) -> None:
    """What is taken as a whole is copied to the letter, and what is inside is found."""
    expected = text % HOLD if b"%b" in text else text
    assert assemble(template, bodies(), "step 'ship'") == expected


def test_the_outcome_is_told() -> None:
    """A hook is told how the execution ended."""
    outcome = loads(assemble(FromOutcome(), bodies(), "hook 'on_end'"))
    assert outcome == {
        "workflow": "outer",
        "status": "FAILURE",
        "input": loads(BODY),
        "output": None,
        "failure": {"type": "E", "message": "no", "step": "pack", "fields": {}},
    }


def test_a_source_is_text_or_put_together() -> None:
    """A source that is text is that text, and one that is an assembly is what it stands for."""
    gathered = bodies()
    assert assemble_source(gathered.output("hold"), "step 'ship'") is HOLD
    assert loads(assemble_source(gathered.result(), "step 'ship'")) == {
        "pack": {"given": "h1", "weight": 2.0},
    }


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (
            FromInput(("totl",)),
            (
                "cannot take workflow_input['totl']: workflow_input is an object with 'total', "
                "'lines', 'none', which has no 'totl'"
            ),
        ),
        (
            FromInput(("lines", 2, "sku")),
            (
                "cannot take workflow_input['lines'][2]['sku']: workflow_input['lines'] is an "
                "array of 2, which has no 2"
            ),
        ),
        (
            FromStep("hold", ("id", "x")),
            (
                "cannot take hold.output['id']['x']: hold.output['id'] is the string 'h1', which "
                "has no 'x'"
            ),
        ),
        (
            FromInput(("none", "x")),
            (
                "cannot take workflow_input['none']['x']: workflow_input['none'] is null, which "
                "has no 'x'"
            ),
        ),
        (
            FromInput(("total", 0)),
            (
                "cannot take workflow_input['total'][0]: workflow_input['total'] is the number "
                "1.5, which has no 0"
            ),
        ),
        (
            FromInput((0,)),
            (
                "cannot take workflow_input[0]: workflow_input is an object with 'total', 'lines', "
                "'none', which has no 0"
            ),
        ),
    ],
)
def test_a_field_that_is_not_there_is_told(template: Template, text: str) -> None:
    """The error says whose mapping it is, what it looks for, and what is there instead."""
    with pytest.raises(MappingFailed) as caught:
        assemble(Composed((("a", template),)), bodies(), "the input of step 'ship'")
    assert str(caught.value) == f"the input of step 'ship': {text}"


@pytest.mark.parametrize(("body", "kind"), [(b"true", "true"), (b"{}", "an object with no fields")])
def test_what_is_there_instead_is_told_in_json_words(body: bytes, kind: str) -> None:
    """What was found is called as JSON calls it."""
    with pytest.raises(MappingFailed, match=f"workflow_input is {kind}, which has no 'a'"):
        assemble(FromInput(("a",)), bodies(body), "step 'ship'")


def test_a_request_has_a_limit() -> None:
    """A request that is too large is refused, and the error names what it is made of."""
    large = b'"' + b"x" * (REQUEST_LIMIT // 4) + b'"'
    held = FromStep("hold")
    template = Composed((("a", held), ("b", held), ("c", held), ("d", held), ("e", FromInput())))
    with pytest.raises(TooLarge) as caught:
        assemble(template, bodies(b"[1]", large), "the input of step 'ship'")
    assert caught.value.what == "the input of step 'ship'"
    made_of: Any = caught.value.contributors
    assert made_of == ["hold.output (2,097,160 bytes)", "workflow_input (3 bytes)"]
    with pytest.raises(TooLarge) as caught:
        assemble(held, bodies(b"[1]", b"x" * (REQUEST_LIMIT + 1)), "the input of step 'ship'")
    made_of = caught.value.contributors
    assert made_of == [f"hold.output ({REQUEST_LIMIT + 1:,} bytes)"]
