"""Named points at which a process can be made to die.

Whatever a process does to its peers goes through points: *before* nothing of it has left the
process, *done* the peer has done it and the process does not know, *after* the process knows,
and dies with its next step. A run without a crash counts the points that it passes; each further
run crashes at one of them, or at two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flow.testing.simulation.processes import SimulatedProcess

__all__ = ["POINTS", "Failpoints", "Passed"]

POINTS: Final = (
    "commit.before",
    "commit.done",
    "commit.after",
    "renew.before",
    "renew.done",
    "renew.after",
    "publish.before",
    "publish.done",
    "publish.after",
    "deliver.before",
    "deliver.after",
    "ack.before",
    "ack.after",
)
"""Every point. `publish.done` is where the broker has a message and its confirm is lost with the
process, `publish.after` where the process has the confirm. An acknowledgement is never answered,
so that it has no `done`; nor has a delivery, which the process receives."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A point that a process has passed.

    Args:
        process: The name of the process.
        point: One of POINTS.
    """

    process: str
    point: str


class Failpoints:
    """Counts the points that are passed, and crashes processes at some.

    Args:
        crash_at: The numbers of the points to crash at: the first one that is passed is 0.
        is_counting: Whether points are counted from the beginning on.

    Attributes:
        crash: Called with the process that has to die now. A cluster sets it.
        passed: The points that were passed, in order. Their numbers are their places here.
        crashes: Those of them at which a process has died.
        is_counting: Whether points are counted at all; what is passed meanwhile has no number.
    """

    def __init__(
        self, crash_at: frozenset[int] = frozenset(), *, is_counting: bool = False
    ) -> None:
        """Begin with none passed."""
        self.crash: Callable[[SimulatedProcess], None] = SimulatedProcess.kill
        self.passed: list[Passed] = []
        self.crashes: list[Passed] = []
        self.is_counting = is_counting
        self._crash_at = crash_at

    def reach(self, process: SimulatedProcess, point: str) -> None:
        """Pass a point, or die there.

        The caller goes on for the rest of its step; what it does to its peers meanwhile does
        nothing, because they are asked whether the process is dead.

        Args:
            process: The process that passes it.
            point: One of POINTS.
        """
        if not self.is_counting or process.is_dead:
            return
        number = len(self.passed)
        passed = Passed(process.name, point)
        self.passed.append(passed)
        if number in self._crash_at:
            self.crashes.append(passed)
            self.crash(process)
