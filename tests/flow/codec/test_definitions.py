"""Definitions, templates and start options: the same after a trip through JSON."""

from typing import Any

import pytest
from hypothesis import given

from flow.codec import (
    decode_definition,
    decode_options,
    definition_hash,
    dumps,
    encode_definition,
    encode_options,
    loads,
)
from flow.codec.definitions import template_document, template_of
from flow.errors import CorruptRecord, InvalidInput
from flow.plan import StartOptions
from flow.step import StepDefinition, StepKind
from flow.template import FromInput, Literal, Template
from flow.workflow import WorkflowDefinition
from tests.flow.codec.strategies import OPTIONS, TEMPLATES, WORKFLOWS

RESERVE = StepDefinition(id="reserve", kind=StepKind.CALL, target="stock.reserve")
CHECKOUT = WorkflowDefinition(id="checkout", steps=(RESERVE,))


@given(WORKFLOWS)
def test_definitions_come_back(definition: WorkflowDefinition) -> None:
    """A definition is the same after a trip, and so is its text."""
    text = encode_definition(definition)
    found = decode_definition(text)
    assert found == definition
    assert encode_definition(found) == text


@given(TEMPLATES)
def test_templates_come_back(template: Template) -> None:
    """A template is the same after a trip."""
    assert template_of(loads(dumps(template_document(template)))) == template


@given(OPTIONS)
def test_options_come_back(options: StartOptions) -> None:
    """Start options are the same after a trip."""
    assert decode_options(loads(dumps(encode_options(options)))) == options


def test_the_text_is_golden() -> None:
    """Stored definitions have this form, and their hash is this."""
    text = encode_definition(CHECKOUT)
    assert text == (
        b'{"id":"checkout","steps":[{"id":"reserve","kind":"call","target":"stock.reserve"}]}'
    )
    assert definition_hash(text) == "90a16ca42ab6a4f3a79d7802bf39690a"


def test_what_was_left_alone_is_left_out() -> None:
    """Options that nobody set take no room, and options of a newer version are passed over."""
    assert encode_options(StartOptions()) == {}
    assert encode_options(StartOptions(barrier=False)) == {"barrier": False}
    assert decode_options({"reverse": True, "colour": "red"}) == StartOptions(reverse=True)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"id": "a"}',
        b'{"id": "a", "steps": 5}',
        b'{"id": "a", "steps": [5]}',
        b'{"id": "a", "steps": [{"id": "b"}]}',
        b'{"id": "a", "steps": [{"id": "b", "kind": "dance", "target": "c"}]}',
        b'{"id": "a", "steps": [], "colour": "red"}',
        b'{"id": "a", "steps": [], "hooks": 5}',
        b'{"id": "a", "steps": [], "output": {"from": "nowhere"}}',
        b'{"id": "a", "steps": [], "output": {"from": "object", "fields": [1]}}',
        b'{"id":"a","steps":[{"id":"b","kind":"call","target":"c","retry":{"max_attempts":0}}]}',
        b'{"id":"a","steps":[],"output":' + b'{"from":"array","items":[' * 500 + b"]}" * 500 + b"}",
    ],
)
def test_what_is_no_definition_is_told(text: bytes) -> None:
    """Stored text that is not a definition is a corrupt record, whatever is wrong with it."""
    with pytest.raises(
        CorruptRecord, match=r"^the workflow's definition cannot be decoded|^a temp"
    ):
        decode_definition(text)


@pytest.mark.parametrize("value", [2**64, "\ud800", float("nan"), object()])
def test_a_literal_is_json(value: Any) -> None:
    """A literal that JSON has no form for cannot become part of a definition."""
    wrong = WorkflowDefinition(id="a", steps=(), output=Literal({"a": [value]}))
    with pytest.raises(InvalidInput):
        encode_definition(wrong)


def test_paths_keep_their_types() -> None:
    """An index stays a number, and a name of digits stays a name."""
    template = FromInput(("0", 0))
    assert template_of(loads(dumps(template_document(template)))) == template
