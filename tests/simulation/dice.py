"""Dice: random numbers that follow from a seed, and what scenarios often ask of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["Dice"]


class Dice(random.Random):
    """Random numbers for scenarios."""

    def often(self, probability: float) -> bool:
        """Return whether something happens.

        Args:
            probability: How often it does, from 0 to 1.
        """
        return self.random() < probability

    def rate(self, highest: float) -> float:
        """Return how often something goes wrong in a whole run: mostly never.

        Args:
            highest: How often at most.
        """
        return highest * self.random() if self.often(0.3) else 0.0

    def seconds(self, longest: float) -> float:
        """Return a time span: often a short one, sometimes a long one.

        Args:
            longest: How long at most.
        """
        return round(self.choice((0.1, 3.0, longest)) * self.random(), 3)

    def some(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return one of several, often; or two, or all.

        Args:
            names: Whom to choose from.
        """
        count = self.choices((1, 2, len(names)), (7, 2, 1))[0]
        chosen = set(self.sample(names, min(count, len(names))))
        return tuple(name for name in names if name in chosen)
