"""The plan: the immutable, indexed form of a step workflow that the kernel executes.

Steps are numbered in topological order, so that programs work with small integers. The planner
makes a plan from a definition; nothing here computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from flow.step import StepDefinition
from flow.template import Template
from flow.workflow import OnError, OnUndoError

__all__ = ["Plan", "PlannedStep", "StartOptions"]

SETTLE_WITHIN_MS: Final = 60_000
"""How long to wait for word of an attempt that was ended by force, unless a workflow says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How one execution departs from its workflow's definition.

    Args:
        start_at: Run only these steps and what depends on them; empty for all.
        reverse: Run from the leaves to the roots: a step waits for those that require it.
        barrier: Whether a level begins only when the level before has ended; None leaves it to
            the definition.
        timeout_ms: How long the execution may take; None leaves it to the definition.
        skip: Steps that are not run.
        optional: Steps whose failure does not fail the execution.
        max_attempts: How often steps are tried, by id.
        fallback: Steps that stand in for failed ones, by the id of the failing step.
        output: The id of the step whose output is the result; empty leaves it to the
            definition.
        on_error: What happens when a step has failed for good; empty leaves it to the definition.
        on_undo_error: Whether other undos follow a failed one; empty leaves it to the definition.
    """

    start_at: tuple[str, ...] = ()
    reverse: bool = False
    barrier: bool | None = None
    timeout_ms: int | None = None
    skip: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    max_attempts: Mapping[str, int] = field(default_factory=dict[str, int])
    fallback: Mapping[str, str] = field(default_factory=dict[str, str])
    output: str = ""
    on_error: OnError | Literal[""] = ""
    on_undo_error: OnUndoError | Literal[""] = ""


class PlannedStep(NamedTuple):
    """A step with its place in the plan.

    Args:
        definition: The step.
        level: The length of the longest path to it, 0 for a root.
        requires: The numbers of the steps that it waits for.
        dependents: The numbers of the steps that wait for it.
        fallback: The number of the step that stands in when it fails, or None.
        stands_in_for: The number of the step that it is the fallback of, or None. Such a step
            is not dispatched by its requirements.
        plan: The plan of the sub-workflow, or None.
        undo: What takes it back, or None.
    """

    definition: StepDefinition
    level: int
    requires: tuple[int, ...]
    dependents: tuple[int, ...]
    fallback: int | None = None
    stands_in_for: int | None = None
    plan: "Plan | None" = None
    undo: "PlannedStep | None" = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow, ready to be executed.

    Args:
        workflow: The workflow's id.
        hash: The hash of the definition that it was made from.
        steps: The steps in topological order.
        index: The number of each step by its id.
        output: What the result is made of; never None: the leaves by id are written out.
        hooks: Steps that run once the outcome is known, by hook name.
        barrier: Whether levels are kept apart.
        timeout_ms: How long the execution may take, or None.
        outside: The numbers of steps that are not run because of the start options, with the
            reason for each.
        needed: Of the steps outside, those whose results are referred to by steps inside: the
            number, and the ids of the steps that need it.
        on_error: What happens when a step has failed for good.
        on_undo_error: Whether the other undos follow when one has failed for good.
        settle_within_ms: How long to wait for word of an attempt that was ended by force, before
            its step is undone.
        notes: What follows from the plan, where programs keep it: they work it out once, and not
            for every execution. No part of the plan's value.
    """

    workflow: str
    hash: str
    steps: tuple[PlannedStep, ...]
    index: Mapping[str, int]
    output: Template
    hooks: Mapping[str, PlannedStep]
    barrier: bool
    timeout_ms: int | None
    outside: Mapping[int, str]
    needed: Mapping[int, tuple[str, ...]]
    on_error: OnError = "stop"
    on_undo_error: OnUndoError = "continue"
    settle_within_ms: int = SETTLE_WITHIN_MS
    notes: dict[str, Any] = field(
        default_factory=dict[str, Any], init=False, repr=False, compare=False
    )
