"""Runs loads in another process, and measures what they cost all processes that take part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.processes import Child, Meter
from benchmarks.suite import Measurement, Session

__all__ = ["Load", "Run"]


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls, and how many of them at once.

    Args:
        count: How many.
        at_once: How many at the same time.
    """

    count: int
    at_once: int

    @property
    def title(self) -> str:
        """What the table calls it."""
        return "one at a time" if self.at_once == 1 else f"{self.at_once:,} at once"


WARM_UP: Final = Load(200, 50)
RATE: Final = "executions/s"
CPU: Final = "CPU ms each"
"""The processor time of all groups, servers included: it says the same on a busy machine."""


class Run:
    """A process that takes part in a conversation (`benchmarks.loads`), and all others it needs.

    It is waited for, and warmed up.

    Args:
        child: The process.
        groups: The first process of every family, by group.
        session: The session.
        rate: What is counted, such as `executions/s`.
        warm_up: What it runs before anything is measured.
    """

    def __init__(
        self,
        child: Child,
        groups: Mapping[str, Sequence[int]],
        session: Session,
        rate: str = RATE,
        warm_up: Load = WARM_UP,
    ) -> None:
        self._child = child
        self._groups = groups
        self._session = session
        self._rate = rate
        child.says("ready")
        self._ask(warm_up)

    def loads(
        self, whose: str, loads: Iterable[Load], against: Sequence[str] = ()
    ) -> Iterator[Measurement]:
        """Run loads, and yield what each was measured to be.

        Args:
            whose: How the names of the rows begin.
            loads: The loads.
            against: How the names of the rows begin that they are divided by, for each of these.
        """
        for load in loads:
            meter = Meter(self._groups)
            told = self._ask(load)
            cores = meter.cores(told["seconds"])
            values = {
                self._rate: told["per_s"],
                "p50 ms": told["p50_ms"],
                "p99 ms": told["p99_ms"],
                CPU: sum(cores.values()) / told["per_s"] * 1e3,
            }
            # What waits in a queue of thousands says nothing about the time that one takes.
            compared = ("p50 ms",) if load.at_once == 1 else (self._rate, CPU)
            bases = tuple(f"{each}, {load.title}" for each in against)
            yield Measurement(f"{whose}, {load.title}", values, bases, compared, cores)

    def _ask(self, load: Load) -> dict[str, float]:
        count = self._session.scaled(load.count, least=10)
        self._child.tell({"count": count, "at_once": min(load.at_once, count)})
        return self._child.answers()
