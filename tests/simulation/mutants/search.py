"""Searches for seeds that show a mutant.

A seed shows a mutant if an invariant is broken with it and none without it. What is changed
beside a mutant stays changed without it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence

from tests.simulation.invention import invent
from tests.simulation.mutants.catalogue import MUTANTS, Mutant, planted
from tests.simulation.mutants.table import Found
from tests.simulation.run import run

__all__ = ["broken", "is_right", "search", "search_all"]


def broken(mutant: Mutant, seed: int) -> tuple[str, ...]:
    """Return the names of the invariants that are broken with a mutant.

    Args:
        mutant: The mutant.
        seed: The seed of the scenario.
    """
    with mutant.planted():
        return _broken(seed)


def is_right(mutant: Mutant, seed: int) -> bool:
    """Return whether no invariant is broken without a mutant.

    Args:
        mutant: The mutant; what is changed beside it stays changed.
        seed: The seed of the scenario.
    """
    with planted(mutant.beside):
        return not _broken(seed)


def _broken(seed: int) -> tuple[str, ...]:
    violations = run(invent(seed)).violations
    return tuple(dict.fromkeys(violation.name for violation in violations))


def search(mutant: Mutant, seeds: Iterable[int]) -> Found | None:
    """Return the first seed that shows a mutant, or None if none does.

    Args:
        mutant: The mutant.
        seeds: The seeds to try, in their order.
    """
    for tried, seed in enumerate(seeds, start=1):
        names = broken(mutant, seed)
        if names and is_right(mutant, seed):
            return Found(seed, tried, names)
    return None


def search_all(
    names: Sequence[str], seeds: Sequence[int], jobs: int
) -> Iterator[tuple[str, Found | None]]:
    """Search for several mutants; go through what was found, in the order of the names.

    Args:
        names: The names of the mutants.
        seeds: The seeds to try for each.
        jobs: How many processes search at once.
    """
    tasks = [(name, seeds) for name in names]
    if jobs == 1:
        yield from map(_search_one, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_search_one, tasks)


def _search_one(task: tuple[str, Sequence[int]]) -> tuple[str, Found | None]:
    name, seeds = task
    return name, search(MUTANTS[name], seeds)
