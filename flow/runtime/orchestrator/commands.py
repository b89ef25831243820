"""Commands: outbox rows on their way to the broker, and from what they are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flow import codec
from flow.codec.json import dumps_finite
from flow.errors import CorruptRecord, InvalidInput
from flow.kernel.commands import CancelStep, RunStep, SendAnswer
from flow.kernel.events import Attempt
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.ports import OutboxRow
from flow.runtime.orchestrator.live import LiveExecution
from flow.status import Status
from flow.step import StepDefinition

__all__ = [
    "SENT",
    "Command",
    "attempt_again",
    "attempt_in",
    "attempt_of",
    "command_of",
    "target_of",
    "text_of",
]


SENT: Final = (RunStep, CancelStep, SendAnswer)
"""The tasks that are carried out by a message."""


@dataclass(slots=True)
class Command:
    """An outbox row on its way to the broker.

    Args:
        key: The row's partition and number, or None for an attempt that is only sent again.
        live: The execution.
        path: The step's path.
        task: What is to be sent.
        node: The number at which the step's node was made.
        tries: How often it was tried in vain.
        told: Called once when it is on its way no more, whatever became of it.
        step: The definition of the step that it sends an attempt of, from its message on.
        again: Whether a copy of it may have reached the broker before.
    """

    key: tuple[int, int] | None
    live: LiveExecution
    path: str
    task: RunStep | CancelStep | SendAnswer
    node: int
    tries: int = 0
    told: Callable[[], None] | None = None
    step: StepDefinition | None = None
    again: bool = False


def text_of(command: Command) -> bytes:
    """Return what an outbox row says of a command, as JSON; `command_of` reads it.

    Args:
        command: The command.
    """
    task = command.task
    name, path, node = type(task).__name__, command.path, command.node
    if isinstance(task, SendAnswer):
        return dumps_finite({"task": name, "path": path, "node": node})
    attempt, epoch = task.attempt, task.epoch
    return dumps_finite(
        {"task": name, "path": path, "node": node, "attempt": attempt, "epoch": epoch}
    )


def command_of(row: OutboxRow, live: LiveExecution) -> Command:
    """Return the command that an outbox row stands for.

    Nobody knows whether it was published before the row was loaded.

    Args:
        row: The row, as loaded.
        live: Its execution.

    Raises:
        CorruptRecord: This version does not know such a command.
    """
    try:
        document: Mapping[str, Any] = codec.loads(row.command, "the outbox row")
        key = (row.partition, row.number)
        path, node = document["path"], document["node"]
        return Command(key, live, path, _task_of(document), node, again=True)
    except (KeyError, TypeError, InvalidInput) as error:
        raise CorruptRecord(f"outbox row {row.number}", repr(error)) from error


def _task_of(document: Mapping[str, Any]) -> RunStep | CancelStep | SendAnswer:
    name = document["task"]
    if name == SendAnswer.__name__:
        return SendAnswer()
    kinds: dict[str, type[RunStep | CancelStep]] = {
        RunStep.__name__: RunStep,
        CancelStep.__name__: CancelStep,
    }
    return kinds[name](attempt=document["attempt"], epoch=document["epoch"])


def target_of(command: Command) -> Node | None:
    """Return the step that a command is for, if it is wanted still.

    Args:
        command: The command.
    """
    node = command.live.tree.find(command.path)
    if node is None or node.created != command.node:
        return None
    return node if command.task.validate(node.ref, node) else None


def attempt_in(command: Command) -> Attempt:
    """Return the attempt that a command is about.

    Args:
        command: What sends or cancels an attempt.
    """
    task = command.task
    assert not isinstance(task, SendAnswer), "an answer is about no attempt"
    return Attempt(command.node, task.epoch, task.attempt)


def attempt_of(node: Node) -> Attempt:
    """Return the present attempt of a step.

    Args:
        node: The step.
    """
    data = node.read(STEP)
    return Attempt(node.created, data.epoch, data.attempt)


def attempt_again(live: LiveExecution, node: Node) -> Command | None:
    """Return the command that sends a step's present attempt again, if one is out and may be.

    Args:
        live: The execution.
        node: The step.
    """
    if node.machine is not STEP or node.state is not Status.RUNNING:
        return None
    data = node.read(STEP)
    if data.permit:
        return None
    task = RunStep(attempt=data.attempt, epoch=data.epoch)
    return Command(None, live, node.path, task, node.created, again=True)
