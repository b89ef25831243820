"""The definition of a workflow: a pure, versioned value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flow.step import StepDefinition, Template

__all__ = ["HOOKS", "WorkflowDefinition"]

HOOKS = ("on_success", "on_failure", "on_end")
"""The steps that may run once an execution's outcome is known, by name."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class WorkflowDefinition:
    """A workflow as a value.

    Args:
        id: Its name.
        version: The version that its author gave it, or an empty string.
        steps: Its steps, in the order in which they were listed. Ids are unique.
        output: What its result is made of; None for an object of its leaves' outputs by id.
        hooks: Steps that run once the outcome is known, by the names in `HOOKS`.
        barrier: Whether a level begins only when the level before has ended.
        timeout_ms: How long an execution may take, or None.
        labels: For people and tools; every execution starts with them.
    """

    id: str
    steps: tuple[StepDefinition, ...]
    version: str = ""
    output: Template | None = None
    hooks: Mapping[str, StepDefinition] = field(default_factory=dict[str, StepDefinition])
    barrier: bool = False
    timeout_ms: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
