"""Crashes processes at every point, and at every pair of points: `python -m … --jobs 2`.

First a flow of `crash_plans` runs without a crash, which counts the points that are passed. Then
it runs once for each point *i*, with a crash there. What is passed after that crash is another
sequence, counted on from *i*; for each of its points *j* the flow runs once more, with crashes at
*i* and at *j*. So all histories with one crash and with two are run, exhaustively.

The last line is `N points, N runs, N violations`, and the exit code is 1 with violations. For
whatever is found, the command that replays it is printed.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from flow.testing.simulation.failpoints import POINTS
from tests.simulation.crash_plans import KINDS, CrashKind
from tests.simulation.crash_run import CrashRun, crash
from tests.simulation.run import quietly

__all__ = ["Swept", "main", "sweep"]

PROGRESS_S: Final = 10.0
GARBAGE: Final = 300_000
"""So many objects are made before garbage is looked for: those of about ten runs."""


@dataclass(slots=True)
class Swept:
    """What came of several runs.

    Args:
        runs: How many there were.
        violations: How many there were.
        incidents: How many of the runs had to be ended by a person.
        crashes: At how many points of each kind processes crashed.
        failed: What there is to say of the runs with violations.
    """

    runs: int = 0
    violations: int = 0
    incidents: int = 0
    crashes: Counter[str] = field(default_factory=Counter[str])
    failed: list[str] = field(default_factory=list[str])

    def add(self, run: CrashRun) -> None:
        """Count a run.

        Args:
            run: What came of it.
        """
        self.runs += 1
        self.violations += len(run.violations)
        self.incidents += run.has_incident
        self.crashes.update(each.point for each in run.crashes)
        if run.violations:
            self.failed.append("\n".join(run.describe()))

    def merge(self, other: Swept) -> None:
        """Count what came of other runs.

        Args:
            other: What came of them.
        """
        self.runs += other.runs
        self.violations += other.violations
        self.incidents += other.incidents
        self.crashes.update(other.crashes)
        self.failed += other.failed


def sweep(first: int, every: int = 1, kind: CrashKind = "flow") -> Swept:
    """Crash at a point, and then at each point that is passed after that crash.

    Args:
        first: The number of the point.
        every: Which part of the second points is taken: every n-th, others for each first one.
        kind: Which flow is run.
    """
    swept = Swept()
    with quietly():
        single = crash(first, kind=kind)
        swept.add(single)
        for second in range(first + 1 + first % every, len(single.passed), every):
            swept.add(crash(first, second, kind=kind))
    return swept


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    with quietly():
        if options.at is not None:
            return _replay(options.at, options.trace, options.kind)
        return _sweep(options.jobs, options.every, options.kind)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.crash_points", description=__doc__
    )
    parser.add_argument("--jobs", type=int, default=1, help="in how many processes")
    parser.add_argument("--every", type=int, default=1, help="which part of the pairs: every n-th")
    parser.add_argument("--kind", choices=KINDS, default="flow", help="what is run")
    parser.add_argument("--at", type=_numbers, help="replay crashes at these points, such as 17,42")
    parser.add_argument("--trace", action="store_true", help="print all that happened")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(int(number) for number in text.split(","))


def _replay(crash_at: tuple[int, ...], is_traced: bool, kind: CrashKind) -> int:  # noqa: FBT001
    run = crash(*crash_at, kind=kind)
    if is_traced:
        _say("\n".join(map(str, run.trace)))
    _say("\n".join(run.describe()))
    _say(f"hash {run.hash}")
    _say(f"{len(run.passed)} points, 1 runs, {len(run.violations)} violations")
    return 1 if run.violations else 0


def _sweep(jobs: int, every: int, kind: CrashKind) -> int:
    without = crash(kind=kind)
    points = len(without.passed)
    total = Swept()
    total.add(without)
    said_s = began_s = time.monotonic()
    some = partial(sweep, every=every, kind=kind)
    for done, swept in enumerate(_swept(some, points, jobs), 1):
        total.merge(swept)
        for each in swept.failed:
            _say(each)
        if time.monotonic() - said_s >= PROGRESS_S:
            said_s = time.monotonic()
            _say(f"{done} of {points} points, {total.runs:,} runs, {total.violations} violations")
    for point in POINTS:
        _say(f"{total.crashes[point]:>10,}  crashes at {point}")
    _say(f"{total.incidents:>10,}  runs that a person had to look at")
    _say(f"{time.monotonic() - began_s:,.0f} seconds")
    _say(f"{points} points, {total.runs} runs, {total.violations} violations")
    return 1 if total.violations else 0


def _swept(some: Callable[[int], Swept], points: int, jobs: int) -> Iterator[Swept]:
    if jobs == 1:
        yield from map(some, range(points))
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _prepare) as pool:
        yield from pool.imap_unordered(some, range(points))


def _prepare() -> None:
    """Have a process collect its garbage once in many runs; it saves a sixth of its time."""
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
