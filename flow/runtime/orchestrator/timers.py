"""Timers: wakes whoever has something due, and nobody else.

One alarm is set for the earliest moment. Entries that were put off stay in the heap and are
passed over when their time comes, which is cheaper than to look for them.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from flow.ports import Clock, Timer

__all__ = ["Timers"]


class Timers:
    """Calls back with the names whose time has come.

    Args:
        clock: The time.
        fire: Called on the event loop with the names that are due, in the order of their times.
    """

    def __init__(self, clock: Clock, fire: Callable[[Sequence[str]], None]) -> None:
        """Begin without an alarm."""
        self._clock = clock
        self._fire = fire
        self._times: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._alarm: Timer | None = None
        self._alarm_ms = 0

    def set(self, name: str, wake_ms: int | None) -> None:
        """Wake *name* at a time, and at no other.

        Args:
            name: Who.
            wake_ms: When (wall time), or None for never.
        """
        if wake_ms is None:
            self._times.pop(name, None)
            return
        if self._times.get(name) == wake_ms:
            return
        self._times[name] = wake_ms
        heappush(self._heap, (wake_ms, name))
        self._arm()

    def time(self, name: str) -> int | None:
        """Return when *name* is woken, or None."""
        return self._times.get(name)

    def adjust(self) -> None:
        """Set the alarm anew: the wall time has jumped."""
        self._disarm()
        self._arm()

    def clear(self) -> None:
        """Wake nobody any more."""
        self._times.clear()
        self._heap.clear()
        self._disarm()

    def _arm(self) -> None:
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        if not self._heap:
            self._disarm()
            return
        first = self._heap[0][0]
        if self._alarm is not None and self._alarm_ms <= first:
            return
        self._disarm()
        wait = max(0, first - self._clock.now_ms()) / 1000
        self._alarm_ms = first
        self._alarm = self._clock.call_at(self._clock.monotonic() + wait, self._ring)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        self._alarm = None
        now = self._clock.now_ms()
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            wake_ms, name = heappop(self._heap)
            if self._times.get(name) == wake_ms:
                del self._times[name]
                due.append(name)
        self._arm()
        if due:
            self._fire(due)
