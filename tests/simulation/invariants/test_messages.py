"""Tests of `invariants.messages`: each sees its violation, planted."""

from __future__ import annotations

from tests.simulation.planting import EPOCH, ID, Plant

REPLY = f"{ID}/{EPOCH}/4/1"


def test_a_reply_that_is_acknowledged_too_early_is_seen() -> None:
    """A reply whose last copy is acknowledged before it is recorded is a violation."""
    plant = Plant()
    plant.begin()
    plant.publish("step.reply", REPLY)
    plant.publish("step.reply", REPLY)
    plant.acked("step.reply", REPLY)
    assert plant.names() == set()
    plant.acked("step.reply", REPLY)
    assert plant.names() == {"acknowledged before it was committed"}


def test_a_reply_that_is_recorded_may_be_acknowledged() -> None:
    """A reply that is recorded, or that nobody waits for any more, is acknowledged rightly."""
    plant = Plant()
    plant.begin()
    plant.succeed_a()
    for correlation in (REPLY, f"{ID}/{EPOCH}/40/2", f"{ID}/1/40/1", "nobody/1/4/1"):
        plant.publish("step.reply", correlation)
        plant.acked("step.reply", correlation)
    plant.acked("step.heartbeat", REPLY)
    assert plant.names() == set()


def test_a_start_that_is_acknowledged_too_early_is_seen() -> None:
    """A start whose last copy is acknowledged before its execution is committed is a violation."""
    plant = Plant()
    plant.publish("request.start", "c1", **{"flow-execution": ID})
    plant.acked("request.start", "c1")
    assert plant.names() == {"acknowledged before it was committed"}
    plant.begin()
    plant.publish("request.start", "c1", **{"flow-execution": ID})
    plant.acked("request.start", "c1")
    assert plant.names() == set()
