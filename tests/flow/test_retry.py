"""Tests of `flow.retry`."""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import given, strategies as st

from flow.errors import InvalidOption
from flow.retry import NO_RETRY, VERDICT_RETRY, RetryPolicy

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1000),
    initial=st.floats(0, 1e6),
    factor=st.floats(1, 10),
    maximum=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)
randoms = st.floats(0, 1, exclude_max=True)


def test_delays_grow_to_the_maximum() -> None:
    """Each delay is longer by the factor until the maximum."""
    policy = RetryPolicy(initial=0.5, factor=3, maximum=10, jitter=0)
    assert [policy.delay_ms(n, 0.9) for n in range(1, 6)] == [500, 1500, 4500, 10_000, 10_000]


def test_jitter_takes_a_part_off() -> None:
    """The random part is taken off, at most the part that is called jitter."""
    policy = RetryPolicy(initial=8, jitter=0.25)
    assert [policy.delay_ms(1, random) for random in (0, 0.5, 1)] == [8000, 7000, 6000]


@given(policies, st.integers(1, 1_000_000), randoms)
def test_a_delay_is_within_bounds(policy: RetryPolicy, attempt: int, random: float) -> None:
    """No delay is negative or longer than the maximum, however many attempts there were."""
    assert 0 <= policy.delay_ms(attempt, random) <= round(policy.maximum * 1000)


@given(policies, randoms)
def test_delays_do_not_shrink(policy: RetryPolicy, random: float) -> None:
    """With the same luck, a later delay is not shorter."""
    delays = [policy.delay_ms(attempt, random) for attempt in range(1, 20)]
    assert all(first <= then for first, then in pairwise(delays))


def test_attempts_are_counted() -> None:
    """Another attempt follows until all are made; the first counts."""
    policy = RetryPolicy(max_attempts=3)
    assert [policy.allows(n, "a.B") for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert not NO_RETRY.allows(1, "a.B")
    assert VERDICT_RETRY.allows(9, "a.B")
    assert not VERDICT_RETRY.allows(10, "a.B")


@pytest.mark.parametrize(
    ("error", "excluded"),
    [
        ("builtins.ValueError", True),
        ("ValueError", True),
        ("other.ValueError", True),
        ("shop.errors.CardRefused", True),
        ("other.CardRefused", False),
        ("CardRefused", False),
        ("builtins.UnicodeError", False),
    ],
)
def test_some_errors_are_final(error: str, excluded: object) -> None:
    """A short name excludes the type of any module, a long one only its own."""
    policy = RetryPolicy(non_retryable=("ValueError", "shop.errors.CardRefused"))
    assert policy.excludes(error) == excluded
    assert policy.allows(1, error) != excluded


@pytest.mark.parametrize(
    ("option", "values", "rule"),
    [
        ("max_attempts", (0, -1), "at least 1"),
        ("initial", (-1, nan, inf), "0 or more seconds"),
        ("factor", (0.9, nan, inf), "at least 1"),
        ("maximum", (-1, nan, inf), "0 or more seconds"),
        ("jitter", (-0.1, 1.1, nan), "between 0 and 1"),
    ],
)
def test_values_make_sense(option: str, values: tuple[float, ...], rule: str) -> None:
    """Each value that makes no sense is refused by name."""
    for value in values:
        text = f"RetryPolicy: {option}={value!r} is not possible: it must be {rule}"
        with pytest.raises(InvalidOption, match=f"^{re.escape(text)}$"):
            RetryPolicy(**{option: value})  # type: ignore[arg-type]
