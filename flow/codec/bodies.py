"""Putting bodies together: a template and the raw JSON that it refers to become one JSON text.

What a template takes as a whole is copied without being decoded; only what it looks inside of is
parsed, and each text at most once in a call.
"""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from typing import Any

from flow.codec.json import dumps, fragment, loads
from flow.errors import MappingFailed, TooLarge
from flow.names import REQUEST_LIMIT
from flow.programs.bodies import Assembly, Bodies, Source
from flow.template import (
    Composed,
    FromInput,
    FromOutcome,
    FromRun,
    FromStep,
    Listed,
    Literal,
    PathPart,
    Template,
)

__all__ = ["assemble", "assemble_source"]


def assemble(template: Template, bodies: Bodies, owner: str) -> bytes:
    """Return the JSON text that a template stands for.

    Args:
        template: What it is made of.
        bodies: Where its references lead.
        owner: For whom it is, for the error.

    Raises:
        MappingFailed: A reference looks for a field that is not there.
        TooLarge: The text would have more than REQUEST_LIMIT bytes; the error names the parts.
    """
    if type(template) is FromStep and not template.path:
        # Most inputs and outputs are just that: half the price of a chain of steps.
        source = bodies.output(template.step)
        if isinstance(source, bytes) and len(source) <= REQUEST_LIMIT:
            return source
    return _Assembler(owner).text(template, bodies)


def assemble_source(source: Source, owner: str) -> bytes:
    """Return the JSON text of a source: itself, or what its template stands for.

    Args:
        source: Raw JSON, or an assembly.
        owner: For whom it is, for the error.
    """
    return source if isinstance(source, bytes) else assemble(source.template, source.bodies, owner)


class _Assembler:
    """One call of `assemble`: remembers what was decoded, and what was used."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._decoded: dict[int, Any] = {}
        self._kept: list[bytes] = []
        self._sizes: dict[str, int] = {}

    def text(self, template: Template, bodies: Bodies) -> bytes:
        part = self._part(template, bodies)
        text = part if isinstance(part, bytes) else dumps(part)
        if len(text) > REQUEST_LIMIT:
            largest = sorted(self._sizes, key=lambda name: -self._sizes[name])
            made_of = [f"{name} ({self._sizes[name]:,} bytes)" for name in largest[:5]]
            raise TooLarge(self._owner, len(text), REQUEST_LIMIT, made_of)
        return text

    def _part(self, template: Template, bodies: Bodies) -> Any:
        """Return the template's value: raw JSON as bytes, everything else as it is."""
        match template:
            case FromInput(path=path):
                return self._reference(bodies.input(), path, "workflow_input")
            case FromStep(step=step, path=path):
                return self._reference(bodies.output(step), path, f"{step}.output")
            case FromOutcome() | FromRun():
                return self._special(template, bodies)
            case Literal(value=value):
                return dumps(value)
            case Composed(fields=fields):
                return {name: self._inner(inner, bodies) for name, inner in fields}
            case Listed(items=items):
                return [self._inner(inner, bodies) for inner in items]

    def _inner(self, template: Template, bodies: Bodies) -> Any:
        part = self._part(template, bodies)
        return fragment(part) if isinstance(part, bytes) else part

    def _reference(self, source: Source, path: Sequence[PathPart], name: str) -> bytes:
        text = self._resolve(source)
        if path:
            text = dumps(self._look(text, path, name))
        self._sizes[name] = self._sizes.get(name, 0) + len(text)
        return text

    def _special(self, template: FromOutcome | FromRun, bodies: Bodies) -> bytes:
        """Return what only hooks can refer to, or only undos."""
        if isinstance(template, FromOutcome):
            return self._reference(bodies.outcome(), (), "the outcome")
        parts = bodies.run()
        text = dumps({name: fragment(self._resolve(part)) for name, part in parts.items()})
        return self._reference(text, template.path, "undone")

    def _resolve(self, source: Source) -> bytes:
        if not isinstance(source, Assembly):
            return source
        part = self._part(source.template, source.bodies)
        return part if isinstance(part, bytes) else dumps(part)

    def _look(self, text: bytes, path: Sequence[PathPart], name: str) -> Any:
        value = self._decode(text)
        for depth, key in enumerate(path):
            try:
                value = _step_into(value, key)
            except (KeyError, IndexError, TypeError) as error:
                reached = "".join(f"[{part!r}]" for part in path[:depth])
                wanted = "".join(f"[{part!r}]" for part in path)
                reason = f"{name}{reached} is {_kind(value)}, which has no {key!r}"
                raise MappingFailed(self._owner, f"{name}{wanted}", reason) from error
        return value

    def _decode(self, text: bytes) -> Any:
        key = id(text)
        if key not in self._decoded:
            # The text is kept so that its id is not given to another one meanwhile.
            self._kept.append(text)
            self._decoded[key] = loads(text)
        return self._decoded[key]


def _step_into(value: Any, key: PathPart) -> Any:
    if isinstance(value, dict) and isinstance(key, str):
        return value[key]
    if isinstance(value, list) and isinstance(key, int):
        return value[key]
    raise TypeError(key)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {value!r}"[:100]
        case dict():
            return f"an object with {', '.join(map(repr, list(value)[:10])) or 'no fields'}"
        case list():
            return f"an array of {len(value)}"
        case _:
            return f"the number {value!r}"
