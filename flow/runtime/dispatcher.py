"""The dispatcher: publishes what was committed, until the broker has it.

Every command has an outbox row that was written in the commit that asked for it. The row is
deleted once the command is settled: the broker confirmed it, or it turned out that it cannot or
need not be sent, and that was recorded. Whatever is left in the outbox is sent again by the next
owner.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flow import codec
from flow.codec.bodies import assemble_source
from flow.errors import FlowError, UnavailableError
from flow.kernel.commands import CancelStep, RunStep
from flow.kernel.events import Attempt, Event, StepFailed, StepSucceeded
from flow.kernel.machine import MachineTask
from flow.kernel.steps import STEP
from flow.kernel.tree import Node, Output
from flow.ports import Chance, Clock, Envelope, OutboxRow, Publication, Settlement
from flow.runtime import protocol
from flow.runtime.addresses import Addresses
from flow.runtime.live import LiveExecution
from flow.runtime.parking import Parking
from flow.runtime.protocol import StepRequest, correlation_of, failure_of_error
from flow.runtime.publisher import Publisher
from flow.status import Status
from flow.step import StepKind

__all__ = ["Command", "Dispatcher", "DispatcherHost", "command_of"]

_log = logging.getLogger("flow.dispatcher")

FIRST_BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 10.0


class DispatcherHost(Protocol):
    """What the dispatcher needs of the orchestrator."""

    def happened(self, execution: str, event: Event, settles: tuple[int, int] | None) -> None:
        """Decide about an event that came out of dispatching; settle its row with it."""
        ...

    def settle(self, partition: int, number: int) -> None:
        """Delete an outbox row along with the next commit."""
        ...


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
    """

    key: tuple[int, int] | None
    live: LiveExecution
    path: str
    task: RunStep | CancelStep
    node: int
    tries: int = 0


def command_of(row: OutboxRow, live: LiveExecution) -> Command:
    """Return the command that an outbox row stands for.

    Args:
        row: The row, as loaded.
        live: Its execution.
    """
    document: Mapping[str, Any] = codec.loads(row.command, "the outbox row")
    kind = RunStep if document["task"] == RunStep.__name__ else CancelStep
    task = kind(attempt=document["attempt"], epoch=document["epoch"])
    return Command((row.partition, row.number), live, document["path"], task, document["node"])


class Dispatcher:
    """Publishes commands.

    Args:
        publisher: Publishes messages.
        addresses: The names of the namespace.
        clock: The time.
        chance: Message ids, and jitter.
        host: The orchestrator.

    Attributes:
        unsettled: How many commands are not settled yet.
    """

    def __init__(
        self,
        publisher: Publisher,
        addresses: Addresses,
        clock: Clock,
        chance: Chance,
        host: DispatcherHost,
    ) -> None:
        """Begin with nothing on the way."""
        self._publisher = publisher
        self._addresses = addresses
        self._clock = clock
        self._chance = chance
        self._host = host
        self._generation = 0
        self._room: tuple[int, Callable[[], None]] | None = None
        self._parking: Parking[Command] = Parking(clock, chance, self._try)
        self.unsettled = 0

    def when_below(self, limit: int, notify: Callable[[], None]) -> None:
        """Notify once when fewer commands are on their way.

        Args:
            limit: Fewer than this.
            notify: Called once.
        """
        self._room = (limit, notify)

    def forget(self) -> None:
        """Drop everything that is on its way: the rows are in the store, for the next owner."""
        self._generation += 1
        self._parking.clear()
        self.unsettled = 0

    def send(self, commands: Sequence[Command]) -> None:
        """Publish commands that are durable.

        Args:
            commands: What to publish.
        """
        for command in commands:
            command.live.pins += 1
            if command.key is not None:
                self.unsettled += 1
            self._try(command)

    def send_later(self, command: Command, endpoint: str) -> None:
        """Publish a command after a while, because nobody can do it now.

        Args:
            command: What to publish.
            endpoint: What nobody serves at the moment.
        """
        command.live.pins += 1
        command.live.waiting[command.path] = endpoint
        self._try_later(command, "")

    def _try(self, command: Command) -> None:
        node = command.live.tree.find(command.path)
        if node is None or node.created != command.node or not _is_wanted(command.task, node):
            # Whatever takes its place has to be sent again after a silence, like any other.
            command.live.waiting.pop(command.path, None)
            self._settled(command)
            return
        try:
            publication = self._publication(command, node)
        except FlowError as error:
            self._cannot_send(command, error)
            return
        try:
            future = self._publisher.send(publication)
        except UnavailableError as error:
            self._try_later(command, str(error))
            return
        generation = self._generation
        future.add_done_callback(lambda done: self._published(generation, command, done))

    def _published(self, generation: int, command: Command, done: Any) -> None:
        error: BaseException | None = None if done.cancelled() else done.exception()
        if generation != self._generation or done.cancelled():
            return
        if error is not None:
            self._try_later(command, str(error))
            return
        match done.result():
            case Settlement.CONFIRMED:
                self._confirmed(command)
            case Settlement.UNROUTABLE:
                self._unroutable(command)
            case _:
                self._try_later(command, "the broker refused it")

    def _confirmed(self, command: Command) -> None:
        live = command.live
        live.waiting.pop(command.path, None)
        node = live.tree.find(command.path)
        if not isinstance(command.task, RunStep) or node is None:
            self._settled(command)
            return
        definition = live.program.definition(node)
        if definition.kind is StepKind.PUBLISH:
            attempt = Attempt(command.node, command.task.epoch, command.task.attempt)
            self._settled(command, StepSucceeded(attempt, b"null"))
            return
        self._settled(command)
        self._parking.leave(definition.target)

    def _unroutable(self, command: Command) -> None:
        node = command.live.tree.find(command.path)
        if node is None or not isinstance(command.task, RunStep):
            self._try_later(command, "")
            return
        target = command.live.program.definition(node).target
        command.live.waiting[command.path] = target
        self._parking.park(target, command)

    def _cannot_send(self, command: Command, error: FlowError) -> None:
        attempt = Attempt(command.node, command.task.epoch, command.task.attempt)
        event = StepFailed(attempt, failure_of_error(error), retryable=False)
        self._settled(command, event)

    def _settled(self, command: Command, event: Event | None = None) -> None:
        command.live.pins -= 1
        if command.key is not None:
            self.unsettled -= 1
        if self._room is not None and self.unsettled < self._room[0]:
            (_, notify), self._room = self._room, None
            notify()
        if event is not None:
            self._host.happened(command.live.id, event, command.key)
        elif command.key is not None:
            self._host.settle(*command.key)

    def _try_later(self, command: Command, reason: str) -> None:
        if reason:
            _log.warning("%s %s: %s", command.live.id, command.path, reason)
        limit = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(command.tries, 10))
        command.tries += 1
        # Never sooner than half of it, so that a crowd does not spin.
        wait = limit * (0.5 + 0.5 * self._chance.random())
        generation = self._generation
        self._clock.call_at(
            self._clock.monotonic() + wait,
            lambda: self._try(command) if generation == self._generation else None,
        )

    # -------------------------------------------------------------------- publications

    def _publication(self, command: Command, node: Node) -> Publication:
        if isinstance(command.task, CancelStep):
            return self._cancellation(command)
        definition = command.live.program.definition(node)
        body = self._body(command.live, node)
        headers = command.live.input.headers
        message_id = self._chance.new_id()
        correlation = _correlation(command)
        if definition.kind is StepKind.PUBLISH:
            metadata = _topic(command, headers)
            envelope = Envelope("topic", body, message_id, correlation, "", metadata)
            return Publication(self._addresses.topics, definition.target, envelope, mandatory=False)
        request = StepRequest(
            endpoint=definition.target,
            body=body,
            correlation=correlation,
            reply_to=self._addresses.mailbox_queue(command.live.partition),
            headers=headers,
            execution=command.live.id,
            path=command.path,
            attempt=command.task.attempt,
            timeout_ms=definition.timeout_ms,
            tell_start=definition.start_within_ms is not None,
        )
        return Publication(self._addresses.steps, definition.target, request.envelope(message_id))

    def _body(self, live: LiveExecution, node: Node) -> bytes:
        bodies = live.program.bodies_of(live.tree, node)
        kind, _, name = node.key.partition("/")
        source = bodies.hook_input(name) if kind == "hooks" else bodies.step_input(name)
        return assemble_source(source, f"the input of step {name!r}")

    def _cancellation(self, command: Command) -> Publication:
        headers = {"flow-execution": command.live.id}
        envelope = Envelope(
            protocol.CANCEL,
            b"null",
            self._chance.new_id(),
            _correlation(command),
            "",
            headers,
        )
        return Publication(self._addresses.cancel, "", envelope, mandatory=False)


def _is_wanted(task: MachineTask, node: Node) -> bool:
    return task.validate(node.ref, node)


def _correlation(command: Command) -> str:
    attempt = Attempt(command.node, command.task.epoch, command.task.attempt)
    return correlation_of(command.live.id, attempt)


def _topic(command: Command, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        **headers,
        "flow-execution": command.live.id,
        "flow-path": command.path,
        "flow-key": f"{command.live.id}:{command.path}",
    }


def attempt_again(live: LiveExecution, node: Node) -> Command | None:
    """Return the command that sends a step's present attempt again, if one is out.

    Args:
        live: The execution.
        node: The step.
    """
    if node.machine is not STEP or node.state is not Status.RUNNING:
        return None
    data = node.read(STEP)
    task = RunStep(attempt=data.attempt, epoch=data.epoch)
    return Command(None, live, node.path, task, node.created)


def commands_of(
    commands: Sequence[tuple[OutboxRow, LiveExecution, Output]],
) -> list[Command]:
    """Return the commands of a batch that was committed.

    Args:
        commands: Its rows, with the execution and the task that each stands for.
    """
    return [
        Command((row.partition, row.number), live, output.ref.path, output.task, output.ref.created)
        for row, live, output in commands
        if isinstance(output.task, RunStep | CancelStep)
    ]
