"""The dispatcher: publishes what was committed, until the broker has it.

Every command has an outbox row that was written in the commit that asked for it. The row is
deleted once the command is settled: the broker confirmed it, or it turned out that it cannot or
need not be sent, and that was recorded. Whatever is left in the outbox is sent again by the next
owner.

Two kinds of commands cannot go yet, and are parked without keeping their execution in memory:
those that the broker returns because nobody serves their endpoint, until one is taken; and those
that a worker refused because its version does not have the endpoint, until one is answered.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from flow.errors import BrokerUnavailable, FlowError, UnavailableError
from flow.kernel.commands import RunStep, SendAnswer
from flow.kernel.events import Event, StepCancelled, StepFailed, StepSucceeded
from flow.ports import Chance, Clock, Settlement
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator.commands import Command, attempt_in, target_of
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.parking import Parked, Parking
from flow.runtime.orchestrator.publications import Publications
from flow.runtime.protocol import failure_of_error
from flow.runtime.publisher import Publisher
from flow.step import StepKind

__all__ = ["Dispatcher", "DispatcherHost"]

_log = logging.getLogger("flow.dispatcher")

FIRST_BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 10.0
PARKED_FREELY: Final = 200_000
"""So many commands may be parked before each more counts as being on its way."""


class DispatcherHost(Protocol):
    """What the dispatcher needs of the orchestrator."""

    def happened(self, execution: str, event: Event, settles: tuple[int, int] | None) -> None:
        """Decide about an event that came out of dispatching; settle its row with it."""
        ...

    def settle(self, partition: int, number: int) -> None:
        """Delete an outbox row along with the next commit."""
        ...

    def unpark(self, command: Parked) -> None:
        """Have a command tried again that was parked: bring its execution in before."""
        ...

    def is_ours(self, live: LiveExecution) -> bool:
        """Return whether an execution is what is in memory, and may be acted upon."""
        ...


class Dispatcher:
    """Publishes commands.

    Args:
        publisher: Publishes messages.
        addresses: The names of the namespace.
        clock: The time.
        chance: Message ids, and jitter.
        host: The orchestrator.

    Attributes:
        unsettled: How many commands are neither settled nor parked.
        refusals: The commands that workers have refused.
        waiting: Which endpoints the steps of executions wait for, by execution and path.
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
        self._publications = Publications(addresses, chance)
        self._clock = clock
        self._chance = chance
        self._host = host
        self._generation = 0
        self._room: tuple[int, Callable[[], None]] | None = None
        self._parking = Parking(clock, chance, host.unpark)
        self.refusals = Parking(clock, chance, host.unpark)
        self.unsettled = 0
        self.waiting: dict[str, dict[str, str]] = {}

    @property
    def load(self) -> int:
        """How many commands have to be counted before more work is taken on."""
        parked = len(self._parking) + len(self.refusals)
        return self.unsettled + max(0, parked - PARKED_FREELY)

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
        self.refusals.clear()
        self.waiting.clear()
        self.unsettled = 0

    def lose(self, partitions: Collection[int], partition_of: Callable[[str], int]) -> None:
        """Drop what is parked for partitions that are somebody else's.

        What is on its way notices it by itself.

        Args:
            partitions: Which.
            partition_of: Returns the partition of an execution.
        """
        self._parking.forget(partitions)
        self.refusals.forget(partitions)
        for execution in [name for name in self.waiting if partition_of(name) in partitions]:
            # Nobody has it parked any more. If it were taken for waiting after the next load,
            # it would not be sent again, however long nothing is heard of it.
            del self.waiting[execution]

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

    def refused(self, command: Command, endpoint: str) -> bool:
        """Park a command that a worker has refused, until somebody answers for the endpoint.

        The refusal may overtake the confirm: then the command still counts as on its way.

        Args:
            command: What to publish then.
            endpoint: What the worker does not have.

        Returns:
            Whether it was not parked already, because a copy of it was refused before.
        """
        is_new = not self._is_parked(command)
        if is_new:
            self._park(self.refusals, command, endpoint)
        return is_new

    def served(self, endpoint: str) -> None:
        """Send what was refused for an endpoint: somebody has answered for it.

        Args:
            endpoint: Which.
        """
        self.refusals.leave(endpoint)

    def unpark(self, parked: Parked, live: LiveExecution | None, *, is_broken: bool) -> None:
        """Try a command again that was parked.

        Args:
            parked: The command.
            live: Its execution, or None if it does not exist any more, or cannot be loaded.
            is_broken: Whether it cannot be loaded. Its row is kept then, until it is repaired.
        """
        if live is not None:
            command = Command(parked.key, live, parked.path, parked.task, parked.node)
            command.again = parked.again
            self.send([command])
            if target_of(command) is not None:
                return
        else:
            self.waiting.pop(parked.execution, None)
            if parked.key is not None and not is_broken:
                # Unless its partition was lost meanwhile; then this is not for us to do.
                self._host.settle(*parked.key)
        self._parking.skip(parked.endpoint)
        self.refusals.skip(parked.endpoint)

    def _try(self, command: Command) -> None:
        if not self._host.is_ours(command.live):
            # It is in the store, for whoever has the partition.
            self._let_go(command)
            return
        node = target_of(command)
        if node is None:
            # Whatever takes its place has to be sent again after a silence, like any other.
            self._forget_waiting(command)
            self._settled(command, _never_sent(command))
            return
        try:
            publication = self._publications.of(command, node)
        except FlowError as error:
            self._cannot_send(command, error)
            return
        try:
            self._publisher.post(publication, partial(self._published, self._generation, command))
        except UnavailableError as error:
            self._try_later(command, error)

    def _published(
        self,
        generation: int,
        command: Command,
        outcome: Settlement | None,
        error: Exception | None,
    ) -> None:
        if generation != self._generation:
            return
        if not self._host.is_ours(command.live):
            self._let_go(command)
            return
        if outcome is Settlement.CONFIRMED:
            self._confirmed(command)
        elif outcome is Settlement.UNROUTABLE:
            self._unroutable(command)
        else:
            # The broker may have it all the same.
            command.again = True
            self._try_later(command, error or "the broker refused it")

    def _confirmed(self, command: Command) -> None:
        if command.live.waiting and not self._is_parked(command):
            # Else a worker has got it and refused it, before the broker has said so.
            self._forget_waiting(command)
        step = command.step
        if step is not None and step.kind is StepKind.PUBLISH:
            self._settled(command, StepSucceeded(attempt_in(command), b"null"))
            return
        self._settled(command)
        if step is not None:
            self._parking.leave(step.target)

    def _unroutable(self, command: Command) -> None:
        if isinstance(command.task, SendAnswer):
            # Whoever waited for it is gone, and with it the queue.
            self._settled(command)
            return
        if command.step is None:
            self._try_later(command, "")
            return
        self._let_go(command)
        self._park(self._parking, command, command.step.target)

    def _park(self, parking: Parking, command: Command, endpoint: str) -> None:
        live = command.live
        live.waiting = self.waiting.setdefault(live.id, live.waiting)
        live.waiting[command.path] = endpoint
        task, node = command.task, command.node
        assert not isinstance(task, SendAnswer), "an answer waits for no endpoint"
        key, again = command.key, command.again
        parking.park(
            Parked(endpoint, key, live.partition, live.id, command.path, task, node, again)
        )

    def _is_parked(self, command: Command) -> bool:
        task = command.task
        if command.path not in command.live.waiting or isinstance(task, SendAnswer):
            return False
        key = command.live.id, command.node, task
        return self.refusals.holds(*key) or self._parking.holds(*key)

    def _forget_waiting(self, command: Command) -> None:
        live = command.live
        live.waiting.pop(command.path, None)
        if not live.waiting:
            self.waiting.pop(live.id, None)

    def _cannot_send(self, command: Command, error: FlowError) -> None:
        attempt = attempt_in(command)
        # Nobody has got it, so that its handler surely did not start.
        failure = replace(failure_of_error(error), phase="request")
        event = StepFailed(attempt, failure, retryable=False)
        self._settled(command, event)

    def _let_go(self, command: Command) -> None:
        command.live.pins -= 1
        if command.key is not None:
            self.unsettled -= 1
        if self._room is not None and self.load < self._room[0]:
            (_, notify), self._room = self._room, None
            notify()
        if command.told is not None:
            command.told()

    def _settled(self, command: Command, event: Event | None = None) -> None:
        self._let_go(command)
        if event is not None:
            self._host.happened(command.live.id, event, command.key)
        elif command.key is not None:
            self._host.settle(*command.key)

    def _try_later(self, command: Command, reason: BaseException | str) -> None:
        if reason:
            # That the broker is away is told once, and not for each message.
            level = logging.DEBUG if isinstance(reason, BrokerUnavailable) else logging.WARNING
            _log.log(level, "%s %s: %s", command.live.id, command.path, reason)
        limit = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(command.tries, 10))
        command.tries += 1
        # Never sooner than half of it, so that a crowd does not spin.
        wait = limit * (0.5 + 0.5 * self._chance.random())
        generation = self._generation
        self._clock.call_at(
            self._clock.monotonic() + wait,
            lambda: self._try(command) if generation == self._generation else None,
        )


def _never_sent(command: Command) -> Event | None:
    """Return that an attempt which is not wanted any more never began, if nobody has got it.

    No worker could say so. One that is tried again may have been sent again meanwhile.
    """
    is_first = command.key is not None and not (command.again or command.tries)
    if not is_first or not isinstance(command.task, RunStep):
        return None
    return StepCancelled(attempt_in(command), began=False)
