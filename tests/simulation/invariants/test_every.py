"""Tests of `invariants.every`: no invariant is without a name, a promise and planted evidence."""

from __future__ import annotations

import inspect
from pathlib import Path

from tests.simulation import invariants
from tests.simulation.invariants.every import ALL


def test_each_has_a_name_of_its_own_and_stands_in_the_table() -> None:
    """The table of the package says of each invariant by its name what has to hold."""
    assert len({each.name for each in ALL}) == len(ALL)
    table = " ".join((invariants.__doc__ or "").split())
    for each in ALL:
        promise = (inspect.getdoc(each) or "").split("\n\n")[0]
        assert f"{each.name} {' '.join(promise.split())}" in table


def test_each_is_shown_to_see_its_violation() -> None:
    """The tests of this folder have evidence planted for each invariant."""
    tests = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.py")))
    assert [each.name for each in ALL if f'"{each.name}"' not in tests] == []
