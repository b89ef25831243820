"""Tests of `flow.runtime.asking`: a question is sent again until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from flow.errors import BrokerUnavailable, DeadlineExceeded, FlowError, Overloaded, UnknownExecution
from flow.ports import BrokerEvent, Delivery, Envelope, Publication, Settlement
from flow.runtime.asking import Asker
from flow.runtime.bundles import BUNDLE
from flow.runtime.protocol import Answer, Request
from flow.runtime.publisher import Publisher
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle
from tests.flow.runtime.letters import Letter, bundle_of

SHOW = Request(verb="show", arguments={"a": 1}, execution="e-1", actor="me")
AWAY = BrokerUnavailable("amqp://mq", "it restarts")


@dataclass
class Office:
    """A publisher that settles as the test says, and an asker that publishes with it."""

    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[Publication] = field(default_factory=list[Publication])
    fates: list[Settlement | FlowError] = field(default_factory=list[Settlement | FlowError])
    answering: Callable[[Publication], None] | None = None
    has_stopped: bool = False

    def __post_init__(self) -> None:
        """Make the asker."""
        publisher = cast("Publisher", self)
        self.asker = Asker(publisher, self.clock, CountingChance(1.0), "shop.reply.1")

    def send(self, publication: Publication) -> asyncio.Future[Settlement]:
        """Publish a message, as far as the fates let it."""
        self.sent.append(publication)
        future: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        fate = self.fates.pop(0) if self.fates else Settlement.CONFIRMED
        if isinstance(fate, Overloaded):
            raise fate
        if isinstance(fate, FlowError):
            future.set_exception(fate)
        else:
            future.set_result(fate)
        return future

    def answer(self, answer: Answer, number: int = -1) -> Letter:
        """Answer one of the questions."""
        asked = self.sent[number].envelope
        letter = Letter(answer.envelope("m", asked.correlation_id))
        self.asker.receive(cast("Delivery", letter))
        return letter

    def ask(self, within_s: float | None = 30.0) -> asyncio.Future[Any]:
        """Ask in the background."""
        coroutine = self.asker.ask(SHOW, "shop.mailbox", "3", within_s)
        return asyncio.gather(coroutine, return_exceptions=True)


async def test_an_answer_ends_the_asking() -> None:
    """The question names the queue and the correlation, and its answer is returned, once."""
    office = Office()
    asking = office.ask()
    await settle()
    (publication,) = office.sent
    assert (publication.exchange, publication.routing_key) == ("shop.mailbox", "3")
    request = Request.read(publication.envelope)
    assert (request.verb, request.execution, request.actor) == ("show", "e-1", "me")
    assert publication.envelope.reply_to == "shop.reply.1"
    assert len(office.asker) == 1
    assert office.answer(Answer({"status": "SUCCESS"})).settled == ["ack"]
    assert await asking == [{"status": "SUCCESS"}]
    assert (len(office.asker), office.clock.armed) == (0, 0)


async def test_a_refusal_is_raised() -> None:
    """An error that the orchestrator answers with is the error of whoever asked."""
    office = Office()
    asking = office.ask()
    await settle()
    office.answer(Answer(error=UnknownExecution("e-1")))
    (error,) = await asking
    assert isinstance(error, UnknownExecution)


async def test_a_question_is_sent_again() -> None:
    """While no answer comes the same question is sent after ever longer pauses, up to a limit."""
    office = Office()
    asking = office.ask(None)
    times: list[float] = []
    for second in range(300):
        await office.clock.advance(1)
        if len(office.sent) > len(times) + 1:
            times.append(second + 1)
    assert times == [5, 15, 35, 75, 135, 195, 255]
    assert len({each.envelope.correlation_id for each in office.sent}) == 1
    assert len({each.envelope.message_id for each in office.sent}) == len(office.sent)
    office.answer(Answer(1))
    assert await asking == [1]


async def test_pauses_have_jitter() -> None:
    """A pause is at least half as long as it may be: a crowd is spread and does not spin."""
    office = Office()
    office.asker._chance = CountingChance(0.0)
    asking = office.ask(None)
    await office.clock.advance(2.4)
    assert len(office.sent) == 1
    await office.clock.advance(0.2)
    assert len(office.sent) == 2
    office.answer(Answer(1))
    assert await asking == [1]


async def test_a_new_connection_asks_at_once() -> None:
    """Whatever was in flight may be lost with the old connection, so nobody waits for a timer."""
    office = Office()
    asking = office.ask(None)
    await settle()
    for event in BrokerEvent:
        office.asker.hear(event)
        await settle()
    assert len(office.sent) == 2
    office.answer(Answer(1))
    assert await asking == [1]


async def test_a_connection_that_comes_while_it_is_sent_counts() -> None:
    """A new connection that comes between the sending and the pause ends the pause too."""
    office = Office()
    send = office.send

    def interrupted(publication: Publication) -> asyncio.Future[Settlement]:
        if not office.sent:
            office.asker.hear(BrokerEvent.CONNECTED)
        return send(publication)

    office.send = interrupted  # type: ignore[method-assign]
    asking = office.ask(None)
    await settle()
    assert len(office.sent) == 2
    office.answer(Answer(1))
    assert await asking == [1]


async def test_nobody_answers() -> None:
    """After the deadline it says so, with a hint; the answer that comes then is counted."""
    office = Office()
    asking = office.ask(20.0)
    await office.clock.advance(20)
    (error,) = await asking
    assert isinstance(error, DeadlineExceeded)
    assert "is an orchestrator running" in str(error)
    assert len(office.sent) == 3
    assert office.answer(Answer(1)).settled == ["ack"]
    assert (office.asker.late, office.clock.armed) == (1, 0)


@pytest.mark.parametrize("fate", [Settlement.UNROUTABLE, Settlement.REFUSED, AWAY])
async def test_whoever_is_not_there_is_looked_for(fate: Settlement | FlowError) -> None:
    """When the question does not arrive it is tried again soon, and then less and less often."""
    office = Office(fates=[fate] * 4)
    asking = office.ask()
    await office.clock.advance(0.31)
    assert len(office.sent) == 3
    await office.clock.advance(1.2)
    assert len(office.sent) == 5
    office.answer(Answer(1))
    assert await asking == [1]


async def test_an_outage_is_told_as_such() -> None:
    """If nobody could be asked when the deadline passes, the error says what was in the way."""
    office = Office(fates=[AWAY, Overloaded("the queue", 5), *[AWAY] * 100])
    asking = office.ask(30.0)
    await office.clock.advance(30)
    (error,) = await asking
    assert isinstance(error, BrokerUnavailable)
    assert error is not AWAY
    assert len(office.sent) < 30


async def test_a_publisher_that_has_stopped_is_no_outage() -> None:
    """A lost connection is waited for as long as it takes; a publisher that stopped is not."""
    office = Office(fates=[AWAY] * 100)
    asking = office.ask(None)
    await office.clock.advance(100)
    assert not asking.done()
    office.has_stopped = True
    await office.clock.advance(2)
    (error,) = await asking
    assert isinstance(error, BrokerUnavailable)
    assert (len(office.asker), office.clock.armed) == (0, 0)


async def test_whoever_waits_can_be_told_off() -> None:
    """Those who wait get an error each; those who come later are served, unless it is for good."""
    office = Office()
    first, second = office.ask(), office.ask(None)
    await settle()
    office.asker.lose(AWAY)
    errors = [*await first, *await second]
    assert [str(error) for error in errors] == [str(AWAY)] * 2
    assert errors[0] is not errors[1]
    third = office.ask()
    await settle()
    office.answer(Answer(3))
    assert await third == [3]
    office.asker.lose(AWAY, for_good=True)
    (late,) = await office.ask()
    assert isinstance(late, BrokerUnavailable)
    office.asker.hear(BrokerEvent.CONNECTED)
    again = office.ask()
    await settle()
    office.answer(Answer(4))
    assert await again == [4]


async def test_an_answer_counts_once() -> None:
    """A second answer to the same question is dropped and counted."""
    office = Office()
    asking = office.ask()
    await settle()
    office.answer(Answer(1))
    office.answer(Answer(2))
    assert await asking == [1]
    assert office.asker.late == 1


async def test_answers_may_come_in_a_bundle() -> None:
    """Each answer of a bundle ends its asking; one that is none is dropped and counted."""
    office = Office()
    asking = [office.ask(), office.ask()]
    await settle()
    correlations = [asked.envelope.correlation_id for asked in office.sent]
    answers = [Answer(n).envelope("m", each) for n, each in enumerate(correlations)]
    letter = Letter(bundle_of(*answers))
    office.asker.receive(letter)
    assert letter.settled == ["ack"]
    assert [await each for each in asking] == [[0], [1]]
    broken = Letter(Envelope(BUNDLE, b"broken"))
    office.asker.receive(broken)
    assert (broken.settled, office.asker.late) == (["ack"], 1)


async def test_an_answer_that_is_expected_of_others() -> None:
    """Who publishes the question himself waits for its answer, past nudges, until a time."""
    office = Office()
    with office.asker.expect("c") as awaited:
        waiting = asyncio.gather(awaited.wait(office.clock, 10))
        await settle()
        office.asker.hear(BrokerEvent.CONNECTED)
        await office.clock.advance(9)
        assert not waiting.done()
        await office.clock.advance(1)
        assert (await waiting)[0] is None
        letter = Letter(Answer(1).envelope("m", "c"))
        office.asker.receive(cast("Delivery", letter))
        assert await awaited.wait(office.clock, 20) is letter
    assert len(office.asker) == 0
