"""Many seeds, in several processes: what is found, how often, and how far it is."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from flow.testing.simulation.failpoints import POINTS
from tests.simulation.invention import invent
from tests.simulation.run import Outcome, run
from tests.simulation.scenario import Scenario

__all__ = ["FEATURES", "RARE", "Search", "Totals", "features_of"]

PROGRESS_S: Final = 10.0

FEATURES: Final = (
    "a step of kind run",
    "a step of kind block",
    "a step of kind publish",
    "a step of kind nested",
    *(f"an undo of style {style}" for style in ("same", "told", "back")),
    *(f"on_error={mode}" for mode in ("stop", "continue", "compensate")),
    *(f"on_undo_error={mode}" for mode in ("continue", "stop")),
    *(f"a sub-workflow with on_error={mode}" for mode in ("continue", "compensate")),
    *(f"a start with {name}" for name in ("on_error", "on_undo_error")),
    *(f"a step with {name}" for name in ("uses", "is_long", "at_most_once", "optional")),
    *(f"a step with {name}" for name in ("fallback", "concurrency")),
    *("barrier", "hook", "a start by two clients", "a start twice by one client"),
    *(f"an answered start: {way}" for way in ("execute", "run", "trigger", "trigger and wait")),
    *(f"a handler: {outcome}" for outcome in ("succeed", "error", "fail", "retry", "skip")),
    *(f"an undo: {outcome}" for outcome in ("succeed", "error", "fail", "retry", "skip")),
    *("a handler: timeout", "a topic was heard", "an incident"),
    *(f"obeyed: {verb}" for verb in ("suspend", "stop", "resume", "abort", "retry")),
    *(f"obeyed: {verb}" for verb in ("pause", "unpause", "suspend all", "resume all")),
    *(f"obeyed: {verb}" for verb in ("compensate", "undo", "undo step", "resolve")),
    *("undone by hand", "resolved by hand"),
    *(f"ended in {status}" for status in ("SUCCESS", "FAILURE", "ABORTED", "COMPENSATED")),
    *(f"fault: crash of a {role}" for role in ("orchestrator", "worker", "client")),
    *(f"fault: pause of a {role}" for role in ("orchestrator", "worker")),
    *(f"fault: crash at {point}" for point in POINTS),
    *("fault: crash of several at once", "fault: pause past the lease"),
    *(f"fault: cut from the {server}" for server in ("broker", "store", "broker and the store")),
    *(f"fault: cut {way}" for way in ("there", "back", "there and back")),
    *(f"fault: {kind}" for kind in ("jump of a clock", "store clock", "wipe", "purge", "leave")),
    *(f"fault: {kind}" for kind in ("broker outage", "broker blocked", "store outage", "join")),
)
"""What has to happen somewhere in a few hundred seeds; or else the simulator is broken."""


RARE: Final = frozenset(
    {
        *("an incident", "obeyed: resolve", "a sub-workflow with on_error=continue"),
        *("undone by hand", "resolved by hand"),
        *(f"fault: crash at {point}" for point in POINTS),
    }
)
"""What of it takes some hundreds."""


@dataclass
class Totals:
    """What came of many runs.

    Attributes:
        seeds: How many were run.
        failed: The outcomes with violations.
        counts: How often each kind of thing has happened.
        seconds: Virtual seconds.
        steps: Callbacks.
    """

    seeds: int = 0
    failed: list[Outcome] = field(default_factory=list[Outcome])
    counts: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    steps: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one run.

        Args:
            outcome: What came of it.
        """
        self.seeds += 1
        self.counts.update(outcome.counts)
        self.counts.update(features_of(outcome.scenario))
        self.seconds += outcome.seconds
        self.steps += outcome.steps
        if outcome.violations:
            self.failed.append(outcome)

    @property
    def violations(self) -> int:
        """How many violations there were."""
        return sum(len(outcome.violations) for outcome in self.failed)

    def missing(self) -> list[str]:
        """Return what should have happened and did not."""
        return [feature for feature in FEATURES if not self.counts[feature]]

    def table(self) -> Iterator[str]:
        """Go through the lines of a table of what has happened."""
        for what in sorted({*FEATURES, *self.counts}):
            yield f"{self.counts[what]:>10,}  {what}"


def features_of(scenario: Scenario) -> Iterator[str]:
    """Go through what a scenario makes use of.

    Args:
        scenario: The scenario.
    """
    for start in scenario.executions:
        yield from scenario.program_of(start.id).features()
        if len(start.clients) > 1:
            is_same = len(set(start.clients)) == 1
            yield "a start twice by one client" if is_same else "a start by two clients"
        yield from ["a start with on_error"] if start.on_error else []
        yield from ["a start with on_undo_error"] if start.on_undo_error else []


class Search:
    """Runs many seeds.

    Args:
        jobs: In how many processes.
        say: Called with a line about how far it is, now and then.

    Attributes:
        totals: What came of those that were run.
    """

    def __init__(self, jobs: int, say: Callable[[str], None]) -> None:
        """Prepare; nothing runs yet."""
        self.totals = Totals()
        self._jobs = jobs
        self._say = say
        self._said_s = time.monotonic()

    def run(self, seeds: range) -> Iterator[Outcome]:
        """Run seeds, and go through what came of them.

        Args:
            seeds: Which.
        """
        for outcome in self._outcomes(seeds):
            self.totals.add(outcome)
            self._progress(seeds)
            yield outcome

    def _outcomes(self, seeds: range) -> Iterator[Outcome]:
        if self._jobs == 1:
            yield from map(_run, seeds)
            return
        context = multiprocessing.get_context("spawn")
        with context.Pool(self._jobs, maxtasksperchild=200) as pool:
            yield from pool.imap(_run, seeds, chunksize=5)

    def _progress(self, seeds: range) -> None:
        totals, now_s = self.totals, time.monotonic()
        if now_s - self._said_s >= PROGRESS_S:
            self._said_s = now_s
            self._say(f"{totals.seeds:,} of {len(seeds):,} seeds, {totals.violations} violations")


def _run(seed: int) -> Outcome:
    return run(invent(seed))
