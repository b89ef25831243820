"""Puts what anyio cancels at once into an order that repeats.

A cancelled task group of anyio goes through a set of cancel scopes, one for each of its tasks, in
the order of their addresses. Each cancellation makes the next step of a task ready, so that what
follows would differ from run to run. Here the steps that one callback has made ready by such
cancellations are sorted: by the numbers of the tasks, which is the order in which they began.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final

__all__ = ["CancelOrder", "is_of_a_scope"]

_OF_A_SCOPE: Final = "Cancelled via cancel scope"


def is_of_a_scope(message: object) -> bool:
    """Return whether it is a cancel scope of anyio that cancels.

    Args:
        message: What the cancellation says.
    """
    return isinstance(message, str) and message.startswith(_OF_A_SCOPE)


class CancelOrder:
    """Sorts the end of a list of callbacks that are ready, for one event loop.

    Args:
        ready: The list, always the same one.
        steps: Returns the number of the step that runs.
    """

    def __init__(self, ready: list[Any], steps: Callable[[], int]) -> None:
        """Begin with nothing to sort."""
        self._ready = ready
        self._steps = steps
        self._step = -1
        self._begin: int = 0
        self._numbers: list[int] = []
        self._is_inside = False

    def run(self, number: int, cancel: Callable[[], bool]) -> bool:
        """Cancel a task, and put what becomes ready by that in its place.

        Args:
            number: The number of the task.
            cancel: Cancels it, and returns whether it could.
        """
        if self._is_inside:
            return cancel()  # It goes with the task that waits for it.
        begin = len(self._ready)
        self._is_inside = True
        try:
            return cancel()
        finally:
            self._is_inside = False
            self._put_in_place(number, begin)

    def _put_in_place(self, number: int, begin: int) -> None:
        if self._step != self._steps() or begin != self._begin + len(self._numbers):
            self._step, self._begin = self._steps(), begin
            self._numbers.clear()
        added = self._ready[begin:]
        place = bisect_right(self._numbers, number)
        self._numbers[place:place] = [number] * len(added)
        if begin != self._begin + place:
            del self._ready[begin:]
            self._ready[self._begin + place : self._begin + place] = added
