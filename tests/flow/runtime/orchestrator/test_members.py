"""Tests of `orchestrator.members`: the news that orchestrators tell each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow.ports import Binding, Delivery, Envelope, Publication
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator.members import LEASES, REVISION, Members
from tests.flow.runtime.clocks import CountingChance
from tests.flow.runtime.clusters import Cluster


class Letter:
    """A message that only knows whether it was acknowledged."""

    routing_key = ""
    redelivered = False

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.acks = 0

    def ack(self) -> None:
        """Be done with."""
        self.acks += 1

    def requeue(self) -> None:
        """Go back."""
        raise AssertionError

    def reject(self) -> None:
        """Go to the dead."""
        raise AssertionError


def member(owner: str, posted: list[Publication], *, alone: bool = False) -> Members:
    """Return a member that posts into a list."""
    return Members(Addresses("shop"), owner, CountingChance(), posted.append, alone=alone)


def test_news_reach_the_others() -> None:
    """What one tells is heard by the others, and not by itself."""
    posted: list[Publication] = []
    heard: list[tuple[str, dict[str, Any]]] = []

    def hear(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda news: heard.append((name, news))

    one, two = member("a", posted), member("b", posted)
    for name, each in (("a", one), ("b", two)):
        each.on(LEASES, hear(name))
    one.tell(LEASES, wanted=True)
    (publication,) = posted
    assert (publication.exchange, publication.mandatory) == ("shop.members", False)
    letter = Letter(publication.envelope)
    one.receive(letter)
    two.receive(letter)
    assert heard == [("b", {"owner": "a", "wanted": True})]
    assert letter.acks == 2


def test_nobody_is_told_where_there_is_nobody() -> None:
    """With a store that one process has all to itself nothing is told, and nothing is bound."""
    posted: list[Publication] = []
    lonely = member("a", posted, alone=True)
    lonely.tell(REVISION)
    assert posted == []
    assert lonely.topology().bindings == ()
    assert member("b", posted).topology().bindings == (Binding("shop.members.b", "shop.members"),)


def test_answers_are_handed_on() -> None:
    """What is no news is an answer to what this orchestrator has asked, and is acknowledged."""
    answers: list[Delivery] = []
    one = member("a", [])
    lost = Letter(Envelope("answer", b"1"))
    one.receive(lost)
    one.on_answer(answers.append)
    answer = Letter(Envelope("answer", b"2"))
    one.receive(answer)
    assert (answers, lost.acks, answer.acks) == ([answer], 1, 1)


def test_news_that_nobody_can_read_do_no_harm() -> None:
    """News that are no JSON are dropped, and those that are no object are news all the same."""
    heard: list[dict[str, Any]] = []
    one = member("a", [])
    one.on(LEASES, heard.append)
    one.receive(Letter(Envelope(LEASES, b"{")))
    one.receive(Letter(Envelope(LEASES, b"3")))
    assert heard == [{}]


async def test_lost_news_cost_a_renewal_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any news partitions are spread all the same, a few renewals later."""

    def silent(_self: Members, _type: str, **_news: object) -> None:
        """Tell nobody."""

    monkeypatch.setattr(Members, "tell", silent)
    async with Cluster() as cluster:
        await cluster.start("a", "b")
        await cluster.advance(11)
        cluster.expect_spread()
        await cluster.stop("a")
        await cluster.advance(6)
        cluster.expect_spread()
