"""The definition of a workflow: a pure, versioned value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from flow.step import StepDefinition
from flow.template import Template

__all__ = ["HOOKS", "ON_ERROR", "ON_UNDO_ERROR", "OnError", "OnUndoError", "WorkflowDefinition"]

OnError = Literal["stop", "continue", "compensate"]
OnUndoError = Literal["continue", "stop"]
ON_ERROR: Final[tuple[OnError, ...]] = get_args(OnError)
"""What may happen when a step has failed for good."""
ON_UNDO_ERROR: Final[tuple[OnUndoError, ...]] = get_args(OnUndoError)
"""What may happen when an undo has failed for good."""

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
        on_error: What happens when a step has failed for good: `stop`, `continue` or `compensate`.
            Empty for what the workflow around it does; the outermost stops.
        on_undo_error: Whether the other undos follow when one has failed: `continue` or `stop`.
            Empty for what the workflow around it does; the outermost continues.
        settle_within_ms: How long to wait, before a step is undone, for word of an attempt that
            was ended by force. None for what the workflow around it says.
    """

    id: str
    steps: tuple[StepDefinition, ...]
    version: str = ""
    output: Template | None = None
    hooks: Mapping[str, StepDefinition] = field(default_factory=dict[str, StepDefinition])
    barrier: bool = False
    timeout_ms: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    on_error: OnError | Literal[""] = ""
    on_undo_error: OnUndoError | Literal[""] = ""
    settle_within_ms: int | None = None
