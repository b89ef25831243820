"""What the input of a step has to be: its template, filled in by hand from the observer's fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from flow.step import StepDefinition
from flow.template import (
    Composed,
    FromInput,
    FromOutcome,
    FromRun,
    FromStep,
    Listed,
    Literal,
    Template,
)
from flow.workflow import WorkflowDefinition
from tests.simulation.folding import Node, Recorded
from tests.simulation.undos import UNDO, run_of

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
        path: The path of a step, of its undo, or of a hook.

    Returns:
        None if its definition is not known, or there is no such step.
    """
    if path.endswith(UNDO):
        run = locate(definitions, execution, run_of(path))
        undo: StepDefinition | None = None if run is None else run[0].undo
        return None if run is None or undo is None else (undo, run[1], run[2])
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
        path: The path of a step, of its undo, or of a hook.

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
        self._undone = ""

    def of(self, path: str) -> Any:
        if path.endswith(UNDO):
            return self._of_undo(path)
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

    def _of_undo(self, path: str) -> Any:
        found, self._undone = locate(self._definitions, self._execution, path), run_of(path)
        if found is None:
            raise _UnknownValueError
        undo, workflow, prefix = found
        if undo.input is None:
            return self.of(self._undone)
        return self._fill(undo.input, workflow, prefix)

    def _run(self) -> Mapping[str, Any]:
        """Return what is recorded of the run that is undone."""
        node = self._execution.nodes[self._undone]
        failure = node.data.get("failure")
        return {
            "input": self.of(self._undone),
            "status": node.state,
            "output": node.data.get("output"),
            "failure": failure
            and {
                "type": failure["type"],
                "message": failure["message"],
                "step": failure.get("step", ""),
                "fields": failure.get("fields", {}),
            },
            "run_key": f"{self._execution.id}:{self._undone}",
            "attempts": node.attempt,
        }

    def _input_of(self, prefix: str) -> Any:
        """Return the input of the workflow whose steps have this prefix."""
        if not prefix:
            return self._execution.nodes["input"].data["body"]
        return self.of(prefix.removesuffix("/"))

    def _output_of(self, workflow: WorkflowDefinition, prefix: str, name: str) -> Any:
        node = self._execution.nodes.get(f"{prefix}steps/{name}")
        step = next(each for each in workflow.steps if each.id == name)
        if node is not None and node.path == self._undone:
            # What it gave itself, however it has ended, and not what stood in for it.
            return node.data.get("output")
        if node is not None and _has_result(node):
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
            case FromRun(path=path):
                return _look(self._run(), path)
            case FromOutcome():
                raise _UnknownValueError


def _has_result(node: Node) -> bool:
    """Return whether a step has succeeded, even if it is undone by now."""
    was_undone = node.state in {"COMPENSATING", "COMPENSATED", "FAILURE"}
    if node.kind == "sub-workflow" and was_undone:
        return not node.data.get("failure")
    return node.state in {"SUCCESS", "SKIPPED"}


def _look(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
