"""What the machines of an execution ask of the world: their tasks.

A task with a destination becomes an outbox row in the commit that asked for it, and is carried
out after that commit. A task with a deadline becomes a timer.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from flow.kernel.machine import MachineTask, NodeView, Ref
from flow.status import Status

__all__ = [
    "CancelStep",
    "ExecutionDeadline",
    "RetryDue",
    "RunStep",
    "SendAnswer",
    "SettleDue",
    "StartDue",
]

_ENDED_BY_FORCE: Final = frozenset({Status.ABORTED, Status.FAILURE})


# A named tuple and no `MachineTask`: every attempt makes one, in a third of the time.
class RunStep(NamedTuple):
    """Send an attempt of a step to its endpoint or topic.

    Args:
        attempt: The number of the attempt.
        epoch: The run epoch.
    """

    attempt: int
    epoch: int

    @property
    def deadline_ms(self) -> None:
        """It is no timer."""
        return

    @property
    def destination(self) -> str:
        """Where attempts are sent."""
        return "steps"

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether this very attempt is still out, and nobody has the permit to run it."""
        del ref
        data = node.data
        return (
            node.state is Status.RUNNING
            and data.attempt == self.attempt
            and data.epoch == self.epoch
            and not data.permit
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelStep(MachineTask):
    """Tell whoever runs an attempt that its result is not wanted any more.

    Args:
        attempt: The number of the attempt.
        epoch: The run epoch that it belongs to.
    """

    destination: str = "cancel"
    attempt: int
    epoch: int

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether the attempt is still not wanted: a later one may be out by now."""
        del ref
        return node.state is not Status.RUNNING or node.data.attempt != self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAnswer(MachineTask):
    """Tell a waiter how the execution has ended."""

    destination: str = "answers"

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether it has ended still: it may go on again, and the waiter wait again."""
        del ref
        return node.state is Status.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDue(MachineTask):
    """The next attempt of a step is due."""

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether the step still waits for this moment."""
        del ref
        return node.state is Status.RETRYING and node.data.due_ms == self.deadline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDue(MachineTask):
    """An attempt has to have begun by now."""

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether nobody has begun it."""
        del ref
        return node.state is Status.RUNNING and node.data.due_ms == self.deadline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleDue(MachineTask):
    """It has to be known by now what became of the last attempt of a step."""

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether nothing is known of it."""
        del ref
        data = node.data
        return node.state in _ENDED_BY_FORCE and bool(
            data.unsettled and data.settle_ms == self.deadline_ms
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDeadline(MachineTask):
    """An execution or a sub-workflow has to have ended by now."""

    def validate(self, ref: Ref, node: NodeView) -> bool:
        """Return whether it runs still, with this deadline; time does not end its hooks."""
        del ref
        data = node.data
        return (
            node.state is Status.RUNNING
            and not data.outcome
            and data.deadline_ms == self.deadline_ms
        )
