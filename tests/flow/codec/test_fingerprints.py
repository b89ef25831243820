"""Tests of `flow.codec.fingerprints`: the same start has the same hash, and no other has."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flow import codec
from flow.codec import fingerprint

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from((1, 1.0, 0, -0.0, 2.0**53)) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (b'{"a":1,"b":[2,3]}', b'{ "b": [2, 3.0], "a": 1e0 }'),
        (b"0", b"-0.0"),
        (b"9007199254740993", b"9007199254740993"),
        (b'"1.0"', b'"1.0"'),
    ],
)
def test_the_same_start_has_the_same_hash(left: bytes, right: bytes) -> None:
    """How the input is written makes no difference."""
    assert fingerprint("w", left, {"reverse": True}) == fingerprint("w", right, {"reverse": True})


def test_another_start_has_another_hash() -> None:
    """The workflow, the input and the options each make a difference."""
    starts = [
        fingerprint("w", b"1", {}),
        fingerprint("v", b"1", {}),
        fingerprint("w", b"2", {}),
        fingerprint("w", b"true", {}),
        fingerprint("w", b'"1"', {}),
        fingerprint("w", b"1", {"reverse": True}),
        fingerprint("w", b"[1]", {}),
    ]
    assert len(set(starts)) == len(starts)
    assert {len(each) for each in starts} == {64}


def test_a_fingerprint_never_changes() -> None:
    """What was stored by an older version is compared with what a newer one makes."""
    body = b'{"total": 5.0, "items": ["a"]}'
    expected = "69efae4584fed40de61cbac3c39f8dc44e0c5ebfceee536bd6af14d13296aee2"
    assert fingerprint("shop", body, {"reverse": True}) == expected


@given(left=VALUES, right=VALUES)
def test_it_agrees_with_the_comparison(left: object, right: object) -> None:
    """Two inputs have the same hash if and only if a start takes them for the same."""
    first, second = codec.dumps(left), codec.dumps(right)
    is_equal = fingerprint("w", first, {}) == fingerprint("w", second, {})
    assert codec.same(first, second) is is_equal
