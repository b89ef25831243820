"""Searches for seeds that show the mutants: `python -m tests.simulation.mutants search`.

With names only these are searched for. What is found is kept in `found.json`, which the tests
read. The exit code is 1 if a mutant is not found.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.simulation.mutants import table
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.search import search_all

__all__ = ["main"]


def say(line: str) -> None:
    """Print a line at once.

    Args:
        line: The line.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """Do it.

    Args:
        words: The arguments of the command.

    Returns:
        The exit code.
    """
    options = _arguments(words)
    names = [name for name in MUTANTS if name in options.names] if options.names else list(MUTANTS)
    if options.verb == "list":
        for name in names:
            say(f"{name}: {MUTANTS[name].description}")
        return 0
    first, _, end = options.seeds.partition(":")
    return _search(names, range(int(first), int(end)), options.jobs)


def _search(names: Sequence[str], seeds: range, jobs: int) -> int:
    found, missing = table.read(), 0
    for name, result in search_all(names, seeds, jobs):
        if result is None:
            missing += 1
            found.pop(name, None)
            say(f"{name}: not found in {len(seeds)} seeds")
        else:
            found[name] = result
            broken = ", ".join(result.invariants)
            say(f"{name}: seed {result.seed}, after {result.seeds}: {broken}")
        table.write({each: found[each] for each in MUTANTS if each in found})
    say(f"{len(names)} mutants, {missing} not found")
    return 1 if missing else 0


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("verb", choices=("search", "list"), help="what to do")
    parser.add_argument("names", nargs="*", choices=[[], *MUTANTS], help="mutants; all without")
    parser.add_argument("--seeds", default="0:2000", help="the seeds to try (0:2000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that search at once (1)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
