"""Tests of `brokers.rabbitmq.settlements`, which is compared with a broker that keeps count."""

from __future__ import annotations

import pamqp.frame
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pamqp.commands import Basic

from brokers.rabbitmq.frames import BadFrame
from brokers.rabbitmq.settlements import Settlements


class SettlementsMachine(RuleBasedStateMachine):
    """A consumer settles in any order; the broker must never settle what the consumer did not."""

    def __init__(self) -> None:
        super().__init__()
        self.settlements = Settlements(3)
        self.last = 0
        self.held = set[int]()
        self.wanted: dict[int, str] = {}
        # What the broker waits for, and what it was told.
        self.outstanding = set[int]()
        self.told: dict[int, str] = {}

    @rule(step=st.integers(1, 3))
    def deliver(self, step: int) -> None:
        """Deliver a message; numbers may be left out."""
        self.last += step
        self.settlements.add(self.last)
        self.held.add(self.last)
        self.outstanding.add(self.last)

    @precondition(lambda self: self.last)
    @rule(data=st.data(), verdict=st.sampled_from(["ack", "ack", "ack", "requeue", "reject"]))
    def settle(self, data: st.DataObject, verdict: str) -> None:
        """Settle a delivery, which may be settled already, or not exist."""
        tag = data.draw(st.integers(1, self.last + 1))
        if verdict == "ack":
            is_new = self.settlements.ack(tag)
        else:
            is_new = self.settlements.reject(tag, requeue=verdict == "requeue")
        assert is_new == (tag in self.held)
        if is_new:
            self.held.discard(tag)
            self.wanted[tag] = verdict

    @rule()
    def tell(self) -> None:
        """Tell the broker, which closes the channel if a number is not outstanding."""
        frames = self.settlements.frames()
        for frame in frames:
            _, channel, found = pamqp.frame.unmarshal(frame)
            assert channel == 3
            if isinstance(found, Basic.Ack):
                assert found.delivery_tag in self.outstanding
                up_to = {each for each in self.outstanding if each <= found.delivery_tag}
                self._note(up_to if found.multiple else {found.delivery_tag}, "ack")
            else:
                assert isinstance(found, Basic.Reject)
                assert found.delivery_tag in self.outstanding
                self._note({found.delivery_tag}, "requeue" if found.requeue else "reject")
        assert self.told == self.wanted
        assert self.settlements.frames() == []

    def _note(self, tags: set[int], verdict: str) -> None:
        self.outstanding -= tags
        self.told.update(dict.fromkeys(tags, verdict))

    @invariant()
    def nothing_is_settled_that_was_not(self) -> None:
        """What the consumer still holds, the broker still waits for."""
        assert self.held <= self.outstanding
        assert len(self.settlements) == len(self.held)

    def teardown(self) -> None:
        """Tell the broker the rest."""
        self.tell()
        assert self.outstanding == self.held


SettlementsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_each_delivery_is_settled_as_it_was = SettlementsMachine.TestCase


def told(settlements: Settlements) -> list[tuple[int, bool]]:
    """Return what the broker is told, which is acknowledgements only."""
    found = [pamqp.frame.unmarshal(frame)[2] for frame in settlements.frames()]
    return [(each.delivery_tag, each.multiple) for each in found if isinstance(each, Basic.Ack)]


def test_many_are_told_in_one_frame() -> None:
    """All below the lowest unsettled delivery are told at once, the others one by one."""
    settlements = Settlements(1)
    for tag in range(1, 101):
        settlements.add(tag)
    for tag in (*range(1, 51), 60, 70):
        settlements.ack(tag)
    assert told(settlements) == [(50, True), (60, False), (70, False)]
    settlements.ack(51)
    assert told(settlements) == [(51, False)]
    for tag in range(52, 101):
        settlements.ack(tag)
    assert told(settlements) == [(100, True)]


def test_nothing_is_told_of_what_was_forgotten() -> None:
    """Once the channel is closed there is nothing to settle on it, and nothing to tell."""
    settlements = Settlements(1)
    for tag in (1, 2, 3):
        settlements.add(tag)
    settlements.ack(1)
    settlements.reject(2, requeue=False)
    settlements.clear()
    assert not settlements.ack(3)
    assert settlements.frames() == []
    assert len(settlements) == 0


def test_numbers_must_grow() -> None:
    """A broker that counts backwards cannot be told of many at once, so it is refused."""
    settlements = Settlements(1)
    settlements.add(5)
    for tag in (5, 4):
        with pytest.raises(BadFrame, match="out of order"):
            settlements.add(tag)
