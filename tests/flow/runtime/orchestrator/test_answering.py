"""Tests of `orchestrator.answering`: who is answered, and where goes what nobody can use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from flow.errors import BrokerUnavailable, FlowError, InvalidInput, Overloaded, UnknownWorkflow
from flow.ports import Delivery, Envelope, Publication, Settlement
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator.answering import PAUSE_S, Answering
from flow.runtime.protocol import Answer
from flow.runtime.publisher import Publisher, Told
from flow.testing import FlowHarness
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle
from tests.flow.runtime.plain import plain_client
from tests.flow.runtime.worlds import single

ADDRESSES = Addresses("shop")
WRONG = UnknownWorkflow("nobody")


@dataclass
class Letter:
    """A message that arrived."""

    envelope: Envelope
    routing_key: str = "key"
    redelivered: bool = False
    fate: str = ""

    def ack(self) -> None:
        """Note it."""
        self.fate += "a"

    def requeue(self) -> None:
        """Note it."""
        self.fate += "q"

    def reject(self) -> None:
        """Note it."""
        self.fate += "r"


@dataclass
class Office:
    """Somebody who answers, with a publisher that settles as the test says."""

    fate: Settlement | FlowError = Settlement.CONFIRMED
    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[Publication] = field(default_factory=list[Publication])

    def __post_init__(self) -> None:
        """Make the one who answers."""
        publisher = cast("Publisher", self)
        self.answering = Answering(publisher, ADDRESSES, self.clock, CountingChance())

    def post(self, publication: Publication, told: Told) -> None:
        """Publish a message, as far as fate lets it."""
        if isinstance(self.fate, Overloaded):
            raise self.fate
        self.sent.append(publication)
        loop = asyncio.get_running_loop()
        if isinstance(self.fate, FlowError):
            loop.call_soon(told, None, self.fate)
        else:
            loop.call_soon(told, self.fate, None)


def letter(reply_to: str = "", **headers: str) -> Letter:
    """Return a message."""
    return Letter(Envelope("request.show", b"{}", "m-1", "c-1", reply_to, headers))


def as_delivery(letter: Letter) -> Delivery:
    """Return a letter as what it stands for."""
    return cast("Delivery", letter)


@pytest.mark.parametrize(
    ("reply_to", "is_fine"),
    [
        ("shop.reply.me", True),
        ("shop.members.o-1", True),
        ("amq.gen-JzTY20BRgKO-HjmUJj0wLg", True),
        ("amq.rabbitmq.reply-to.g1h2AA5yZXBseUAyNzc3MA", True),
        ("", False),
        ("shop.mailbox.0", False),
        ("shop.steps.payments", False),
        ("shop.reply", False),
        ("other.reply.me", False),
        ("amq.topic", False),
        ("xshop.reply.me", False),
    ],
)
def test_answers_go_to_queues_for_answers_only(reply_to: str, *, is_fine: bool) -> None:
    """Whoever asks cannot have something published to a mailbox or to a service."""
    answering = Office().answering
    assert answering.can_answer(reply_to) is is_fine
    if is_fine or not reply_to:
        answering.check(reply_to)
    else:
        with pytest.raises(InvalidInput, match="is not a queue for answers"):
            answering.check(reply_to)


async def test_an_answer_is_sent_and_forgotten() -> None:
    """An answer goes out at once; whether it arrives is not waited for."""
    office = Office()
    office.answering.answer("shop.reply.me", "c-1", Answer(7))
    office.answering.answer("", "c-1", Answer(7))
    (publication,) = office.sent
    assert (publication.exchange, publication.routing_key) == ("", "shop.reply.me")
    assert not publication.mandatory
    assert Answer.read(publication.envelope).value == 7
    for office.fate in (BrokerUnavailable("amqp://mq", "away"), Overloaded("the queue", 1)):
        office.answering.answer("shop.reply.me", "c-1", Answer(7))
    await settle()


async def test_a_refusal_is_confirmed_before_the_message_is_gone() -> None:
    """Whoever asked hears of the error; if that queue is gone, so is the message."""
    for fate in (Settlement.CONFIRMED, Settlement.UNROUTABLE):
        office, asked = Office(fate), letter("shop.reply.me")
        office.answering.refuse(as_delivery(asked), WRONG)
        assert asked.fate == ""
        await settle()
        assert asked.fate == "a"
        assert isinstance(Answer.read(office.sent[0].envelope).error, UnknownWorkflow)
        assert office.sent[0].envelope.correlation_id == "c-1"


@pytest.mark.parametrize("reply_to", ["", "shop.mailbox.0"])
async def test_what_cannot_be_answered_is_buried(reply_to: str) -> None:
    """A refusal that nobody may hear goes to the dead as it came, with the reason."""
    office, asked = Office(), letter(reply_to, tenant="t1", CC="evil", **{"flow-id": "e"})
    office.answering.refuse(as_delivery(asked), WRONG)
    await settle()
    (publication,) = office.sent
    assert (publication.exchange, publication.routing_key) == ("shop.dead", "key")
    assert (publication.envelope.body, publication.envelope.message_id) == (b"{}", "m-1")
    assert publication.envelope.headers == {
        "tenant": "t1",
        "flow-id": "e",
        "flow-error": "UnknownWorkflow",
        "flow-reason": str(WRONG),
    }
    assert asked.fate == "a"


@pytest.mark.parametrize(
    "fate",
    [
        Settlement.REFUSED,
        Settlement.UNROUTABLE,
        BrokerUnavailable("amqp://mq", "away"),
        Overloaded("the queue", 1),
    ],
)
async def test_what_cannot_be_passed_on_comes_again(fate: Settlement | FlowError) -> None:
    """A message is given back if what stands for it did not arrive, but not at once."""
    office, asked = Office(fate), letter()
    office.answering.bury(as_delivery(asked), WRONG)
    await office.clock.advance(PAUSE_S * 0.9)
    assert asked.fate == ""
    await office.clock.advance(PAUSE_S * 0.2)
    assert asked.fate == "q"


async def test_what_no_broker_takes_does_not_come_again() -> None:
    """A message that cannot even be buried with its reason is left to the broker's dead letters."""
    office, asked = Office(InvalidInput("header 'x'", "it is too long")), letter()
    office.answering.bury(as_delivery(asked), WRONG)
    await office.clock.advance(10)
    assert asked.fate == "r"


async def test_requests_without_an_address_are_buried() -> None:
    """What a request is refused with is not lost, though nobody wants an answer."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        await client.ask("suspend", "nobody", reply_to="")
        await client.ask("show", "nobody", reply_to="world.start.0")
        await client.ask("dance", reply_to="")
        asked = await client.ask("suspend", "nobody")
        await test.settle()
        assert sorted(client.reasons()) == [
            (
                "reply_to: 'world.start.0' is not a queue for answers: name it "
                "world.reply.<anything>, or let the broker name it"
            ),
            "the request: there is no verb 'dance'",
            "there is no execution 'nobody'",
        ]
        ((outcome, answer),) = client.answers_to(asked)
        assert (outcome, answer["type"]) == ("failure", "UnknownExecution")
