"""Parking: commands for endpoints that nobody serves at the moment.

However many wait for an endpoint, only one of them is tried at a time. As soon as somebody serves
it, all others follow. A command that is parked is a few names and numbers: its execution may leave
the memory meanwhile.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from flow.kernel.commands import CancelStep, RunStep
from flow.ports import Chance, Clock, Timer

__all__ = ["Parked", "Parking"]

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Parked:
    """A command that waits.

    Args:
        endpoint: What it waits for.
        key: The partition and the number of its outbox row, or None if it has none.
        partition: The partition of its execution.
        execution: The execution's id.
        path: The step's path.
        task: What is to be sent.
        node: The number at which the step's node was made.
        again: Whether a copy of it may have reached somebody before.
    """

    endpoint: str
    key: tuple[int, int] | None
    partition: int
    execution: str
    path: str
    task: RunStep | CancelStep
    node: int
    again: bool = False


_Key = tuple[str, int, RunStep | CancelStep]


@dataclass(slots=True)
class _Lot:
    """The commands for one endpoint."""

    commands: deque[Parked] = field(default_factory=deque[Parked])
    tries: int = 0
    alarm: Timer | None = None


class Parking:
    """Keeps commands until somebody serves their endpoints.

    Args:
        clock: The time.
        chance: Jitter.
        retry: Has a command tried; it is parked again if nobody is there still.
    """

    def __init__(self, clock: Clock, chance: Chance, retry: Callable[[Parked], None]) -> None:
        """Begin empty."""
        self._clock = clock
        self._chance = chance
        self._retry = retry
        self._lots: dict[str, _Lot] = {}
        self._held: set[_Key] = set()
        self._count = 0

    def __len__(self) -> int:
        """Return how many commands wait."""
        return self._count

    def holds(self, execution: str, node: int, task: RunStep | CancelStep) -> bool:
        """Return whether a command waits here. One that is being tried does not.

        Args:
            execution: The execution's id.
            node: The number at which the step's node was made.
            task: What is to be sent.
        """
        return (execution, node, task) in self._held

    def park(self, command: Parked) -> None:
        """Keep a command.

        Args:
            command: What waits for its endpoint.
        """
        lot = self._lots.setdefault(command.endpoint, _Lot())
        lot.commands.append(command)
        self._held.add(_key(command))
        self._count += 1
        self._set_alarm(lot)

    def leave(self, endpoint: str) -> None:
        """Let everything go that waits for an endpoint: somebody serves it.

        Args:
            endpoint: What is served again.
        """
        lot = self._lots.pop(endpoint, None)
        if lot is None:
            return
        _cancel(lot)
        commands, lot.commands = lot.commands, deque()
        self._count -= len(commands)
        self._held.difference_update(map(_key, commands))
        for command in commands:
            self._retry(command)

    def skip(self, endpoint: str) -> None:
        """Try the next one for an endpoint now: the one that was tried is not wanted any more.

        Args:
            endpoint: Which.
        """
        lot = self._lots.get(endpoint)
        if lot is not None and lot.commands:
            self._retry_first(lot)

    def forget(self, partitions: Collection[int]) -> None:
        """Forget what belongs to some partitions.

        Args:
            partitions: Which.
        """
        for lot in self._lots.values():
            lost = [each for each in lot.commands if each.partition in partitions]
            self._count -= len(lost)
            self._held.difference_update(map(_key, lost))
            lot.commands = deque(each for each in lot.commands if each.partition not in partitions)

    def clear(self) -> None:
        """Forget everything."""
        for lot in self._lots.values():
            _cancel(lot)
        self._lots.clear()
        self._held.clear()
        self._count = 0

    def _set_alarm(self, lot: _Lot) -> None:
        if lot.alarm is not None:
            return
        limit = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(lot.tries, 10))
        lot.tries += 1
        # Never sooner than half of it, so that many endpoints do not come as a crowd.
        pause = limit * (0.5 + 0.5 * self._chance.random())
        when = self._clock.monotonic() + pause
        lot.alarm = self._clock.call_at(when, lambda: self._try_one(lot))

    def _try_one(self, lot: _Lot) -> None:
        lot.alarm = None
        if lot.commands:
            self._retry_first(lot)
        if lot.commands:
            # The one that was tried may not be wanted any more, and then says nothing.
            self._set_alarm(lot)

    def _retry_first(self, lot: _Lot) -> None:
        self._count -= 1
        command = lot.commands.popleft()
        self._held.discard(_key(command))
        self._retry(command)


def _key(command: Parked) -> _Key:
    return command.execution, command.node, command.task


def _cancel(lot: _Lot) -> None:
    if lot.alarm is not None:
        lot.alarm.cancel()
