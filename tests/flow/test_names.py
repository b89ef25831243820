"""Tests of `flow.names`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow import names
from flow.errors import InvalidName

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


@pytest.mark.parametrize("name", ["a", "0", "order-42", "v1.2_x", "A" * 200])
def test_names_are_accepted(name: str) -> None:
    """A letter or digit first, and then at most 199 letters, digits, dots, lines and dashes."""
    assert names.check_name("step", name) == name


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "_a", "a b", "a/b", "a\n", "é", "٣", "A" * 201, None, 1, b"a"]
)
def test_other_names_are_refused(name: object) -> None:
    """Anything else is refused with the rule."""
    with pytest.raises(InvalidName, match=r"^step .* is not a valid name: it must start with"):
        names.check_name("step", name)


@given(st.text(max_size=8))
def test_names_follow_the_written_rule(text: str) -> None:
    """For any text the answer is what the rule says."""
    try:
        accepted = names.check_name("step", text) == text
    except InvalidName:
        accepted = False
    assert accepted == bool(NAME.fullmatch(text))


@pytest.mark.parametrize("name", ["a", "_a", "0", "a-b_c", "a" * 100])
def test_parts_are_accepted(name: str) -> None:
    """Services and methods may begin with an underscore."""
    assert names.check_part("service", name) == name


@pytest.mark.parametrize("name", ["", "a.b", "-a", "a b", "a\n", "a" * 101, None])
def test_other_parts_are_refused(name: object) -> None:
    """A service or method has no dot, for the dot is between them."""
    with pytest.raises(InvalidName, match=r"^service .* and no dot$"):
        names.check_part("service", name)


@pytest.mark.parametrize("name", ["a.b", "payments.charge", "_a._b", "0.1"])
def test_endpoints_are_accepted(name: str) -> None:
    """An endpoint is a service, a dot, and a method, and its service is the first part."""
    assert names.check_endpoint(name) == name
    assert names.service_of(name) == name.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("name", ["", "a", "a.", ".b", "a.b.c", "a.b\n", "a b.c", None, ["a.b"]])
def test_other_endpoints_are_refused(name: object) -> None:
    """Anything else is no endpoint."""
    with pytest.raises(InvalidName, match=r"^endpoint .* must be 'service\.method'"):
        names.check_endpoint(name)


@pytest.mark.parametrize("name", ["a", "orders.paid", "_.-", "a" * 200])
def test_topics_are_accepted(name: str) -> None:
    """A topic is words with dots between."""
    assert names.check_topic(name) == name


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a.*", "#", "a b", "a" * 201, 1])
def test_other_topics_are_refused(name: object) -> None:
    """Wildcards, empty words and more than 200 characters are refused."""
    with pytest.raises(InvalidName, match=r"^topic .* must be words"):
        names.check_topic(name)


@pytest.mark.parametrize("name", ["tenant", "Trace-Id", "a:b", "flow", "xa", "c-c"])
def test_headers_are_accepted(name: str) -> None:
    """Users set what headers they like, if these steer nothing."""
    assert names.check_header(name) == name
    assert not names.is_reserved_header(name)


@pytest.mark.parametrize("name", ["CC", "bcc", "Bcc", "flow-id", "FLOW-", "x-death", "X-Match"])
def test_headers_that_steer_are_refused(name: str) -> None:
    """A header that could send a copy of a message elsewhere is refused in any case."""
    assert names.is_reserved_header(name)
    with pytest.raises(InvalidName, match=r"belong to the system$"):
        names.check_header(name)


@pytest.mark.parametrize("name", ["", "a b", "é", "a\n", "\x00"])
def test_headers_are_printable(name: str) -> None:
    """A header's name is printable ASCII without spaces."""
    with pytest.raises(InvalidName, match=r"must be printable ASCII without spaces$"):
        names.check_header(name)


def test_a_long_wrong_name_is_cut() -> None:
    """A message does not repeat a megabyte of a name."""
    with pytest.raises(InvalidName) as caught:
        names.check_name("step", "é" * 1_000_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("pattern", ["a", "orders.*", "#", "*.paid", "a.#.b", "a_b-1.*.#"])
def test_patterns_of_topics(pattern: str) -> None:
    """Words, `*` and `#` with dots between may say which topics are wanted."""
    assert names.check_topics(pattern) == pattern


@pytest.mark.parametrize("pattern", ["", ".", "a.", "a*", "**", "a.##", "a b", 5, "x" * 201])
def test_what_is_no_pattern_of_topics(pattern: object) -> None:
    """Anything else is refused with the rule."""
    with pytest.raises(InvalidName, match="any number of words"):
        names.check_topics(pattern)


def test_many_names_are_checked_like_one() -> None:
    """A list of names is refused for the first wrong one, even if that is no string at all."""
    names.check_names("step", ["a", "b.c"])
    wrong: list[list[Any]] = [["a", "b c"], ["a", 5], ["a", "b\n"]]
    for each in wrong:
        with pytest.raises(InvalidName, match=r"^step "):
            names.check_names("step", each)
