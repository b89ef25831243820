"""Chance without chance: the same seed gives the same ids and the same jitter."""

import random
from collections.abc import Callable

__all__ = ["SeededChance"]


class SeededChance:
    """Ids and random numbers that follow from a seed; satisfies `flow.ports.Chance`.

    Args:
        seed: Where the sequence begins.
        now_ms: The time that goes into ids, which are ordered by it.
    """

    def __init__(self, seed: int, now_ms: Callable[[], int]) -> None:
        """Begin the sequence."""
        self._random = random.Random(seed)  # noqa: S311 - it has to repeat, not to be secret
        self._now_ms = now_ms
        self._number = 0

    def new_id(self) -> str:
        """Return 32 hexadecimal digits: of the time, of a number that grows, and random ones."""
        self._number += 1
        return f"{self._now_ms():012x}{self._number:08x}{self._random.getrandbits(48):012x}"

    def random(self) -> float:
        """Return a random number, 0 <= random < 1."""
        return self._random.random()
