"""Where the values in a template come from: the bodies that an execution has gathered.

Bodies stay raw JSON. Nothing here decodes or puts together; `Bodies` only says what a reference
stands for: raw JSON, or another template with the bodies that it is made of. The codec does the
rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flow.failure import Failure
from flow.kernel.execution import INPUT, SUB_WORKFLOW, ExecutionData
from flow.kernel.steps import STEP
from flow.kernel.tree import Node, Tree
from flow.plan import Plan
from flow.status import Status
from flow.template import Composed, FromInput, Literal, Template

__all__ = ["Assembly", "Bodies", "failure_fields"]

NULL = b"null"
_UNDOING = (Status.COMPENSATING, Status.COMPENSATED, Status.FAILURE)


@dataclass(frozen=True, slots=True)
class Assembly:
    """A value that has to be put together: a template, and the bodies that it refers to."""

    template: Template
    bodies: "Bodies"


Source = bytes | Assembly


class Bodies:
    """The bodies that one workflow, or one sub-workflow in it, can refer to.

    Args:
        tree: The execution.
        plan: The workflow's plan.
        path: The path of the workflow's node: empty for the root.
        parent: The bodies of the workflow that this one is a step of, or None.
    """

    __slots__ = ("_parent", "_path", "_plan", "_run_key", "_tree", "_undone")

    def __init__(
        self,
        tree: Tree,
        plan: Plan,
        path: str = "",
        parent: "Bodies | None" = None,
    ) -> None:
        """Look at the workflow whose node is at *path*."""
        self._tree = tree
        self._plan = plan
        self._path = path
        self._parent = parent
        self._undone: Node | None = None
        self._run_key = ""

    def for_undo(self, step: Node, run_key: str) -> "Bodies":
        """Return the bodies that the undo of a step can refer to.

        Args:
            step: The step.
            run_key: The idempotency key that its run had.
        """
        bodies = Bodies(self._tree, self._plan, self._path, self._parent)
        bodies._undone, bodies._run_key = step, run_key
        return bodies

    def input(self) -> Source:
        """Return the workflow's input."""
        if self._parent is None:
            return self._tree.node("input").read(INPUT).body
        kind, name = self._path.split("/")[-2:]
        return self._parent.hook_input(name) if kind == "hooks" else self._parent.step_input(name)

    def step_input(self, step: str) -> Source:
        """Return the input of the step called *step*.

        Args:
            step: Its id.
        """
        planned = self._plan.steps[self._plan.index[step]]
        template = planned.definition.input
        if template is None and planned.stands_in_for is not None:
            # A fallback gets what the step got that it stands in for.
            return self.step_input(self._plan.steps[planned.stands_in_for].definition.id)
        return self.input() if template is None else Assembly(template, self)

    def hook_input(self, hook: str) -> Source:
        """Return the input of a hook: how the workflow ended, unless it says otherwise.

        Args:
            hook: One of `HOOKS`.
        """
        template = self._plan.hooks[hook].definition.input
        return self.outcome() if template is None else Assembly(template, self)

    def output(self, step: str) -> Source:
        """Return the output of the step called *step*; `null` where it has none.

        Args:
            step: Its id.
        """
        planned = self._plan.steps[self._plan.index[step]]
        node = self._node(step)
        if node is not None and node is self._undone:
            # What it gave itself, however it has ended, and not what stood in for it.
            return node.read(STEP).output or NULL
        if node is not None and _has_result(node):
            return self._output_of(node, step)
        if node is not None and planned.fallback is not None:
            return self.output(self._plan.steps[planned.fallback].definition.id)
        return NULL

    def run(self) -> Mapping[str, Source]:
        """Return the run that is to be undone: what each field of it is made of."""
        node = self._undone
        assert node is not None, "only an undo refers to a run"
        data = node.read(STEP)
        step = node.key.partition("/")[2]
        return {
            "input": self.step_input(step),
            "status": self._literal(node.state.value),
            "output": data.output or NULL,
            "failure": self._literal(failure_fields(data.failure)),
            "run_key": self._literal(self._run_key),
            "attempts": self._literal(data.attempt),
        }

    def undo_input(self) -> Source:
        """Return the input of the undo: by default that of the run."""
        node = self._undone
        assert node is not None, "only an undo has it"
        step = node.key.partition("/")[2]
        template = self._plan.steps[self._plan.index[step]].definition.undo.input
        return self.step_input(step) if template is None else Assembly(template, self)

    def result(self) -> Source:
        """Return the workflow's result."""
        return Assembly(self._plan.output, self)

    def outcome(self) -> Source:
        """Return how the workflow ended: an object with status, input, output and failure."""
        data: ExecutionData = self._tree.node(self._path).data
        succeeded = data.outcome == Status.SUCCESS.value
        fields: dict[str, Template] = {
            "workflow": Literal(self._plan.workflow),
            "status": Literal(data.outcome),
            "input": FromInput(),
            "output": self._plan.output if succeeded else Literal(None),
            "failure": Literal(failure_fields(data.failure)),
        }
        return Assembly(Composed(tuple(fields.items())), self)

    def _literal(self, value: object) -> Assembly:
        return Assembly(Literal(value), self)

    def _output_of(self, node: Node, step: str) -> Source:
        if node.machine is STEP:
            return node.read(STEP).output or NULL
        inner = self._plan.steps[self._plan.index[step]].plan
        return NULL if inner is None else Bodies(self._tree, inner, node.path, self).result()

    def _node(self, step: str) -> Node | None:
        return self._tree.find(f"{self._path}/steps/{step}" if self._path else f"steps/{step}")


def _has_result(node: Node) -> bool:
    """Return whether a step has succeeded, even if it was undone later."""
    if node.machine is SUB_WORKFLOW and node.state in _UNDOING:
        return node.read(SUB_WORKFLOW).failure is None
    return node.state in (Status.SUCCESS, Status.SKIPPED)


def failure_fields(failure: Failure | None) -> Mapping[str, Any] | None:
    """Return a failure as a JSON object, or None.

    Args:
        failure: The failure, or None.
    """
    if failure is None:
        return None
    return {
        "type": failure.type,
        "message": failure.message,
        "step": failure.step,
        "fields": dict(failure.fields),
    }
