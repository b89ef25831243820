"""Runs loads in other processes, and measures what they cost all processes that take part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from benchmarks.loads import Told, percentile
from benchmarks.processes import DEADLINE_S, Child, Meter
from benchmarks.suite import Measurement, Session

__all__ = ["Contender", "Load", "Run", "in_turn"]


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls, and how many of them at once.

    Args:
        count: How many.
        at_once: How many at the same time.
        parts: In how many parts they are run, between the parts of whoever is measured beside.
    """

    count: int
    at_once: int
    parts: int = 1

    @property
    def title(self) -> str:
        """What the table calls it."""
        return "one at a time" if self.at_once == 1 else f"{self.at_once:,} at once"


WARM_UP: Final = Load(200, 50)
RATE: Final = "executions/s"
CPU: Final = "CPU ms each"
"""The processor time of all groups, servers included: it says the same on a busy machine."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a load, as it was run: how many calls, what was told, and seconds by group."""

    count: int
    told: Told
    cpu: Mapping[str, float]


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
        self.session = session
        self.rate = rate
        self._child = child
        self._groups = groups
        child.says("ready")
        self.part(warm_up)

    def loads(
        self, whose: str, loads: Iterable[Load], against: Sequence[str] = ()
    ) -> Iterator[Measurement]:
        """Run loads, and yield what each was measured to be.

        Args:
            whose: How the names of the rows begin.
            loads: The loads.
            against: How the names of the rows begin that they are divided by, for each of these.
        """
        yield from in_turn([Contender(whose, self, tuple(against))], loads)

    def part(self, load: Load, times: int = 1) -> _Part:
        """Run one part of a load.

        Args:
            load: The load.
            times: How many times as many calls as it says.
        """
        count = self.session.scaled(load.count * times // load.parts, least=10)
        meter = Meter(self._groups)
        self._child.tell({"count": count, "at_once": min(load.at_once, count)})
        told: Told = orjson.loads(self._child.says("{", DEADLINE_S))
        return _Part(count, told, meter.cores(seconds=1.0))


@dataclass(frozen=True, slots=True)
class Contender:
    """Someone who is measured beside others.

    Args:
        whose: How the names of the rows begin.
        run: The run.
        against: How the names of the rows begin that they are divided by.
        times: How many times as much is measured; for who is so fast that it were over at once.
    """

    whose: str
    run: Run
    against: tuple[str, ...] = ()
    times: int = 1


def in_turn(contenders: Sequence[Contender], loads: Iterable[Load]) -> Iterator[Measurement]:
    """Run loads, part by part, by one after the other; another one begins each time.

    Args:
        contenders: Whose turn it is.
        loads: The loads.

    Yields:
        What each load was measured to be, all of its parts together.
    """
    for load in loads:
        parts: list[list[_Part]] = [[] for _ in contenders]
        for number in range(load.parts):
            pairs = list(zip(contenders, parts, strict=True))
            is_other_way = (number + contenders[0].run.session.round) % 2 == 0
            for each, found in reversed(pairs) if is_other_way else pairs:
                times = each.times if load.at_once > 1 else 1
                found.append(each.run.part(load, times))
        for each, found in zip(contenders, parts, strict=True):
            yield _measurement(each, load, found)


def _measurement(who: Contender, load: Load, parts: Sequence[_Part]) -> Measurement:
    count = sum(part.count for part in parts)
    seconds = sum(part.told["seconds"] for part in parts)
    cpu = {group: sum(part.cpu[group] for part in parts) for group in parts[0].cpu}
    values = {
        who.run.rate: count / seconds,
        **_waits(parts),
        CPU: sum(cpu.values()) / count * 1e3,
    }
    # What waits in a queue of thousands says nothing about the time that one takes.
    compared = ("p50 ms",) if load.at_once == 1 else (who.run.rate, CPU)
    bases = tuple(f"{each}, {load.title}" for each in who.against)
    cores = {group: spent / seconds for group, spent in cpu.items()}
    return Measurement(f"{who.whose}, {load.title}", values, bases, compared, cores)


def _waits(parts: Sequence[_Part]) -> dict[str, float]:
    """Return the percentiles of all parts together."""
    if len(parts) == 1:
        return {"p50 ms": parts[0].told["p50_ms"], "p99 ms": parts[0].told["p99_ms"]}
    waits = [wait for part in parts for wait in part.told["waits_ms"]]
    return {"p50 ms": percentile(waits, 0.5), "p99 ms": percentile(waits, 0.99)}
