"""Runs seeds: `python -m tests.simulation --seeds 0:500 --jobs 2`, or replays one.

The last line of a search is `N seeds, N violations`, and the exit code is 1 with violations. What
is found is shrunk, and the command that replays it is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tests.simulation.invention import invent
from tests.simulation.run import Outcome, run
from tests.simulation.scenario import Kept
from tests.simulation.search import Search, Totals
from tests.simulation.shrink import shrink

__all__ = ["main", "report"]

LINES = 40
ENOUGH_FOR_ALL = 2_000
ALL_LINES = 1_000_000


def say(line: str) -> None:
    """Print a line at once.

    Args:
        line: The line.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def report(outcome: Outcome) -> str:
    """Return what has gone wrong, the end of the trace, and the command that replays it.

    Args:
        outcome: What came of a run.
    """
    scenario = outcome.scenario
    parts = [f"seed {scenario.seed}: {len(outcome.violations)} violations"]
    parts += [f"  {violation}" for violation in outcome.violations]
    parts += ["executions", *(f"  {start}" for start in scenario.executions)]
    parts += ["faults", *(f"  {fault}" for fault in scenario.faults)]
    parts += ["controls", *(f"  {control}" for control in scenario.controls)]
    parts += [f"the last {len(outcome.trace)} lines of the trace", *outcome.trace]
    parts += ["run it again with", f"  {scenario.command()}"]
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        return _replay(options)
    first, _, end = options.seeds.partition(":")
    return _search(range(int(first), int(end)), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:500", help="which seeds: first:end")
    parser.add_argument("--jobs", type=int, default=1, help="in how many processes")
    parser.add_argument("--stats", "-v", action="store_true", help="tell what has happened")
    parser.add_argument("--no-shrink", action="store_true", help="print what is found as it is")
    parser.add_argument("--seed", type=int, help="replay one seed")
    parser.add_argument("--trace", action="store_true", help="print all that happened")
    parser.add_argument("--json", action="store_true", help="print the scenario as JSON")
    parser.add_argument("--executions", type=_places, help="keep only these, such as 0,3")
    parser.add_argument("--faults", type=_places, help="keep only these; none for none")
    parser.add_argument("--controls", type=_places, help="keep only these")
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong by chance")
    return parser


def _places(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(int(place) for place in text.split(","))


def _replay(options: argparse.Namespace) -> int:
    kept = Kept(
        executions=options.executions,
        faults=options.faults,
        controls=options.controls,
        is_calm=options.calm,
    )
    scenario = invent(options.seed).keep(kept)
    if options.json:
        say(json.dumps(scenario.as_json(), indent=1))
    outcome = run(scenario, ALL_LINES if options.trace else LINES)
    if options.trace or outcome.violations:
        say(report(outcome))
    if options.stats:
        totals = Totals()
        totals.add(outcome)
        say("\n".join(totals.table()))
    say(f"hash {outcome.hash}")
    say(f"1 seeds, {len(outcome.violations)} violations")
    return 1 if outcome.violations else 0


def _search(seeds: range, options: argparse.Namespace) -> int:
    search = Search(options.jobs, say)
    shrunk: dict[str, None] = {}
    for outcome in search.run(seeds):
        names = [violation.name for violation in outcome.violations]
        # Of each kind only the first is made smaller: the others say the same.
        if names and names[0] not in shrunk and not options.no_shrink:
            shrunk[names[0]] = None
            say(report(shrink(invent(outcome.scenario.seed), outcome)))
        elif names:
            say(report(outcome))
    totals = search.totals
    if options.stats:
        say("\n".join(totals.table()))
    if options.stats or totals.seeds >= ENOUGH_FOR_ALL:
        say(f"never: {', '.join(totals.missing()) or 'nothing'}")
    say(f"{totals.seconds / 3600:,.1f} hours of virtual time, {totals.steps:,} steps")
    say(f"{totals.seeds} seeds, {totals.violations} violations")
    # With so many seeds everything has to happen, or else the simulator is broken.
    is_blind = totals.seeds >= ENOUGH_FOR_ALL and totals.missing()
    return 1 if totals.violations or is_blind else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
