"""Tests of `worker.replies`."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import BrokerUnavailable, Overloaded
from flow.ports import Envelope, Publication, Settlement
from flow.runtime.addresses import Addresses
from flow.runtime.publisher import Told
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker import replies
from flow.runtime.worker.replies import Replies
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle

REPLY = Envelope("step.reply", b"1", "m0", "c1")
DOWN = BrokerUnavailable("memory://", "down")
Answers = list[Settlement | Exception]


class Scripted:
    """A publisher that answers as a test says; the last answer is given again and again."""

    def __init__(self, *answers: Settlement | Exception) -> None:
        self.answers: Answers = list(answers)
        self.sent: list[Publication] = []

    def post(self, publication: Publication, told: Told) -> None:
        """Answer there and then; an `Overloaded` is raised."""
        self.sent.append(publication)
        answer = self.answers.pop(0)
        if isinstance(answer, Overloaded):
            raise answer
        told(*((None, answer) if isinstance(answer, Exception) else (answer, None)))

    async def send(self, publication: Publication) -> Settlement:
        """Answer."""
        self.sent.append(publication)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def make(publisher: Scripted, clock: ManualClock, random: float = 0.5) -> Replies:
    """Return replies that wait 30 seconds for a queue."""
    route = Addresses("shop").route_to
    return Replies(publisher, clock, CountingChance(random), TaskGroup(), 30.0, route)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_a_confirmed_reply_is_delivered_at_once() -> None:
    """The reply goes to its queue as it is; without a queue it is delivered to nobody."""
    publisher = Scripted(Settlement.CONFIRMED)
    assert await make(publisher, ManualClock()).deliver("q", REPLY)
    assert publisher.sent == [Publication("", "q", REPLY)]
    assert await make(publisher, ManualClock()).deliver("", REPLY)
    assert len(publisher.sent) == 1


async def test_a_reply_takes_the_way_of_its_queue() -> None:
    """A worker needs no right to publish to every queue by its name."""
    publisher = Scripted(Settlement.CONFIRMED)
    for queue in ("shop.mailbox.3", "shop.reply.c1", "else"):
        assert await make(publisher, ManualClock()).deliver(queue, REPLY)
    found = [(each.exchange, each.routing_key) for each in publisher.sent]
    assert found == [("shop.mailbox", "3"), ("shop.reply", "c1"), ("", "else")]


async def test_every_publication_has_an_id_of_its_own() -> None:
    """A reply that is sent again is the same, under a fresh message id."""
    clock = ManualClock()
    publisher = Scripted(DOWN, Settlement.REFUSED, Overloaded("q", 1), Settlement.CONFIRMED)
    outcome = list[bool]()
    async with TaskGroup() as group:
        group.start(_note(make(publisher, clock), outcome), "reply")
        await clock.advance(60)
    assert outcome == [True]
    assert len({each.envelope.message_id for each in publisher.sent}) == 4
    assert {(each.envelope.body, each.envelope.correlation_id) for each in publisher.sent} == {
        (b"1", "c1")
    }


async def _note(found: Replies, outcome: list[bool]) -> None:
    outcome.append(await found.deliver("q", REPLY))


@pytest.mark.parametrize(("random", "tries"), [(0.0, 101), (0.5, 7), (0.999, 5)])
async def test_tries_are_spread_out(random: float, tries: int) -> None:
    """The wait doubles, is random between nothing and its bound, and never quite nothing."""
    clock = ManualClock()
    publisher = Scripted(DOWN)
    async with TaskGroup() as group:
        group.start(_note(make(publisher, clock, random), []), "reply")
        await clock.advance(1.0 if random == 0.0 else 3.2)
    assert abs(len(publisher.sent) - tries) <= 1


async def test_the_wait_has_a_bound() -> None:
    """However long the broker is away, the next try is never more than ten seconds off."""
    clock = ManualClock()
    publisher = Scripted(DOWN)
    async with TaskGroup() as group:
        group.start(_note(make(publisher, clock, 0.999), []), "reply")
        await clock.advance(3600)
        before = len(publisher.sent)
        await clock.advance(10)
        assert len(publisher.sent) == before + 1


async def test_a_queue_that_stays_away_is_given_up() -> None:
    """A queue is waited for, then given up; later replies are tried once, until it is back."""
    clock = ManualClock()
    publisher = Scripted(Settlement.UNROUTABLE)
    found, outcome = make(publisher, clock), list[bool]()
    async with TaskGroup() as group:
        group.start(_note(found, outcome), "reply")
        await clock.advance(29)
        assert outcome == []
        await clock.advance(10)
        assert outcome == [False]
    before = len(publisher.sent)
    assert not await found.deliver("q", REPLY)
    assert len(publisher.sent) == before + 1
    publisher.answers = [Settlement.CONFIRMED, Settlement.UNROUTABLE]
    assert await found.deliver("q", REPLY)
    async with TaskGroup() as group:
        task = group.start(_note(found, outcome), "reply")
        await settle()
        assert not task.done()


async def test_an_outage_does_not_count_as_a_missing_queue() -> None:
    """Only the time since the queue was first found missing counts."""
    clock = ManualClock()
    publisher = Scripted(Settlement.UNROUTABLE, DOWN)
    outcome = list[bool]()
    async with TaskGroup() as group:
        group.start(_note(make(publisher, clock), outcome), "reply")
        await clock.advance(600)
        assert outcome == []
        publisher.answers = [Settlement.UNROUTABLE]
        await clock.advance(29)
        assert outcome == []
        await clock.advance(20)
    assert outcome == [False]


async def test_only_so_many_queues_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of missing queues is bounded."""
    monkeypatch.setattr(replies, "_GONE_MAX", 2)
    clock = ManualClock()
    found = make(Scripted(Settlement.UNROUTABLE), clock)
    async with TaskGroup() as group:
        for number in range(5):
            group.start(_give_up(found, f"q{number}"), "reply")
        await clock.advance(60)
        assert len(group) == 0
    assert list(found._gone) == ["q3", "q4"]


async def _give_up(found: Replies, queue: str) -> None:
    delivered = asyncio.wait_for(found.deliver(queue, REPLY), None)
    assert not await delivered


async def test_a_posted_reply_tells_when_it_is_confirmed() -> None:
    """Nobody waits for it; without a queue there is nobody to send it to, and all is well."""
    publisher, told = Scripted(Settlement.CONFIRMED), list[bool]()
    found = make(publisher, ManualClock())
    found.post("shop.mailbox.3", REPLY, told.append)
    assert publisher.sent == [Publication("shop.mailbox", "3", REPLY)]
    found.post("", REPLY, told.append)
    assert (told, len(publisher.sent)) == ([True, True], 1)


@pytest.mark.parametrize(
    "first", [DOWN, Overloaded("q", 1), Settlement.REFUSED, Settlement.UNROUTABLE]
)
async def test_a_posted_reply_is_tried_again(first: Settlement | Exception) -> None:
    """Whatever is wrong at first, it is told only when the reply is confirmed."""
    clock, publisher, told = ManualClock(), Scripted(first, Settlement.CONFIRMED), list[bool]()
    found = make(publisher, clock)
    async with found._tasks as tasks:
        found.post("q", REPLY, told.append)
        await settle()
        assert (told, len(tasks)) == ([], 1)
        await clock.advance(10)
        assert (told, len(tasks)) == ([True], 0)
    assert len({each.envelope.message_id for each in publisher.sent}) == 2


async def test_a_posted_reply_is_given_up_too() -> None:
    """If nobody is there to read it, that is told; and its queue is known again once it is back."""
    clock, publisher, told = ManualClock(), Scripted(Settlement.UNROUTABLE), list[bool]()
    publisher.answers *= 2
    found = make(publisher, clock)
    async with found._tasks:
        found.post("q", REPLY, told.append)
        await clock.advance(60)
        assert (told, list(found._gone)) == ([False], ["q"])
        publisher.answers = [Settlement.CONFIRMED]
        found.post("q", REPLY, told.append)
        assert (told, list(found._gone)) == ([False, True], [])
