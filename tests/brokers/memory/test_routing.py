"""Tests of `brokers.memory.routing`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from brokers.memory.queues import Limits, MemoryDelivery, MemoryQueue
from brokers.memory.routing import ROUTES_MAX, Router, matches, words_of
from flow.ports import Exchange, Queue


def queue(name: str) -> MemoryQueue:
    """Return a queue that holds what it likes."""

    def bury(queue: MemoryQueue, message: MemoryDelivery, reason: str) -> None:
        raise AssertionError(reason)

    return MemoryQueue(Queue(name), None, Limits(10, 10, 10), bury)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("#", "", True),
        ("*", "", False),
        ("a", "a", True),
        ("a", "A", False),
        ("a.*", "a", False),
        ("a.*", "a.", True),
        ("a.#", "a", True),
        ("a.#.#", "a", True),
        ("#.a", "b.a.b.a", True),
        ("#.a.*", "a.b.a.c", True),
        ("#.a.*", "a.b.a", False),
        ("*.#.*", "a", False),
        ("*.#.*", "a.b", True),
        ("a.#.b.#.c", "a.b.b.x.c", True),
        ("a.#.b.#.c", "a.x.c", False),
        ("a*", "ab", False),
    ],
)
def test_patterns(pattern: str, key: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    """A pattern covers exactly the keys that its signs stand for."""
    assert matches(words_of(pattern), words_of(key)) is expected


@given(
    st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=6),
    st.lists(st.sampled_from(["a", "b"]), max_size=7),
)
def test_patterns_mean_what_the_definition_says(pattern: list[str], words: list[str]) -> None:
    """Matching agrees with the definition, written as a regular expression."""
    # Each word is followed by a dot here, so that no dot has to be optional.
    signs = {"*": r"[^.]+\.", "#": r"([^.]+\.)*"}
    expression = "".join(signs.get(part, part + r"\.") for part in pattern)
    text = "".join(word + "." for word in words)
    assert matches(pattern, words) is (re.fullmatch(expression, text) is not None)


def test_many_hashes_take_no_time() -> None:
    """A pattern that would explode as a regular expression is matched at once."""
    assert not matches(["#", "a"] * 50, ["a"] * 49 + ["b"] * 200)


def test_routes_are_remembered_until_bindings_change() -> None:
    """What was found for a key is kept, and forgotten when a queue is bound or unbound."""
    router, first, second = Router(Exchange("x", "topic")), queue("1"), queue("2")
    router.bind("a.*", first)
    assert router.find("a.b") == router.routes["a.b"] == (first,)
    router.bind("a.b", second)
    assert "a.b" not in router.routes
    assert router.find("a.b") == (second, first)
    router.unbind(first)
    assert router.find("a.b") == (second,)
    router.unbind(second)
    assert router.find("a.b") == ()


def test_routes_are_bounded() -> None:
    """However many keys users choose, only so many are remembered."""
    router = Router(Exchange("x", "direct"))
    for number in range(ROUTES_MAX + 1):
        router.find(str(number))
    assert len(router.routes) == 1


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout"])
def test_queues_stand_in_the_order_of_their_bindings(kind: str) -> None:
    """A message reaches the queues in the order in which they were bound, each once."""
    exchanges = {
        "direct": Exchange("x", "direct"),
        "topic": Exchange("x", "topic"),
        "fanout": Exchange("x", "fanout"),
    }
    router = Router(exchanges[kind])
    queues = [queue(str(number)) for number in range(20)]
    for each in (*queues, *queues):
        router.bind("key", each)
    assert router.find("key") == tuple(queues)
