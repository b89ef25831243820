"""Errors in what a program declares: nothing has run yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flow.errors.base import SHOWN, FlowError, listed, nearest


class DefinitionError(FlowError):
    """A declaration (a step, a workflow, a handler) is wrong. Nothing has run yet."""


@dataclass(eq=False)
class InvalidName(DefinitionError):
    """A name breaks the rule for its kind."""

    kind: str
    name: str
    rule: str

    def __str__(self) -> str:
        """Say which name is wrong and what would be right."""
        return f"{self.kind} {self.name[:200]!r} is not a valid name: {self.rule}"


@dataclass(eq=False)
class InvalidOption(DefinitionError):
    """An option of a step, workflow or policy has a value that makes no sense."""

    owner: str
    option: str
    value: str
    rule: str

    def __str__(self) -> str:
        """Say which option of what is wrong and what would be right."""
        return f"{self.owner}: {self.option}={self.value} is not possible: {self.rule}"


@dataclass(eq=False)
class InvalidReference(DefinitionError):
    """An input or output mapping refers to something that it cannot refer to."""

    owner: str
    reference: str
    reason: str

    def __str__(self) -> str:
        """Say which reference is wrong and why."""
        return f"{self.owner}: the reference to {self.reference!r} {self.reason}"


@dataclass(eq=False)
class BindingError(DefinitionError):
    """A handler's signature does not say where a parameter's value comes from."""

    function: str
    parameter: str
    reason: str
    known: Sequence[str] = ()

    def __str__(self) -> str:
        """Name the parameter, the reason and the nearest name that would be right."""
        hint = nearest(self.parameter, self.known)
        return f"{self.function}(): parameter {self.parameter!r} {self.reason}{hint}"


@dataclass(eq=False)
class DuplicateDefinition(DefinitionError):
    """The same id was declared more than once."""

    kind: str
    names: Sequence[str]
    where: str

    def __str__(self) -> str:
        """Name every id that is there twice."""
        return f"{self.where}: {self.kind} declared more than once: {listed(self.names)}"


@dataclass(eq=False)
class UnknownRequirement(DefinitionError):
    """Steps require steps that the workflow does not have."""

    workflow: str
    missing: Mapping[str, Sequence[str]]
    known: Sequence[str] = ()

    def __str__(self) -> str:
        """Name every step with every requirement that is not there."""
        pairs = [(step, name) for step, names in self.missing.items() for name in names]
        parts = [
            f"{step!r} requires {name!r}, which is not a step of it{nearest(name, self.known)}"
            for step, name in pairs[:SHOWN]
        ]
        if len(pairs) > SHOWN:
            parts.append(f"and {len(pairs) - SHOWN} more")
        return f"workflow {self.workflow!r}: " + "; ".join(parts)


@dataclass(eq=False)
class SelfRequirement(DefinitionError):
    """Steps require themselves."""

    workflow: str
    steps: Sequence[str]

    def __str__(self) -> str:
        """Name every step that requires itself."""
        return f"workflow {self.workflow!r}: a step cannot require itself: {listed(self.steps)}"


@dataclass(eq=False)
class CyclicRequirement(DefinitionError):
    """Steps require each other in a circle."""

    workflow: str
    cycles: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Write out every circle, from a step back to itself."""
        circles = "; ".join(_circle(cycle) for cycle in self.cycles)
        return f"workflow {self.workflow!r}: steps require each other in a circle: {circles}"


def _circle(steps: Sequence[str]) -> str:
    shown = [*steps[:SHOWN], "…"] if len(steps) > SHOWN else list(steps)
    return " -> ".join([*shown, steps[0]])


@dataclass(eq=False)
class StepIsRequired(DefinitionError):
    """Steps cannot be removed because others still require them."""

    workflow: str
    dependents: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        """Name every step with all that still require it."""
        parts = [f"{step!r} is required by {listed(by)}" for step, by in self.dependents.items()]
        return f"workflow {self.workflow!r}: cannot remove steps: " + "; ".join(parts)


@dataclass(eq=False)
class UnresolvedSteps(DefinitionError):
    """A workflow names steps of other programs, and so its shape is not known here."""

    workflow: str
    steps: Sequence[str]

    def __str__(self) -> str:
        """Name the steps, and how the whole workflow is to be had."""
        return (
            f"workflow {self.workflow!r} names steps of other programs: {listed(self.steps)}. "
            "It can be run, but what it is made of is known only once they are announced: "
            f"`await app.workflows.load({self.workflow!r})` returns it then"
        )
