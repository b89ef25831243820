"""Tests of `flow.bulk`: bulk commands as values."""

from __future__ import annotations

import pytest

from flow import Status
from flow.bulk import BulkResult, names_of


def test_statuses_may_be_given_in_any_form() -> None:
    """One status or several, by their names or not, are a list of names."""
    assert names_of(Status.FAILURE) == names_of("FAILURE") == ["FAILURE"]
    assert names_of([Status.ABORTED, "SUCCESS"]) == ["ABORTED", "SUCCESS"]
    assert names_of(()) == []


def test_a_result_is_a_value() -> None:
    """What came of a bulk does not change, and is compared by what it says."""
    result = BulkResult(3, 2, 1, {"it is SUCCESS": 1}, 0, ())
    assert result == BulkResult(3, 2, 1, {"it is SUCCESS": 1}, 0, ())
    with pytest.raises(AttributeError):
        result.done = 3  # type: ignore[misc]
