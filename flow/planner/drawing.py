"""Pictures of a workflow, as text that Mermaid and Graphviz understand.

An edge that a longer path replaces is left out, sub-workflows are boxes around their steps,
fallbacks hang on dashed lines, and hooks stand apart.
"""

from abc import ABC, abstractmethod
from typing import Final

from flow.planner import graph
from flow.planner.validation import SortedSteps, check, validate
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition

__all__ = ["reduction", "to_dot", "to_mermaid"]

Path = tuple[str, ...]
"""The names that lead to a step: those of sub-workflow steps, and its own."""

# No name has a colon, so no step has this path.
_HOOKS: Final = "hooks:"
_HOOK: Final = "hook"


def reduction(definition: WorkflowDefinition) -> tuple[tuple[str, str], ...]:
    """Return the requirements that no others imply: the transitive reduction.

    Fallbacks are left out: what they require comes before their steps anyway.

    Args:
        definition: The workflow; its sub-workflows are not looked into.

    Returns:
        Pairs of a required step and one that requires it, by id, in the order of declaration.

    Raises:
        DefinitionError: The definition is not valid; see `validate`.
    """
    return tuple(_reduction(definition, check(definition)))


def to_mermaid(definition: WorkflowDefinition) -> str:
    """Return the workflow as a Mermaid flow chart.

    Mermaid itself refuses pictures with more than 500 edges unless its `maxEdges` is raised.

    Args:
        definition: The workflow.

    Raises:
        DefinitionError: The definition is not valid; see `validate`.
    """
    return _drawn(definition, _Mermaid())


def to_dot(definition: WorkflowDefinition) -> str:
    """Return the workflow in the language of Graphviz.

    Args:
        definition: The workflow.

    Raises:
        DefinitionError: The definition is not valid; see `validate`.
    """
    return _drawn(definition, _Dot())


def _reduction(definition: WorkflowDefinition, steps: SortedSteps) -> list[tuple[str, str]]:
    requires = [
        () if step in steps.stands_in_for else before for step, before in enumerate(steps.requires)
    ]
    order = [step for level in steps.levels for step in level]
    ids = [step.id for step in definition.steps]
    return [(ids[first], ids[step]) for first, step in graph.reduced(requires, order)]


def _drawn(definition: WorkflowDefinition, pen: "_Pen") -> str:
    validate(definition)
    pen.begin(definition.id)
    _draw(definition, (), pen)
    pen.end()
    return "\n".join(pen.lines) + "\n"


def _draw(definition: WorkflowDefinition, path: Path, pen: "_Pen") -> None:
    steps = check(definition)
    for step in definition.steps:
        if isinstance(step.workflow, WorkflowDefinition):
            pen.open_group((*path, step.id), step.id)
            _draw(step.workflow, (*path, step.id), pen)
            pen.close_group()
        else:
            pen.node((*path, step.id), step.id, step.kind.value)
    for required, then in _reduction(definition, steps):
        pen.edge((*path, required), (*path, then))
    for step in definition.steps:
        if step.fallback:
            pen.edge((*path, step.id), (*path, step.fallback), "fallback")
    if definition.hooks:
        pen.open_group((*path, _HOOKS), "hooks")
        for name, hook in definition.hooks.items():
            pen.node((*path, _HOOKS, name), _hook_label(name, hook), _HOOK)
        pen.close_group()
    first, last = (definition.steps[at] for at in (steps.levels[0][0], steps.levels[-1][-1]))
    pen.bounds(path, (*path, first.id), (*path, last.id))


def _hook_label(name: str, hook: StepDefinition) -> str:
    return name if name == hook.id else f"{name}: {hook.id}"


# -------------------------------------------------------------------------------- two languages


class _Pen(ABC):
    """Writes the lines of a picture. Paths are turned into keys that the language takes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    @abstractmethod
    def begin(self, title: str) -> None:
        """Begin the picture."""

    @abstractmethod
    def node(self, path: Path, label: str, kind: str) -> None:
        """Draw a step, or a hook if that is its *kind*."""

    @abstractmethod
    def open_group(self, path: Path, label: str) -> None:
        """Begin a box; what is drawn until it is closed is in it."""

    @abstractmethod
    def close_group(self) -> None:
        """End the innermost box."""

    @abstractmethod
    def edge(self, first: Path, then: Path, label: str = "") -> None:
        """Draw an arrow between steps or boxes: dashed, if it has a label."""

    @abstractmethod
    def bounds(self, path: Path, first: Path, last: Path) -> None:
        """Take note of an early and a late step of the box at *path*."""

    @abstractmethod
    def end(self) -> None:
        """End the picture."""

    def _write(self, line: str) -> None:
        self.lines.append("  " * self._depth + line)


class _Mermaid(_Pen):
    """Flow charts of Mermaid. Words such as `end` cannot be keys there, so keys are numbered."""

    _shapes: Final = {
        StepKind.PUBLISH.value: ('(["', '"])'),
        _HOOK: ('{{"', '"}}'),
    }

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[Path, str] = {}

    def begin(self, title: str) -> None:
        self._write(f"%% {title}")
        self._write("flowchart TD")
        self._depth += 1

    def node(self, path: Path, label: str, kind: str) -> None:
        left, right = self._shapes.get(kind, ('["', '"]'))
        self._write(f"{self._key(path)}{left}{_mermaid_text(label)}{right}")

    def open_group(self, path: Path, label: str) -> None:
        self._write(f'subgraph {self._key(path)}["{_mermaid_text(label)}"]')
        self._depth += 1

    def close_group(self) -> None:
        self._depth -= 1
        self._write("end")

    def bounds(self, path: Path, first: Path, last: Path) -> None:
        """Forget them: an arrow may end at a box."""

    def end(self) -> None:
        """Write nothing: the last line is the end."""

    def edge(self, first: Path, then: Path, label: str = "") -> None:
        arrow = f"-. {label} .->" if label else "-->"
        self._write(f"{self._key(first)} {arrow} {self._key(then)}")

    def _key(self, path: Path) -> str:
        return self._keys.setdefault(path, f"n{len(self._keys)}")


class _Dot(_Pen):
    """Graphs of Graphviz. An arrow to a box leads to a step in it, and is cut at its border."""

    _shapes: Final = {
        StepKind.PUBLISH.value: "parallelogram",
        _HOOK: "hexagon",
    }

    def __init__(self) -> None:
        super().__init__()
        self._bounds: dict[Path, tuple[Path, Path]] = {}

    def begin(self, title: str) -> None:
        self._write(f"digraph {_quoted(title)} {{")
        self._depth += 1
        self._write("compound=true;")
        self._write("node [shape=box];")

    def end(self) -> None:
        self._depth -= 1
        self._write("}")

    def node(self, path: Path, label: str, kind: str) -> None:
        shape = f", shape={self._shapes[kind]}" if kind in self._shapes else ""
        self._write(f"{_dot_key(path)} [label={_quoted(label)}{shape}];")

    def open_group(self, path: Path, label: str) -> None:
        self._write(f"subgraph {_cluster(path)} {{")
        self._depth += 1
        self._write(f"label={_quoted(label)};")

    def close_group(self) -> None:
        self._depth -= 1
        self._write("}")

    def bounds(self, path: Path, first: Path, last: Path) -> None:
        self._bounds[path] = (first, last)

    def edge(self, first: Path, then: Path, label: str = "") -> None:
        options = [f"ltail={_cluster(first)}"] if first in self._bounds else []
        options += [f"lhead={_cluster(then)}"] if then in self._bounds else []
        options += ["style=dashed", f"label={_quoted(label)}"] if label else []
        ends = f"{_dot_key(self._step(first, 1))} -> {_dot_key(self._step(then, 0))}"
        self._write(f"{ends} [{', '.join(options)}];" if options else f"{ends};")

    def _step(self, path: Path, side: int) -> Path:
        while path in self._bounds:
            path = self._bounds[path][side]
        return path


def _mermaid_text(label: str) -> str:
    # A label such as `1.` would become a list.
    text = label.replace("&", "#amp;").replace('"', "#quot;")
    return f"{text[:-1]}#46;" if text.endswith(".") else text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot_key(path: Path) -> str:
    return _quoted("/".join(path))


def _cluster(path: Path) -> str:
    # Graphviz draws a box only around subgraphs whose names begin like this.
    return _quoted("cluster/" + "/".join(path))
