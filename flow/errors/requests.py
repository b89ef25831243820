"""Errors in what is asked for, and how executions and calls end without success."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flow.errors.base import SHOWN, FlowError, listed, nearest


class RequestError(FlowError):
    """What was asked for cannot be done, and nothing was changed."""


@dataclass(eq=False)
class InvalidInput(RequestError):
    """A body is not the JSON that was asked for."""

    what: str
    reason: str

    def __str__(self) -> str:
        """Say what was not understood and why."""
        return f"{self.what}: {self.reason}"


@dataclass(eq=False)
class TooLarge(RequestError):
    """A body is larger than its cap."""

    what: str
    size: int
    limit: int
    contributors: Sequence[str] = ()

    def __str__(self) -> str:
        """Say what is too large, by how much, and what it is made of."""
        made = f"; it is made of {listed(self.contributors)}" if self.contributors else ""
        return (
            f"{self.what} has {self.size:,} bytes; at most {self.limit:,} are allowed{made}. "
            "Keep large data elsewhere and pass a reference to it"
        )


@dataclass(eq=False)
class UnknownWorkflow(RequestError):
    """No workflow has this id."""

    workflow: str
    known: Sequence[str] = ()

    def __str__(self) -> str:
        """Name the id, the nearest one and those that exist."""
        have = f" (known: {listed(self.known)})" if self.known else " (none is known)"
        return f"there is no workflow {self.workflow!r}{nearest(self.workflow, self.known)}{have}"


@dataclass(eq=False)
class UnknownExecution(RequestError):
    """No execution has this id."""

    execution: str

    def __str__(self) -> str:
        """Name the id."""
        return f"there is no execution {self.execution!r}"


@dataclass(eq=False)
class UnknownStep(RequestError):
    """The workflow or execution has no such step."""

    step: str
    where: str
    known: Sequence[str] = ()

    def __str__(self) -> str:
        """Name the step, where it was looked for, and the nearest name."""
        return f"{self.where} has no step {self.step!r}{nearest(self.step, self.known)}"


@dataclass(eq=False)
class UnknownEndpoint(RequestError):
    """No worker serves this endpoint."""

    endpoint: str
    known: Sequence[str] = ()

    def __str__(self) -> str:
        """Name the endpoint and the nearest one that is served."""
        hint = nearest(self.endpoint, self.known)
        return f"nobody serves the endpoint {self.endpoint!r}{hint}"


@dataclass(eq=False)
class AlreadyUndone(RequestError):
    """A run comes too late: what it would do has been undone already."""

    endpoint: str
    key: str

    def __str__(self) -> str:
        """Name the endpoint and the key."""
        return f"{self.endpoint} does not run for {self.key!r}: that was undone already"


@dataclass(eq=False)
class MissingResults(RequestError):
    """A start in the middle needs results of steps that will not run."""

    workflow: str
    needed: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        """Name every result that is needed, with the steps that need it."""
        parts = [f"{step!r} (for {listed(by)})" for step, by in self.needed.items()]
        return (
            f"workflow {self.workflow!r} cannot start there: results are needed of "
            f"{', '.join(parts)}; supply them, or take them from an earlier execution"
        )


@dataclass(eq=False)
class MissingSteps(RequestError):
    """A workflow names steps that no service has announced yet."""

    workflow: str
    missing: Mapping[str, Sequence[str]]
    known: Sequence[str] = ()

    def __str__(self) -> str:
        """Name every step that is missing, who needs it, and what to do."""
        parts = [self._part(step, by) for step, by in list(self.missing.items())[:SHOWN]]
        if len(self.missing) > SHOWN:
            parts.append(f"and {len(self.missing) - SHOWN} more")
        return (
            f"workflow {self.workflow!r} names steps that nobody has announced yet: "
            f"{', '.join(parts)}. Start the services that declare them"
        )

    def _part(self, step: str, by: Sequence[str]) -> str:
        needed = f"for {listed(by)}" if by else ""
        hint = nearest(step, self.known).removeprefix("; ")
        notes = "; ".join(note for note in (needed, hint) if note)
        return f"{step!r} ({notes})" if notes else repr(step)


@dataclass(eq=False)
class StepConflict(RequestError):
    """Two services declare different steps with the same id."""

    step: str
    service: str
    hash: str
    other_service: str
    other_hash: str

    def __str__(self) -> str:
        """Name the step, both services with the beginnings of the hashes, and what to do."""
        return (
            f"service {self.service!r} announces step {self.step!r} ({self.hash[:8]}), but service "
            f"{self.other_service!r} has announced another step of this id "
            f"({self.other_hash[:8]}). Give one of them another id; or, if {self.other_service!r} "
            f"is gone for good: await app.catalogue.forget({self.step!r})"
        )


@dataclass(eq=False)
class ExecutionConflict(RequestError):
    """The id already belongs to an execution that was started differently."""

    execution: str
    difference: str

    def __str__(self) -> str:
        """Name the id and what differs."""
        return (
            f"execution {self.execution!r} already exists with {self.difference}; "
            "the same id can only be used for the same start"
        )


@dataclass(eq=False)
class DefinitionInUse(RequestError):
    """A definition or execution cannot be removed while something runs on it."""

    what: str
    users: Sequence[str]

    def __str__(self) -> str:
        """Name what is in use and by what."""
        return f"{self.what} is in use by {listed(self.users)}"


@dataclass(eq=False)
class NotPossible(RequestError):
    """An execution cannot do this in the status that it has."""

    verb: str
    execution: str
    status: str
    hint: str = ""

    def __str__(self) -> str:
        """Name the verb, the execution and its status."""
        hint = f"; {self.hint}" if self.hint else ""
        return f"cannot {self.verb} execution {self.execution!r}: it is {self.status}{hint}"


@dataclass(eq=False)
class TooMany(RequestError):
    """There is no room for one more."""

    what: str
    limit: int

    def __str__(self) -> str:
        """Say of what there are too many."""
        return f"there are {self.limit:,} {self.what} already, and no more are allowed"


class OutcomeError(FlowError):
    """What was asked for was done, and ended without success."""


@dataclass(eq=False)
class ExecutionFailed(OutcomeError):
    """The execution ended in FAILURE. `report` tells every step's story."""

    execution: str
    reason: str
    report: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        """Name the execution and why it failed."""
        return f"execution {self.execution!r} failed: {self.reason}"


@dataclass(eq=False)
class ExecutionAborted(OutcomeError):
    """The execution was aborted."""

    execution: str
    reason: str
    report: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        """Name the execution and who or what aborted it."""
        why = f": {self.reason}" if self.reason else ""
        return f"execution {self.execution!r} was aborted{why}"


@dataclass(eq=False)
class ExecutionCompensated(ExecutionFailed):
    """The execution failed, or was undone by hand, and all that it did was taken back."""

    def __str__(self) -> str:
        """Name the execution and why it was compensated."""
        return f"execution {self.execution!r} was compensated: {self.reason}"


@dataclass(eq=False)
class OutcomeUnknown(OutcomeError):
    """Nothing is known of an attempt that was ended by force, so its step cannot be undone."""

    step: str
    seconds: float

    def __str__(self) -> str:
        """Name the step, and say how long word of it was waited for."""
        return (
            f"{self.step} was ended by force, and nothing was heard of its last attempt within "
            f"{self.seconds:g} s (settle_within)"
        )


@dataclass(eq=False)
class UndoFailed(OutcomeError):
    """What an execution did could not all be taken back."""

    steps: Sequence[str]

    def __str__(self) -> str:
        """Name the steps."""
        undos = "1 undo" if len(self.steps) == 1 else f"{len(self.steps)} undos"
        return f"{undos} failed: {listed(self.steps, 5)}"


@dataclass(eq=False)
class StepsUndone(OutcomeError):
    """Steps of an execution that had succeeded were undone by hand, and others were not."""

    steps: Sequence[str]

    def __str__(self) -> str:
        """Name the steps."""
        return f"steps of it were undone by hand, and others were not: {listed(self.steps, 5)}"


@dataclass(eq=False)
class ExecutionPruned(OutcomeError):
    """The execution ended long ago; how is still known, and nothing else."""

    execution: str
    status: str
    ended_ms: int = 0

    def __str__(self) -> str:
        """Name the execution and how it ended."""
        return (
            f"execution {self.execution!r} ended in {self.status} and was pruned since: "
            "its result, report and history are gone"
        )


@dataclass(eq=False)
class CallFailed(OutcomeError):
    """A plain call reached its handler, and the handler failed."""

    endpoint: str
    type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        """Name the endpoint, the type of the remote error and its message."""
        return f"{self.endpoint} failed: {self.type}: {self.message}"
