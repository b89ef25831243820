"""Tests of `worker.once`: an effect and its reply in one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from flow import codec
from flow.context import StepContext, UndoContext
from flow.errors import ConfigurationError, StoreUnavailable
from flow.handler import bind, bind_undo
from flow.kept import Kept
from flow.ports import SavedReply
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.service import Endpoint, WorkerSettings
from flow.runtime.worker.once import Once
from flow.verdict import Skip
from tests.flow.runtime.worker_bench import Shop, request


@dataclass
class Transaction:
    """One transaction of `Ledger`."""

    saved: SavedReply | None
    connection: list[object]
    is_tombstone: bool = False
    reply: SavedReply | None = None
    buried: list[str] = field(default_factory=list[str])

    async def bury(self, key: str) -> None:
        """Note a tombstone until the end of the block."""
        self.buried.append(key)

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
    tombstones: set[str] = field(default_factory=set[str])
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
        present = Transaction(self.replies.get(key), [], key in self.tombstones)
        yield present
        if present.reply is not None:
            self.tombstones.update(present.buried)
            for buried in present.buried:
                self.replies.pop(buried, None)
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

    reply = await Once(ledger, "shop").run(request(), handle)
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
        await once.run(request(number), handle)
    assert [record.getMessage() for record in caplog.records] == [
        (
            "the inbox cannot tell whether order-0:steps/charge was done: "
            "the store db cannot be used: away"
        ),
        "the inbox can be used again",
    ]


# ------------------------------------------------------------------------------- undoing

RUN_KEY = "order-1:steps/charge"
RUN = {"input": 5, "status": "SUCCESS", "output": 6, "run_key": RUN_KEY, "attempts": 1}


def refunding(*faults: BaseException, exactly_once: bool = True) -> Endpoint:
    """Return the undo of `charging`, which writes what it gives back."""
    waiting = list(faults)

    async def refund(amount: int, undo: UndoContext[int]) -> None:
        if undo.transaction is not None:
            undo.transaction.append(-amount)
        if waiting:
            raise waiting.pop(0)

    async def charge(amount: int) -> int:
        return amount

    handler = bind_undo(refund, bind(charge, owner="pay.charge"))
    return Endpoint("pay.refund", handler, exactly_once=exactly_once, is_undo=True)


def undo_request(number: int = 1, **run: object) -> StepRequest:
    """Return the request for an undo."""
    return request(
        correlation=f"order-1/2/9/{number}",
        endpoint="pay.refund",
        path="steps/charge/undo",
        body=codec.dumps({**RUN, **run}),
        attempt=number,
    )


async def test_an_undo_leaves_a_tombstone() -> None:
    """A run that comes after its undo is refused for good, and has surely not begun."""
    ledger = Ledger()
    async with Shop(charging(), refunding(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(undo_request())
        await shop.ask(request())
        undone, late = shop.replies()
        assert (undone.outcome, ledger.effects) == (Outcome.SUCCESS, [-5])
        assert ledger.tombstones == {f"shop/{RUN_KEY}"}
        assert (late.outcome, late.retryable) == (Outcome.FAILURE, False)
        assert late.failure is not None
        assert (late.failure.type, late.failure.phase) == ("flow.errors.AlreadyUndone", "validate")
        assert late.failure.fields == {"endpoint": "pay.charge", "key": RUN_KEY}


async def test_a_tombstone_takes_the_place_of_the_reply() -> None:
    """What was done, saved and undone is not told as done to a copy that comes late."""
    ledger = Ledger()
    async with Shop(charging(), refunding(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(request())
        await shop.ask(undo_request())
        await shop.ask(request())
        assert [reply.outcome for reply in shop.replies()] == [
            Outcome.SUCCESS,
            Outcome.SUCCESS,
            Outcome.FAILURE,
        ]
        assert ledger.effects == [5, -5]


async def test_an_undo_happens_once() -> None:
    """The undo's own reply is saved under its own key, and its effect happens once."""
    ledger = Ledger()
    async with Shop(refunding(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(undo_request(1))
        await shop.ask(undo_request(2))
        assert [reply.outcome for reply in shop.replies()] == [Outcome.SUCCESS] * 2
        assert ledger.effects == [-5]
        assert list(ledger.replies) == ["shop/order-1:steps/charge/undo"]


@pytest.mark.parametrize("fault", [ValueError("no"), Skip("known")])
async def test_an_undo_that_does_nothing_leaves_no_tombstone(fault: BaseException) -> None:
    """The tombstone and the effect of the undo are one transaction."""
    ledger = Ledger()
    async with Shop(charging(), refunding(fault), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(undo_request())
        assert (ledger.effects, ledger.tombstones) == ([], set())


async def test_only_an_undo_that_is_exactly_once_leaves_one() -> None:
    """Any other undo has no transaction, and so no tombstone."""
    ledger = Ledger()
    undo = refunding(exactly_once=False)
    async with Shop(charging(), undo, inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(undo_request())
        assert shop.replies()[0].outcome is Outcome.SUCCESS
        assert (ledger.effects, ledger.tombstones) == ([], set())


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"run_key": 7}'])
async def test_an_undo_of_nothing_that_is_known_fails(body: bytes) -> None:
    """A request that does not tell of a run buries nothing, and is answered with what is wrong."""
    ledger = Ledger()
    async with Shop(refunding(), inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(undo_request()._replace(body=body))
        (reply,) = shop.replies()
        assert reply.failure is not None
        assert (reply.failure.type, reply.failure.phase) == ("flow.errors.InvalidInput", "validate")
        assert ledger.tombstones == set()


async def test_what_was_kept_is_saved_with_the_reply() -> None:
    """A copy that gets the saved reply gets what the handler has left behind too."""
    ledger = Ledger()

    async def charge(amount: int, context: StepContext) -> int:
        context.state["tries"] = context.shared["paid"] = amount
        return amount

    endpoint = Endpoint("pay.charge", bind(charge).handler, exactly_once=True)
    async with Shop(endpoint, inbox=ledger, settings=FORGETFUL).open() as shop:
        await shop.ask(request())
        await shop.ask(request())
        first, second = shop.replies()
        assert first == second
        assert first.kept == Kept({"tries": b"5"}, {"paid": b"5"})
        assert (first.headers, len(ledger.effects)) == ({}, 0)
