"""What the input of a step has to be: its template, filled in by hand from the observer's fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from flow.step import (
    Composed,
    FromInput,
    FromOutcome,
    FromStep,
    Listed,
    Literal,
    StepDefinition,
    Template,
)
from flow.workflow import WorkflowDefinition
from tests.simulation.folding import Recorded

__all__ = ["UNKNOWN", "Definitions", "expected_input", "locate"]

UNKNOWN: Final = object()
"""Stands for a value that is not worked out here."""

Definitions = Mapping[str, WorkflowDefinition]


class _UnknownValueError(Exception):
    """A value is not worked out here."""


def locate(
    definitions: Definitions, execution: Recorded, path: str
) -> tuple[StepDefinition, WorkflowDefinition, str] | None:
    """Return the step at a path, the workflow that it is in, and the prefix of its siblings' paths.

    Args:
        definitions: All definitions by their hashes.
        execution: The execution.
        path: The path of a step or a hook.

    Returns:
        None if its definition is not known, or there is no such step.
    """
    workflow = definitions.get(execution.summary.definition)
    prefix, rest = "", path
    while workflow is not None:
        kind, _, rest = rest.partition("/")
        name, _, rest = rest.partition("/")
        steps = workflow.hooks.values() if kind == "hooks" else workflow.steps
        named = workflow.hooks.get(name) if kind == "hooks" else None
        step = named or next((each for each in steps if each.id == name), None)
        if step is None:
            return None
        if not rest:
            return step, workflow, prefix
        prefix = f"{prefix}{kind}/{name}/"
        workflow = cast("WorkflowDefinition | None", step.workflow)
    return None


def expected_input(definitions: Definitions, execution: Recorded, path: str) -> Any:
    """Return the input that the handler of a step has to get, decoded.

    Args:
        definitions: All definitions by their hashes.
        execution: The execution.
        path: The path of a step or a hook.

    Returns:
        UNKNOWN if that is not worked out here, as for hooks.
    """
    try:
        return _Inputs(definitions, execution).of(path)
    except _UnknownValueError:
        return UNKNOWN


class _Inputs:
    """Fills in templates for one execution."""

    def __init__(self, definitions: Definitions, execution: Recorded) -> None:
        self._definitions = definitions
        self._execution = execution

    def of(self, path: str) -> Any:
        found = locate(self._definitions, self._execution, path)
        options = self._execution.nodes["input"].data.get("options", {})
        is_hook = path.rpartition("/")[0].endswith("hooks")
        if found is None or is_hook or options.get("fallback"):
            raise _UnknownValueError
        step, workflow, prefix = found
        if step.input is not None:
            return self._fill(step.input, workflow, prefix)
        instead = next((each for each in workflow.steps if each.fallback == step.id), None)
        if instead is not None:
            return self.of(f"{prefix}steps/{instead.id}")
        return self._input_of(prefix)

    def _input_of(self, prefix: str) -> Any:
        """Return the input of the workflow whose steps have this prefix."""
        if not prefix:
            return self._execution.nodes["input"].data["body"]
        return self.of(prefix.removesuffix("/"))

    def _output_of(self, workflow: WorkflowDefinition, prefix: str, name: str) -> Any:
        node = self._execution.nodes.get(f"{prefix}steps/{name}")
        step = next(each for each in workflow.steps if each.id == name)
        if node is not None and node.state in {"SUCCESS", "SKIPPED"}:
            if node.kind == "step":
                return node.data.get("output")
            inner = cast("WorkflowDefinition", step.workflow)
            if inner.output is None:
                # The leaves by id, which takes a planner.
                raise _UnknownValueError
            return self._fill(inner.output, inner, f"{prefix}steps/{name}/")
        if node is not None and step.fallback:
            return self._output_of(workflow, prefix, step.fallback)
        return None

    def _fill(self, template: Template, workflow: WorkflowDefinition, prefix: str) -> Any:
        match template:
            case FromInput(path=path):
                return _look(self._input_of(prefix), path)
            case FromStep(step=step, path=path):
                return _look(self._output_of(workflow, prefix, step), path)
            case Literal(value=value):
                return value
            case Composed(fields=fields):
                return {name: self._fill(each, workflow, prefix) for name, each in fields}
            case Listed(items=items):
                return [self._fill(each, workflow, prefix) for each in items]
            case FromOutcome():
                raise _UnknownValueError


def _look(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
