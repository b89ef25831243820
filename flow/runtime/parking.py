"""Parking: commands for endpoints that nobody serves at the moment.

However many wait for an endpoint, only one of them is tried at a time. As soon as the broker takes
one, all others follow.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from flow.ports import Chance, Clock, Timer

__all__ = ["Parking"]

CommandT = TypeVar("CommandT")

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0


@dataclass(slots=True)
class _Lot(Generic[CommandT]):
    """The commands for one endpoint."""

    commands: deque[CommandT] = field(default_factory=deque[CommandT])
    tries: int = 0
    alarm: Timer | None = None


class Parking(Generic[CommandT]):
    """Keeps commands until somebody serves their endpoints.

    Args:
        clock: The time.
        chance: Jitter.
        retry: Tries a command; it is parked again if nobody is there still.
    """

    def __init__(self, clock: Clock, chance: Chance, retry: Callable[[CommandT], None]) -> None:
        """Begin empty."""
        self._clock = clock
        self._chance = chance
        self._retry = retry
        self._lots: dict[str, _Lot[CommandT]] = {}

    def __len__(self) -> int:
        """Return how many commands wait."""
        return sum(len(lot.commands) for lot in self._lots.values())

    def park(self, endpoint: str, command: CommandT) -> None:
        """Keep a command.

        Args:
            endpoint: What nobody serves.
            command: What waits for it.
        """
        lot = self._lots.setdefault(endpoint, _Lot())
        lot.commands.append(command)
        self._set_alarm(endpoint, lot)

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
        for command in commands:
            self._retry(command)

    def clear(self) -> None:
        """Forget everything."""
        for lot in self._lots.values():
            _cancel(lot)
        self._lots.clear()

    def _set_alarm(self, endpoint: str, lot: _Lot[CommandT]) -> None:
        if lot.alarm is not None:
            return
        limit = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(lot.tries, 10))
        lot.tries += 1
        # Never sooner than half of it, so that many endpoints do not come as a crowd.
        pause = limit * (0.5 + 0.5 * self._chance.random())
        when = self._clock.monotonic() + pause
        lot.alarm = self._clock.call_at(when, lambda: self._try_one(endpoint, lot))

    def _try_one(self, endpoint: str, lot: _Lot[CommandT]) -> None:
        lot.alarm = None
        if lot.commands:
            self._retry(lot.commands.popleft())
        if lot.commands:
            # The one that was tried may not be wanted any more, and then says nothing.
            self._set_alarm(endpoint, lot)


def _cancel(lot: _Lot[CommandT]) -> None:
    if lot.alarm is not None:
        lot.alarm.cancel()
