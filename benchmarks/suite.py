"""What every benchmark gives and gets: measurements, the session, and the registry.

A benchmark is a function that measures everything it has *once* and returns the rows. It is
called once for each round, so that whatever is compared is measured in turn (ours, the floor,
ours, the floor …) on a machine whose speed changes. Each module of `benchmarks/subjects` registers
its own:

    @benchmark("planning", "Planning a graph")
    def planning(session: Session) -> Iterator[Measurement]:
        yield Measurement("flowmq, 1k steps", {"ms": 4.2}, against="networkx, 1k steps")
        yield Measurement("networkx, 1k steps", {"ms": 2.2})
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Figure",
    "Goal",
    "Measurement",
    "Row",
    "Servers",
    "Session",
    "benchmark",
    "summarize",
]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one round has measured of one thing: a row of the table.

    Args:
        name: The row, the same in every round.
        values: Numbers by column; a column says its unit, such as `p50 ms`.
        against: The row of the same round that it is divided by, or several; or nothing. What
            stands before the first comma of that row's name is who it belongs to.
        compared: The columns that are divided; by default the first one.
        cores: Processor cores used, by group of processes.
    """

    name: str
    values: Mapping[str, float]
    against: str | tuple[str, ...] = ""
    compared: tuple[str, ...] = ()
    cores: Mapping[str, float] = field(default_factory=dict[str, float])


class Servers(Protocol):
    """The RabbitMQ and the PostgreSQL of this run, which start when they are first asked for."""

    def broker_url(self) -> str:
        """Return the URL of an empty virtual host; what the last one held is gone."""
        ...

    def database_url(self) -> str:
        """Return the URL of an empty database; the last one is gone."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Return what was started, with its version."""
        ...

    def groups(self) -> Mapping[str, Sequence[int]]:
        """Return the first process of each server that runs, for a `Meter`."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """What a benchmark may use.

    Args:
        servers: Servers of this run.
        peers: Other systems that are measured beside ours, such as `dbos`.
        scale: Multiplies how much is measured; less than 1 to try whether a benchmark works.
        round: The number of the round, from 1.
        versions: What is measured besides the servers, with its version; benchmarks add to it.
    """

    servers: Servers
    peers: frozenset[str] = frozenset()
    scale: float = 1.0
    round: int = 1
    versions: dict[str, str] = field(default_factory=dict[str, str])

    def scaled(self, count: int, least: int = 1) -> int:
        """Return how many to measure.

        Args:
            count: How many at full scale.
            least: How many at least.
        """
        return max(least, round(count * self.scale))


Measure = Callable[[Session], Iterable[Measurement]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure or a ratio of a benchmark should be.

    Args:
        row: The row's name.
        column: The figure or ratio, such as `calls/s ÷ raw floor`.
        least: What it should at least be, or None.
        most: What it should at most be, or None.
    """

    row: str
    column: str
    least: float | None = None
    most: float | None = None

    def is_met_by(self, value: float) -> bool:
        """Return whether a value is what it should be."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A registered benchmark.

    Args:
        name: What it is called on the command line and in the document.
        title: The heading of its table.
        measure: Measures one round.
        rounds: How many rounds it has at most; 0 for as many as asked for.
        goals: What some of its figures should be.
    """

    name: str
    title: str
    measure: Measure
    rounds: int = 0
    goals: tuple[Goal, ...] = ()


BENCHMARKS: dict[str, Benchmark] = {}
"""All that were registered, by name, in the order in which they were."""


def benchmark(
    name: str, title: str, *, rounds: int = 0, goals: Iterable[Goal] = ()
) -> Callable[[Measure], Measure]:
    """Register a function as a benchmark.

    Args:
        name: What it is called on the command line and in the document.
        title: The heading of its table.
        rounds: How many rounds it has at most; 0 for as many as asked for.
        goals: What some of its figures should be.

    Returns:
        What registers the function, and returns it unchanged.
    """

    def register(measure: Measure) -> Measure:
        if name in BENCHMARKS:
            raise ValueError(f"two benchmarks are called {name!r}")
        BENCHMARKS[name] = Benchmark(name, title, measure, rounds, tuple(goals))
        return measure

    return register


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of several rounds: its median and its extremes."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return the figure of some values, of which there is at least one."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the finished table.

    Args:
        name: What was measured.
        figures: Figures by column.
        ratios: Quotients by what they are of, such as `executions/s ÷ raw floor`.
        cores: The median of the cores used, by group of processes.
    """

    name: str
    figures: Mapping[str, Figure]
    ratios: Mapping[str, Figure]
    cores: Mapping[str, float]


def summarize(rounds: Sequence[Sequence[Measurement]]) -> list[Row]:
    """Return one row for each name, in the order in which they came first.

    A ratio is the median of the quotients of each round, not the quotient of the medians: what was
    measured side by side is what can be compared.

    Args:
        rounds: The measurements of each round.
    """
    names = dict.fromkeys(each.name for measured in rounds for each in measured)
    by_round = [{each.name: each for each in measured} for measured in rounds]
    return [_row(name, by_round) for name in names]


def _row(name: str, rounds: Sequence[Mapping[str, Measurement]]) -> Row:
    figures: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    cores: dict[str, list[float]] = {}
    for measured in rounds:
        if name not in measured:
            continue
        one = measured[name]
        _collect(figures, one.values)
        _collect(cores, one.cores)
        bases = (one.against,) if isinstance(one.against, str) else one.against
        for base in bases:
            if base in measured:
                _collect(ratios, _quotients(one, measured[base]))
    return Row(
        name,
        {column: Figure.of(values) for column, values in figures.items()},
        {what: Figure.of(values) for what, values in ratios.items()},
        {group: statistics.median(values) for group, values in cores.items()},
    )


def _collect(into: dict[str, list[float]], values: Mapping[str, float]) -> None:
    for key, value in values.items():
        into.setdefault(key, []).append(value)


def _quotients(one: Measurement, base: Measurement) -> dict[str, float]:
    columns = one.compared or tuple(one.values)[:1]
    whose = base.name.partition(",")[0]
    return {
        f"{column} ÷ {whose}": one.values[column] / base.values[column]
        for column in columns
        if column in one.values and base.values.get(column)
    }
