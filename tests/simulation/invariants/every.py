"""Every invariant, in the order in which they are asked."""

from __future__ import annotations

from typing import Final

from tests.simulation.invariants import (
    attempts,
    commands,
    dead,
    effects,
    epochs,
    innocence,
    journal,
    messages,
    quiescence,
    remembering,
    requirements,
    results,
    starts,
    taking_back,
    timers,
    trees,
    undoing,
)
from tests.simulation.invariants.base import Invariant

__all__ = ["ALL"]

_MODULES: Final = (
    *(
        starts,
        results,
        requirements,
        attempts,
        epochs,
        commands,
        messages,
        innocence,
        effects,
        undoing,
        taking_back,
        timers,
        remembering,
    ),
    *(quiescence, trees, journal, dead),
)

ALL: Final[tuple[type[Invariant], ...]] = tuple(
    each
    for module in _MODULES
    for each in (getattr(module, name) for name in module.__all__)
    if isinstance(each, type) and issubclass(each, Invariant)
)
"""All of them, family by family."""
