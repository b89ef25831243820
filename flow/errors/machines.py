"""Errors in the use of the tree of state machines."""

from dataclasses import dataclass

from flow.errors.base import FlowError


class StateMachineError(FlowError):
    """The tree of state machines was used in a way that its rules forbid."""


@dataclass(eq=False)
class DuplicateRegistration(StateMachineError):
    """Something of this name is already registered."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Name what is there twice."""
        return f"{self.kind} {self.name!r} is already registered"


@dataclass(eq=False)
class NotRegistered(StateMachineError):
    """Nothing of this name is registered."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Name what is missing."""
        return f"{self.kind} {self.name!r} is not registered"


@dataclass(eq=False)
class IncompatibleType(StateMachineError):
    """A node is of another type than was asked for."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Name the node, the type it has and the one that was expected."""
        return f"node {self.path!r} is {self.found}, not {self.expected}"


@dataclass(eq=False)
class InvalidTransition(StateMachineError):
    """A transition does not start at the state that the node is in."""

    path: str
    transition: str
    state: str

    def __str__(self) -> str:
        """Name the node, its state and the transition."""
        return f"node {self.path!r} is {self.state}: the transition {self.transition!r} is invalid"


@dataclass(eq=False)
class InvalidTask(StateMachineError):
    """A machine task has neither a deadline nor a destination, or both."""

    task: str
    reason: str

    def __str__(self) -> str:
        """Name the task and the rule it breaks."""
        return f"machine task {self.task!r} {self.reason}"


@dataclass(eq=False)
class NodeExists(StateMachineError):
    """The node already has a child of this key."""

    path: str

    def __str__(self) -> str:
        """Name the path."""
        return f"node {self.path!r} already exists"


@dataclass(eq=False)
class NodeNotFound(StateMachineError):
    """No node has this path."""

    path: str

    def __str__(self) -> str:
        """Name the path."""
        return f"there is no node {self.path!r}"


@dataclass(eq=False)
class StaleReference(StateMachineError):
    """The node has moved on since the reference was made."""

    path: str
    reason: str

    def __str__(self) -> str:
        """Name the node and how it moved on."""
        return f"the reference to node {self.path!r} is stale: {self.reason}"


@dataclass(eq=False)
class ReadOnlyAccess(StateMachineError):
    """A tree that was opened for reading was written to."""

    path: str

    def __str__(self) -> str:
        """Name the node that was written to."""
        return f"node {self.path!r} was opened for reading and cannot be changed"
