"""Tests of `brokers.rabbitmq.confirms`, which is compared with a simple model."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from brokers.rabbitmq.confirms import Call, Confirms
from flow.ports import Settlement

CONFIRMED, UNROUTABLE, REFUSED = Settlement.CONFIRMED, Settlement.UNROUTABLE, Settlement.REFUSED


class ConfirmsMachine(RuleBasedStateMachine):
    """Calls publish, the broker settles in any way, and each message gets its own outcome once."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        numbers = itertools.count()
        self.confirms = Confirms(lambda: f"made-{next(numbers)}")
        # For each number of the broker: the call, the place there, the id; and what came of it.
        self.sent: list[tuple[int, int, str]] = []
        self.model: list[list[Settlement | None]] = []
        self.made: list[Call] = []

    @initialize()
    def nothing_is_settled_that_was_not_sent(self) -> None:
        """What the broker says about numbers that were never given out does nothing."""
        self.confirms.settle(7, CONFIRMED, multiple=False)
        self.confirms.settle(2**63, CONFIRMED, multiple=True)

    @rule(ids=st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=5))
    def publish(self, ids: list[str]) -> None:
        """Publish some messages in one call; some have the id of another one, or none."""
        outcomes: list[Settlement | None] = [None] * len(ids)
        call = Call(outcomes, self.loop.create_future())
        on_their_way = {
            each for (number, place, each) in self.sent if self.model[number][place] is None
        }
        for place, wanted in enumerate(ids):
            wire_id = self.confirms.expect(call, place, wanted)
            assert wire_id not in on_their_way
            assert wire_id == wanted or not wanted or wanted in on_their_way
            on_their_way.add(wire_id)
            self.sent.append((len(self.made), place, wire_id))
        call.start(len(ids))
        self.made.append(call)
        self.model.append([None] * len(ids))

    @rule(
        data=st.data(),
        outcome=st.sampled_from([CONFIRMED, REFUSED]),
        multiple=st.booleans(),
    )
    def settle(self, *, data: st.DataObject, outcome: Settlement, multiple: bool) -> None:
        """Settle one message, or all up to it; it may be settled already, or not exist."""
        last = len(self.sent)
        unsettled = [
            tag
            for tag, (number, place, _) in enumerate(self.sent, 1)
            if self.model[number][place] is None
        ]
        tag = data.draw(st.sampled_from([*unsettled, *unsettled, 0, 1, last, last + 2]))
        self.confirms.settle(tag, outcome, multiple=multiple)
        tags = range(1, (tag or len(self.sent)) + 1) if multiple else [tag]
        for each in tags:
            if 1 <= each <= len(self.sent):
                self._note(each, outcome)

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Return a message, which may be settled already, or not exist."""
        ids = ["nobody's", *(wire_id for _, _, wire_id in self.sent)]
        wire_id = data.draw(st.sampled_from(ids))
        self.confirms.returned(wire_id)
        for tag, (number, place, each) in enumerate(self.sent, 1):
            if each == wire_id and self.model[number][place] is None:
                self._note(tag, UNROUTABLE)

    def _note(self, tag: int, outcome: Settlement) -> None:
        number, place, _ = self.sent[tag - 1]
        if self.model[number][place] is None:
            self.model[number][place] = outcome

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        """Outcomes are the first ones, and who waits is woken by the last of them."""
        assert [call.outcomes for call in self.made] == self.model
        for call, outcomes in zip(self.made, self.model, strict=True):
            assert call.is_settled == call.future.done() == (None not in outcomes)
        unsettled = sum(outcomes.count(None) for outcomes in self.model)
        assert len(self.confirms) == unsettled

    def teardown(self) -> None:
        """Close the event loop."""
        self.loop.close()


ConfirmsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_each_message_gets_its_outcome = ConfirmsMachine.TestCase


async def test_settling_many_costs_what_is_settled() -> None:
    """A settlement of all up to a number passes nothing twice, whatever was settled before."""
    confirms = Confirms(str)
    outcomes: list[Settlement | None] = [None] * 3000
    call = Call(outcomes, asyncio.get_running_loop().create_future())
    for number in range(3000):
        confirms.expect(call, number, str(number))
    call.start(3000)
    passed = list[int]()
    for tag in range(1, 3001):
        confirms.settle(tag, CONFIRMED, multiple=True)
        passed.append(confirms._lowest)
    assert passed == list(range(2, 3002))
    assert call.future.done()


async def test_ending_a_call_wakes_who_waits_once() -> None:
    """A call that is ended is not settled; settlements that come later still find their place."""
    confirms = Confirms(str)
    outcomes: list[Settlement | None] = [None]
    call = Call(outcomes, asyncio.get_running_loop().create_future())
    confirms.expect(call, 0, "m")
    call.start(1)
    call.end()
    call.end()
    await call.future
    assert not call.is_settled
    confirms.settle(1, REFUSED, multiple=False)
    assert outcomes == [REFUSED]
