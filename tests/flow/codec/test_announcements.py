"""Announcements: the same after a trip through JSON, and refused if they are none."""

import pytest
from hypothesis import given, strategies as st

from flow.catalogue import Announcement
from flow.codec import decode_announcement, definition_hash, encode_announcement
from flow.errors import CorruptRecord
from flow.step import StepDefinition, StepKind
from tests.flow.codec.strategies import STEPS, TEXTS, VALUES

SCHEMAS = st.none() | st.dictionaries(TEXTS, VALUES, max_size=3)


@given(STEPS, SCHEMAS, SCHEMAS)
def test_a_trip_through_json_changes_nothing(
    step: StepDefinition, taken: dict[str, object] | None, given_back: dict[str, object] | None
) -> None:
    """What is decoded is what was encoded."""
    announcement = Announcement(step=step, input=taken, output=given_back)
    assert decode_announcement(encode_announcement(announcement)) == announcement


def test_the_text_is_golden() -> None:
    """The bytes, and so the hash, are the same in every version and on every machine."""
    step = StepDefinition(
        id="ship", kind=StepKind.CALL, target="shipping.ship", requires=("reserve",)
    )
    text = encode_announcement(Announcement(step=step, output={"type": "string"}))
    assert text == (
        b'{"output":{"type":"string"},"step":{"id":"ship","kind":"call","requires":["reserve"],'
        b'"target":"shipping.ship"}}'
    )
    assert definition_hash(text) == "0ae4f83a86a89e25b6d36d039c91d09f"


def test_keys_may_come_in_any_order() -> None:
    """A program in another language need not sort: what counts is what it says."""
    text = b'{"step": {"target": "a.b", "kind": "call", "id": "b"}, "input": null}'
    announced = decode_announcement(text)
    assert announced == Announcement(step=StepDefinition(id="b", kind=StepKind.CALL, target="a.b"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"step": null}',
        b'{"step": {"id": "b"}}',
        b'{"step": {"id": "b", "kind": "call"}}',
        b'{"step": {"id": "b", "kind": "dance", "target": "a.b"}}',
        b'{"step": {"id": "b", "kind": "call", "target": "a.b", "unheard": 1}}',
        b'{"step": {"id": "b", "kind": "call", "target": "a.b", "retry": {"max_attempts": 0}}}',
    ],
)
def test_what_is_no_announcement_is_refused(text: bytes) -> None:
    """Whatever else arrives is a CorruptRecord, and never another error."""
    with pytest.raises(CorruptRecord, match="announcement"):
        decode_announcement(text)
