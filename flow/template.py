"""Templates: what a step's input, or a workflow's result, is made of, and from where.

A template is a value: references to bodies that an execution has gathered, and JSON values
between them. Programs write them as references (`hold.output.id`, `workflow_input.total`),
mappings, lists and literals; `to_template` turns that into values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, cast

from flow.errors import InvalidReference

__all__ = [
    "Composed",
    "FromInput",
    "FromOutcome",
    "FromRun",
    "FromStep",
    "Listed",
    "Literal",
    "OutputReference",
    "Reference",
    "RunReference",
    "Template",
    "WorkflowInput",
    "mentions",
    "template_steps",
    "to_template",
    "undone",
    "workflow_input",
]

PathPart = str | int


@dataclass(frozen=True, slots=True)
class FromInput:
    """The execution's input, or what is at a path inside it."""

    path: tuple[PathPart, ...] = ()


@dataclass(frozen=True, slots=True)
class FromStep:
    """The output of a step, or what is at a path inside it."""

    step: str
    path: tuple[PathPart, ...] = ()


@dataclass(frozen=True, slots=True)
class FromOutcome:
    """How the execution ended: the input of a hook (`on_success`, `on_failure`, `on_end`)."""


@dataclass(frozen=True, slots=True)
class FromRun:
    """The run that is to be undone, or what is at a path inside it: the input of an undo."""

    path: tuple[PathPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Literal:
    """A JSON value that is written in the definition itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class Composed:
    """An object made of templates, in order."""

    fields: tuple[tuple[str, "Template"], ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """An array made of templates."""

    items: tuple["Template", ...]


Template = FromInput | FromStep | FromOutcome | FromRun | Literal | Composed | Listed


def template_steps(template: Template | None) -> Iterator[str]:
    """Go through the ids of the steps that a template refers to.

    Args:
        template: The template, or None for the execution's input as it is.
    """
    match template:
        case FromStep(step=step):
            yield step
        case Composed(fields=fields):
            for _, inner in fields:
                yield from template_steps(inner)
        case Listed(items=items):
            for inner in items:
                yield from template_steps(inner)
        case _:
            return


def mentions(template: Template | None, kind: type) -> bool:
    """Return whether a template has a part of a kind.

    Args:
        template: The template, or None.
        kind: One of the kinds that a `Template` can be.
    """
    match template:
        case Composed(fields=fields):
            return any(mentions(inner, kind) for _, inner in fields)
        case Listed(items=items):
            return any(mentions(inner, kind) for inner in items)
        case _:
            return isinstance(template, kind)


class Reference:
    """What a user writes to refer to a body: it knows its template."""

    __slots__ = ()

    def __template__(self) -> Template:
        # A public name would shadow the field of that name in what is referred to.
        raise NotImplementedError


class WorkflowInput(Reference):
    """The execution's input, as something to refer to: `workflow_input.order.total`.

    Attributes and items lead inside. Use items where a name is not a Python identifier, or
    begins with an underscore.
    """

    __slots__ = ("_path",)

    def __init__(self, path: tuple[PathPart, ...] = ()) -> None:
        """Refer to what is at *path*; users begin at `workflow_input`."""
        self._path = path

    def __getattr__(self, name: str) -> "WorkflowInput":
        """Refer to the field called *name*."""
        if name.startswith("_"):
            raise AttributeError(name)
        return WorkflowInput((*self._path, name))

    def __getitem__(self, key: PathPart) -> "WorkflowInput":
        """Refer to a field by name, or to an element by index."""
        return WorkflowInput((*self._path, key))

    def __repr__(self) -> str:
        """Return the reference as it is written."""
        return f"workflow_input{_written(self._path)}"

    def __template__(self) -> Template:
        return FromInput(self._path)


workflow_input: Final = WorkflowInput()
"""The execution's input; see `WorkflowInput`."""


class OutputReference(Reference):
    """A step's output, as something to refer to: `hold.output.id`.

    Attributes and items lead inside. Whoever refers to an output requires its step.
    """

    __slots__ = ("_path", "_step")

    def __init__(self, step: "str", path: tuple[PathPart, ...] = ()) -> None:
        """Refer to what is at *path* in the output of *step*; users begin at `step.output`."""
        self._step = step
        self._path = path

    def __getattr__(self, name: str) -> "OutputReference":
        """Refer to the field called *name*."""
        if name.startswith("_"):
            raise AttributeError(name)
        return OutputReference(self._step, (*self._path, name))

    def __getitem__(self, key: PathPart) -> "OutputReference":
        """Refer to a field by name, or to an element by index."""
        return OutputReference(self._step, (*self._path, key))

    def __repr__(self) -> str:
        """Return the reference as it is written."""
        return f"{self._step}.output{_written(self._path)}"

    def __template__(self) -> Template:
        return FromStep(self._step, self._path)


class RunReference(Reference):
    """The run that is to be undone, as something to refer to: `undone.output.id`.

    It has `status`, `output`, `failure` (with `type` and `message`, or null), `run_key` (the
    idempotency key that the run had) and `attempts`. Only the input of an undo can refer to it.
    """

    __slots__ = ("_path",)

    def __init__(self, path: tuple[PathPart, ...] = ()) -> None:
        """Refer to what is at *path*; users begin at `undone`."""
        self._path = path

    def __getattr__(self, name: str) -> "RunReference":
        """Refer to the field called *name*."""
        if name.startswith("_"):
            raise AttributeError(name)
        return RunReference((*self._path, name))

    def __getitem__(self, key: PathPart) -> "RunReference":
        """Refer to a field by name, or to an element by index."""
        return RunReference((*self._path, key))

    def __repr__(self) -> str:
        """Return the reference as it is written."""
        return f"undone{_written(self._path)}"

    def __template__(self) -> Template:
        return FromRun(self._path)


undone: Final = RunReference()
"""The run that is to be undone; see `RunReference`."""


def _written(path: Sequence[PathPart]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def to_template(owner: str, value: object) -> Template:
    """Return the template that a user wrote as references, mappings, lists and literals.

    Args:
        owner: Whose mapping it is, for the error.
        value: What the user wrote.

    Raises:
        InvalidReference: It holds something that is neither a reference nor JSON.
    """
    if isinstance(value, Mapping):
        return _composed(owner, cast("Mapping[Any, Any]", value))
    if isinstance(value, list | tuple):
        return _listed(owner, cast("Sequence[object]", value))
    match value:
        case Reference():
            return value.__template__()
        case (
            FromInput() | FromStep() | FromOutcome() | FromRun() | Literal() | Composed() | Listed()
        ):
            return value
        case _:
            return _literal(owner, value)


def _literal(owner: str, value: object) -> Literal:
    if value is None or isinstance(value, bool | int | str):
        return Literal(value)
    if isinstance(value, float) and isfinite(value):
        return Literal(value)
    raise InvalidReference(owner, repr(value)[:200], "is neither a reference nor a JSON value")


def _composed(owner: str, value: Mapping[Any, Any]) -> Template:
    names = [name for name in value if not isinstance(name, str)]
    if names:
        raise InvalidReference(owner, repr(names[0]), "is not a string, as names in JSON are")
    fields = tuple((name, to_template(owner, inner)) for name, inner in value.items())
    if all(isinstance(inner, Literal) for _, inner in fields):
        return Literal({name: inner.value for name, inner in fields if isinstance(inner, Literal)})
    return Composed(fields)


def _listed(owner: str, value: Sequence[object]) -> Template:
    items = tuple(to_template(owner, inner) for inner in value)
    if all(isinstance(inner, Literal) for inner in items):
        return Literal([inner.value for inner in items if isinstance(inner, Literal)])
    return Listed(items)
