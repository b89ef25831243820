"""Tests of `worker.cancellations`."""

from __future__ import annotations

import pytest

from flow.errors import CorruptRecord
from flow.ports import Envelope
from flow.runtime.worker.cancellations import Cancellation, Cancellations
from tests.flow.runtime.clocks import ManualClock
from tests.flow.runtime.worker_bench import request

ATTEMPT = Cancellation(correlation="order-1/1/2/1", execution="order-1")
EPOCH = Cancellation(execution="order-1", epoch=3)


@pytest.mark.parametrize("cancellation", [ATTEMPT, EPOCH])
def test_it_is_read_as_it_was_written(cancellation: Cancellation) -> None:
    """Nothing of a cancellation is lost on the way."""
    assert Cancellation.read(cancellation.envelope("m1")) == cancellation


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope("step.reply", b"null", correlation_id="c1"),
        Envelope("step.cancel", b"null"),
        Envelope("step.cancel", b"null", headers={"flow-epoch": "1"}),
        Envelope("step.cancel", b"null", headers={"flow-execution": "order-1"}),
        Envelope(
            "step.cancel", b"null", headers={"flow-execution": "order-1", "flow-epoch": "one"}
        ),
    ],
)
def test_what_names_nothing_is_corrupt(envelope: Envelope) -> None:
    """A cancellation has to name an attempt, or an execution and its epoch."""
    with pytest.raises(CorruptRecord, match="the cancellation"):
        Cancellation.read(envelope)


def test_an_attempt_is_covered_alone() -> None:
    """Naming an attempt cancels no other attempt of its execution."""
    assert ATTEMPT.covers(request())
    assert not ATTEMPT.covers(request(correlation="order-1/1/2/2"))


@pytest.mark.parametrize(
    ("correlation", "is_covered"),
    [("order-1/1/9/1", True), ("order-1/3/9/1", True), ("order-1/4/9/1", False), ("odd", False)],
)
def test_epochs_are_covered_up_to_one(correlation: str, is_covered: bool) -> None:  # noqa: FBT001
    """Naming an epoch cancels it and those before, and nothing that is not numbered by us."""
    assert EPOCH.covers(request(correlation=correlation)) is is_covered
    assert not EPOCH.covers(request(2))
    memory = Cancellations(ManualClock(), 10, 3600)
    memory.remember(EPOCH)
    memory.remember(Cancellation(execution="order-1", epoch=1))
    assert memory.cover(request(correlation=correlation)) is is_covered
    assert not memory.cover(request(correlation=correlation, execution=""))


async def test_it_is_forgotten_after_its_time() -> None:
    """A cancellation holds for as long as it is remembered, counted from the last one."""
    clock = ManualClock()
    memory = Cancellations(clock, 10, 3600)
    memory.remember(ATTEMPT)
    await clock.advance(3000)
    assert memory.cover(request())
    memory.remember(ATTEMPT)
    await clock.advance(3000)
    assert memory.cover(request())
    await clock.advance(600)
    assert not memory.cover(request())
    memory.remember(EPOCH)
    assert len(memory) == 1
    await clock.advance(3600)
    assert not memory.cover(request())
    memory.remember(Cancellation(correlation="other"))
    assert len(memory) == 1


def test_only_so_many_are_remembered() -> None:
    """Over the bound the oldest of each kind are forgotten."""
    memory = Cancellations(ManualClock(), 2, 3600)
    for number in range(5):
        memory.remember(Cancellation(correlation=f"order-{number}/1/2/1"))
        memory.remember(Cancellation(execution=f"shop-{number}", epoch=1))
    assert len(memory) == 4
    assert [memory.cover(request(number)) for number in range(5)] == [False] * 3 + [True] * 2
