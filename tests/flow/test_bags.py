"""Tests of `flow.bags`: what handlers keep, checked where it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow.bags import Bag, Bags, read_object, write_object
from flow.errors import InvalidInput, TooLarge
from flow.kept import METADATA_LIMIT, SHARED_LIMIT, STATE_LIMIT, VALUE_LIMIT, Kept

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
values = st.recursive(
    scalars.filter(lambda value: not isinstance(value, bytes)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
).filter(lambda value: not (isinstance(value, dict) and value.keys() == {"$bytes"}))
names = st.text(min_size=1, max_size=200)


def bag(**given: bytes) -> Bag:
    """Return a bag."""
    return Bag("the state", STATE_LIMIT, given)


@given(names, values | st.binary())
def test_what_is_kept_is_read_back(name: str, value: Any) -> None:
    """JSON values and bytes survive a way over the wire, null and large integers among them."""
    written = bag()
    written[name] = value
    assert written[name] == value
    text = write_object(written.written)
    read = Bag("the state", STATE_LIMIT, read_object(text, "the state", STATE_LIMIT))
    assert read[name] == value
    assert type(read[name]) is type(value)


def test_a_bag_is_a_mapping_of_copies() -> None:
    """What is changed inside of a value that was read is not kept; what is assigned is."""
    state = bag(tries=b"1")
    state["list"] = [1]
    state["list"].append(2)
    state["tries"] += 1
    assert dict(state) == {"tries": 2, "list": [1]}
    assert (len(state), list(state), "list" in state) == (2, ["tries", "list"], True)
    assert state.written == {"tries": b"2", "list": b"[1]"}
    assert repr(state) == "<the state: {'tries': 2, 'list': [1]}>"
    with pytest.raises(KeyError):
        state["room"]


def test_what_others_may_have_seen_cannot_be_taken_back() -> None:
    """Only what was put in here can be deleted; what came cannot, even if it was changed."""
    state = bag(tries=b"1")
    state["mine"] = 1
    del state["mine"]
    assert state.written == {}
    with pytest.raises(KeyError):
        del state["mine"]
    state["tries"] = 2
    with pytest.raises(InvalidInput, match=r"the state 'tries': .*None can be kept"):
        del state["tries"]
    state["tries"] = None
    assert state["tries"] is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**64, "does not fit into 64 bits"),
        (-(2**63) - 1, "does not fit into 64 bits"),
        (float("nan"), "it is nan"),
        ({1: 2}, "is no text"),
        (object(), "JSON has no form for object"),
        ({"$bytes": "eA=="}, "stands for bytes"),
        ("\ud800", "no form in UTF-8"),
    ],
)
def test_what_is_no_json_is_refused_where_it_is_written(value: object, reason: str) -> None:
    """The error names the key, and nothing is kept."""
    state = bag()
    with pytest.raises(InvalidInput, match=f"the state 'room'.*{reason}"):
        state["room"] = value
    assert state.written == {}


@pytest.mark.parametrize("name", ["", "n" * 201, "\ud800", 7])
def test_odd_names_are_refused(name: Any) -> None:
    """A name is a text of 1 to 200 characters."""
    state = bag()
    with pytest.raises(InvalidInput, match="name"):
        state[name] = 1
    assert dict(state) == {}


def test_a_value_has_a_limit() -> None:
    """A value of as many bytes as are allowed is kept, and one of one more is not."""
    shared = Bag("the shared state", SHARED_LIMIT)
    shared["room"] = "x" * (VALUE_LIMIT - 2)
    with pytest.raises(TooLarge, match=r"the shared state 'room' has 16,385 bytes; at most 16,384"):
        shared["room"] = "x" * (VALUE_LIMIT - 1)
    assert len(shared["room"]) == VALUE_LIMIT - 2


@pytest.mark.parametrize("limit", [STATE_LIMIT, SHARED_LIMIT, METADATA_LIMIT])
def test_all_values_together_have_a_limit(limit: int) -> None:
    """What came counts too, and what is written anew counts once."""
    state = Bag("the state", limit, {"came": b'"' + b"x" * (limit - 116) + b'"'})
    for _ in range(2):
        state["b"] = "y" * 99
    with pytest.raises(TooLarge, match=f"'c' with all others has {limit + 6:,} bytes"):
        state["c"] = 1
    del state["b"]
    state["c"] = 1


def test_what_was_replaced_or_taken_back_counts_no_more() -> None:
    """What takes the place of something, or is taken out, makes room for as much as that took."""
    bag = Bag("the state", 40, {"came": b'"xxxxxxxxxx"'})
    for _ in range(3):
        bag["came"] = "y"
        bag["more"] = "z" * 16
        with pytest.raises(TooLarge):
            bag["came"] = "y" * 10
        bag["more"] = "z"
        bag["came"] = "y" * 10
        del bag["more"]
    with pytest.raises(TooLarge, match="has 41 bytes"):
        bag["more"] = "z" * 11
    bag["more"] = "z" * 10


def test_bags_that_nobody_looks_at_keep_nothing() -> None:
    """Where nothing was written nothing is left behind; an empty bag stays the same one."""
    bags = Bags()
    assert bags.kept(with_shared=True) is None
    assert bags.state is bags.state
    assert bags.shared is bags.shared
    assert bags.metadata is bags.metadata
    assert bags.kept(with_shared=True) is None
    bags.shared["a"] = 1
    assert bags.kept(with_shared=True) == Kept(shared={"a": b"1"})
    assert bags.kept(with_shared=False) is None


def test_what_was_kept_does_not_change_any_more() -> None:
    """What is written after the reply was made is not in it."""
    bags = Bags()
    bags.state["a"] = 1
    kept = bags.kept(with_shared=True)
    bags.state["b"] = 2
    assert kept == Kept(state={"a": b"1"})


def test_only_what_is_written_is_left_behind() -> None:
    """What came along with the request is read, and does not go back."""
    bags = Bags('{"tries":1}', '{"room":null,"n":18446744073709551615}')
    assert (dict(bags.state), dict(bags.shared)) == ({"tries": 1}, {"room": None, "n": 2**64 - 1})
    assert bags.kept(with_shared=True) is None


@pytest.mark.parametrize("text", ["[1]", "1", "{", '{"a":NaN}', '{"a":18446744073709551616}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    """A worker in another language may have sent anything."""
    with pytest.raises(InvalidInput, match="the state"):
        Bags(text)
    with pytest.raises(InvalidInput, match="the shared state"):
        Bags("", text)


def test_too_much_is_refused() -> None:
    """An object that is larger than a handler may write is not read either."""
    assert read_object("", "the state", 14) == {}
    assert read_object('{"a":"1234567"}', "the state", 14) == {"a": b'"1234567"'}
    with pytest.raises(TooLarge, match="the state has 15 bytes"):
        read_object('{"a":"12345678"}', "the state", 14)
    with pytest.raises(TooLarge):
        read_object('{"a":"' + 99 * "1" + '"}', "the state", 10)
