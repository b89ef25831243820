"""Tests of `worker.once`: an effect and its reply in one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from flow.context import StepContext
from flow.errors import ConfigurationError, StoreUnavailable
from flow.handler import bind
from flow.ports import SavedReply
from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.service import Endpoint, WorkerSettings
from flow.runtime.worker.once import Once
from flow.verdict import Skip
from tests.flow.runtime.worker_bench import Shop, request


@dataclass
class Transaction:
    """One transaction of `Ledger`."""

    saved: SavedReply | None
    connection: list[object]
    reply: SavedReply | None = None

    async def save(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep a reply until the end of the block."""
        self.reply = SavedReply(body, dict(headers))


@dataclass
class Ledger:
    """An inbox whose effects are a list; it fails on entering or on leaving as a test says."""

    effects: list[object] = field(default_factory=list[object])
    replies: dict[str, SavedReply] = field(default_factory=dict[str, SavedReply])
    entering: list[Exception] = field(default_factory=list[Exception])
    leaving: list[Exception] = field(default_factory=list[Exception])
    url: str = "memory://"

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    @asynccontextmanager
    async def attempt(self, key: str) -> AsyncGenerator[Transaction]:
        """Begin a transaction."""
        if self.entering:
            raise self.entering.pop(0)
        present = Transaction(self.replies.get(key), [])
        yield present
        if present.reply is not None:
            self.replies[key] = present.reply
            self.effects += present.connection
        if self.leaving:
            raise self.leaving.pop(0)

    async def forget(self, older_than_ms: int, limit: int) -> int:
        """Delete nothing."""
        return older_than_ms * limit * 0


def charging(*faults: BaseException) -> Endpoint:
    """Return an endpoint that writes its input through the transaction, or raises."""
    waiting = list(faults)

    async def charge(amount: int, context: StepContext) -> int:
        context.transaction.append(amount)
        if waiting:
            raise waiting.pop(0)
        return amount + 1

    return Endpoint("pay.charge", bind(charge).handler, exactly_once=True)


FORGETFUL = WorkerSettings(answered_items=0)


async def test_the_effect_happens_once() -> None:
    """The same request, and every other attempt of its step, gets the saved reply."""
    ledger = Ledger()
    async with Shop(charging(), inbox=ledger, settings=FORGETFUL).open() as shop:
        again = request(attempt=2, correlation="order-1/1/2/2")
        await shop.ask(request(), request(), again)
        await shop.ask(request())
        assert [reply.body for reply in shop.replies()] == [b"6"] * len(shop.replies())
        assert ledger.effects == [5]
        assert list(ledger.replies) == ["shop/order-1:steps/charge"]
        assert shop.in_queue() == (0, 0)


async def test_another_step_has_an_effect_of_its_own() -> None:
    """Keys of other executions are others; a plain call goes by its correlation id."""
    ledger = Ledger()
    async with Shop(charging(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(request(1), request(2), request(3, execution="", correlation="c-9"))
        assert ledger.effects == [5, 5, 5]
        assert "shop/c-9" in ledger.replies


@pytest.mark.parametrize("fault", [ValueError("no"), Skip("known"), StoreUnavailable("db", "no")])
async def test_a_failure_leaves_nothing_behind(fault: BaseException) -> None:
    """What a failed handler wrote is undone, its outcome reported, and the next one may do it."""
    ledger = Ledger()
    async with Shop(charging(fault), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(request())
        assert len(shop.replies()) == 1
        assert shop.replies()[0].outcome is not Outcome.SUCCESS
        assert (ledger.effects, ledger.replies) == ([], {})
        await shop.ask(request(attempt=2, correlation="order-1/1/2/2"))
        assert (shop.replies()[1].body, ledger.effects) == (b"6", [5])


async def test_an_inbox_that_is_away_answers_nothing() -> None:
    """The request goes back after a moment, spends no attempt, and is done when it can be."""
    ledger = Ledger(entering=[StoreUnavailable("db", "away")])
    async with Shop(charging(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(request())
        assert (shop.arrived, shop.in_queue()) == ([], (0, 1))
        await shop.clock.advance(10)
        assert ([reply.body for reply in shop.replies()], ledger.effects) == ([b"6"], [5])


async def test_a_commit_whose_outcome_is_unknown_answers_nothing() -> None:
    """Whether it was committed the next attempt finds out; the effect stays one."""
    ledger = Ledger(leaving=[StoreUnavailable("db", "the connection is lost")])
    async with Shop(charging(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(request())
        assert shop.arrived == []
        await shop.clock.advance(10)
        assert ([reply.body for reply in shop.replies()], ledger.effects) == ([b"6"], [5])


async def test_other_endpoints_have_no_transaction() -> None:
    """Where nobody asks for it nothing is saved, even if there is an inbox."""
    seen: list[object] = []

    async def look(_amount: int, context: StepContext) -> None:
        seen.append(context.transaction)

    ledger = Ledger()
    async with Shop(Endpoint("pay.charge", bind(look).handler), inbox=ledger).open() as shop:
        await shop.ask(request())
        assert (seen, ledger.replies) == ([None], {})


def test_a_worker_without_an_inbox_does_not_begin() -> None:
    """An endpoint that needs an inbox is named where there is none."""
    with pytest.raises(ConfigurationError, match=r"pay\.charge.*inbox"):
        Shop(charging())


async def test_a_reply_that_is_no_success_is_not_saved() -> None:
    """A result that cannot be sent undoes what was written for it."""
    ledger = Ledger()

    async def handle(connection: object) -> StepReply:
        assert isinstance(connection, list)
        return StepReply(outcome=Outcome.FAILURE, retryable=False)

    reply = await Once(ledger, "shop").run("k", handle)
    assert reply is not None
    assert (reply.outcome, ledger.replies) == (Outcome.FAILURE, {})


async def test_an_outage_of_the_inbox_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The log says once that the inbox is away, whoever asks, and once that it is not."""
    away = [StoreUnavailable("db", "away") for _ in range(3)]
    once = Once(Ledger(entering=[*away]), "shop")

    async def handle(connection: object) -> StepReply:
        assert connection == []
        return StepReply(outcome=Outcome.SUCCESS)

    for number in range(5):
        await once.run(f"k{number}", handle)
    assert [record.getMessage() for record in caplog.records] == [
        "the inbox cannot tell whether k0 was done: the store db cannot be used: away",
        "the inbox can be used again",
    ]
