"""Tests of `flow.testing.chance`: chance without chance."""

from __future__ import annotations

import re

from flow.testing import SeededChance


def test_a_seed_repeats() -> None:
    """The same seed gives the same ids and numbers, and another seed gives others."""

    def draw(seed: int) -> list[object]:
        chance = SeededChance(seed, lambda: 1_000)
        return [chance.new_id(), chance.random(), chance.new_id(), chance.random()]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_ids_are_ordered_and_unlike() -> None:
    """Ids have 32 hexadecimal digits, grow with time and number, and never repeat."""
    now = 1_000
    chance = SeededChance(1, lambda: now)
    ids = [chance.new_id() for _ in range(100)]
    now = 2_000
    ids.append(chance.new_id())
    assert ids == sorted(set(ids))
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert all(0 <= chance.random() < 1 for _ in range(100))
