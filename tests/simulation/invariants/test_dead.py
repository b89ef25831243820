"""Tests of `invariants.dead`: each sees its violation, planted."""

from __future__ import annotations

from flow.ports import Envelope, Publication
from tests.simulation.planting import Plant


def test_a_dead_letter_is_seen() -> None:
    """A message that goes to the dead is a violation, with the reason."""
    plant = Plant()
    envelope = Envelope("step.reply", b"", "m", "e1/1/2/3", "", {"flow-reason": "no"})
    plant.hub.publish(Publication("world.dead", "0", envelope))
    (violation,) = plant.observer.check(is_end=False)
    assert violation.name == "no dead letters"
    assert "'flow-reason': 'no'" in str(violation)


def test_a_fault_of_our_own_is_seen_once() -> None:
    """A task that has failed without anybody taking note is told, once."""
    plant = Plant()
    plant.loop.errors.append({"message": "never retrieved", "exception": ValueError("oh")})
    assert plant.names() == {"no faults of our own"}
    assert plant.names() == set()
    plant.loop.errors.append({"message": "another"})
    assert plant.names(at_the_end=True) == {"no faults of our own"}
