"""Tests of `flow.failure`."""

from __future__ import annotations

import pytest

from flow.failure import Failure


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (Failure("builtins.ValueError", "no total"), "ValueError: no total"),
        (Failure("ValueError", "no total", step="charge"), "step 'charge': ValueError: no total"),
        (Failure("flow.errors.TooLarge", "", "Traceback …"), "TooLarge"),
    ],
)
def test_a_failure_says_what_and_where(failure: Failure, text: str) -> None:
    """The text is the short type and the message, and the step if one is to blame."""
    assert str(failure) == text


def test_a_failure_is_a_value() -> None:
    """Two failures with the same contents are equal, and the fields do not share a default."""
    assert Failure("a.B", "c", fields={"x": 1}) == Failure("a.B", "c", fields={"x": 1})
    assert Failure("a.B", "c") != Failure("a.B", "d")
    assert Failure("a.B", "c").fields is not Failure("a.B", "c").fields
