"""Tests of `flow.workflow`."""

from __future__ import annotations

from flow.step import StepDefinition, StepKind
from flow.workflow import HOOKS, WorkflowDefinition


def test_a_definition_is_a_value() -> None:
    """Two definitions with the same contents are equal, and defaults are not shared."""
    step = StepDefinition(id="a", kind=StepKind.CALL, target="a.b")
    one, other = (WorkflowDefinition(id="w", steps=(step,)) for _ in range(2))
    assert one == other
    assert one.hooks is not other.hooks
    assert one.labels is not other.labels
    assert (one.version, one.output, one.barrier, one.timeout_ms) == ("", None, False, None)


def test_hooks_are_named_after_outcomes() -> None:
    """There is a hook for success, one for failure, and one for any end."""
    assert HOOKS == ("on_success", "on_failure", "on_end")
