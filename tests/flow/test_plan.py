"""Tests of `flow.plan`."""

from __future__ import annotations

import pytest

from flow.plan import PlannedStep, StartOptions
from flow.step import StepDefinition, StepKind


def test_by_default_a_start_departs_in_nothing() -> None:
    """Start options without arguments leave everything to the definition."""
    options = StartOptions()
    assert (options.barrier, options.timeout_ms, options.reverse) == (None, None, False)
    chosen = (options.start_at, options.skip, options.optional, options.output)
    assert not any((*chosen, options.max_attempts, options.fallback))


def test_values_cannot_be_changed() -> None:
    """Options and planned steps are frozen, and equal if their contents are."""
    definition = StepDefinition(id="a", kind=StepKind.CALL, target="a.b")
    step = PlannedStep(definition, 0, (), ())
    assert step == PlannedStep(definition, 0, (), (), None, None, None)
    for value, name in ((step, "level"), (StartOptions(), "reverse")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)
