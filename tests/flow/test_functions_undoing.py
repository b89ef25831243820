"""Tests of `flow.functions`: what takes a step back, and what goes before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from flow import Flow, RetryPolicy, Skip, StepContext, UndoContext
from flow.catalogue import check_announcement
from flow.codec import decode_announcement, encode_announcement
from flow.errors import (
    BindingError,
    DuplicateDefinition,
    ExecutionCompensated,
    InvalidName,
    InvalidOption,
)
from flow.message import Message
from flow.step import Step, StepKind
from flow.template import FromRun
from flow.testing import FlowHarness


@dataclass
class Trip:
    """What is booked."""

    days: int


def make() -> Flow:
    """Return a flow."""
    return Flow("shop", broker="memory://", store="memory://")


async def test_an_undo_is_an_endpoint_of_the_same_service() -> None:
    """It is served beside the step, asked for what is to be undone, and stays the function."""
    app = make()

    @app.service("travel").step
    async def book_hotel(trip: Trip) -> str:
        return f"b{trip.days}"

    @book_hotel.undo
    async def cancel_hotel(trip: Trip, undo: UndoContext[str]) -> str:
        return f"{undo.output} of {trip.days} days"

    endpoint = app.functions.endpoints["travel.cancel_hotel"]
    assert (endpoint.is_undo, endpoint.exactly_once, endpoint.prepare) == (True, False, None)
    undo = book_hotel.definition().undo
    assert (undo.id, undo.kind, undo.target) == (
        "cancel_hotel",
        StepKind.CALL,
        "travel.cancel_hotel",
    )
    assert undo.input == FromRun()
    context: UndoContext[str] = UndoContext(endpoint="x.y", output="b3")
    assert await cancel_hotel(Trip(3), context) == "b3 of 3 days"
    assert [step.id for step in app.functions.steps.values()] == ["book_hotel"]


def test_an_undo_has_options_of_its_own() -> None:
    """They are those of a step, where they make sense."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    retry = RetryPolicy(max_attempts=9)

    @charge.undo(
        id="refund.v2",
        retry=retry,
        timeout=5.0,
        start_within=6.0,
        heartbeat=7.0,
        labels={"team": "pay"},
    )
    def refund(trip: Trip) -> None: ...

    undo = charge.definition().undo
    assert (undo.id, undo.retry, undo.labels) == ("refund.v2", retry, {"team": "pay"})
    times = undo.timeout_ms, undo.start_within_ms, undo.heartbeat_ms
    assert times == (5000, 6000, 7000)


@pytest.mark.parametrize(
    "options",
    [
        {"requires": ["a"]},
        {"at_most_once": True},
        {"fallback": "a"},
        {"optional": True},
        {"concurrency": 1},
        {"undo": "a.b"},
        {"input": 1},
        {"timeuot": 1.0},
        {"timeout": 0},
        {"retry": 3},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    """Nothing stays of an undo whose options are wrong."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    with pytest.raises(InvalidOption, match=f"the undo of step 'charge'|{next(iter(options))}"):

        @charge.undo(**options)
        def refund(trip: Trip) -> None: ...

    assert list(app.functions.endpoints) == ["shop.charge"]
    assert charge.undo_step is None
    with pytest.raises(InvalidName):

        @charge.undo(id="a b")
        def refund_too(trip: Trip) -> None: ...


def test_a_second_undo_is_refused() -> None:
    """A step is taken back in one way; the second one is not served either."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    @charge.undo
    def refund(trip: Trip) -> None: ...

    with pytest.raises(InvalidOption, match="refund"):

        @charge.undo
        def refund_again(trip: Trip) -> None: ...

    assert list(app.functions.endpoints) == ["shop.charge", "shop.refund"]


def test_an_endpoint_that_is_served_is_refused() -> None:
    """An undo cannot be called like another function of the service, and the step has none then."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    def wrong(trip: Trip) -> None: ...

    wrong.__name__ = "charge"
    with pytest.raises(DuplicateDefinition, match=r"shop\.charge"):
        charge.undo(wrong)
    assert charge.undo_step is None


def test_only_a_coroutine_can_undo_exactly_once() -> None:
    """A function in a thread cannot use the transaction."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    with pytest.raises(InvalidOption, match="exactly_once"):

        @charge.undo(exactly_once=True)
        def refund(trip: Trip) -> None: ...

    @charge.undo(exactly_once=True)
    async def give_back(trip: Trip) -> None: ...

    assert app.functions.endpoints["shop.give_back"].exactly_once


def test_an_undo_without_a_source_is_refused() -> None:
    """A parameter that the run does not take is named where the undo is declared."""
    app = make()

    @app.step
    def reserve(trip: Trip) -> str:
        return ""

    @app.step(requires=[reserve])
    def charge(trip: Trip) -> None: ...

    with pytest.raises(BindingError, match="'reserve' takes the output of 'reserve'"):

        @charge.undo
        def refund(trip: Trip, reserve: str) -> None: ...

    assert charge.undo_step is None


def test_what_was_made_before_is_not_changed() -> None:
    """A workflow takes its steps as they are when it is made."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    before = app.workflow("before", charge)

    @charge.undo
    def refund(trip: Trip) -> None: ...

    after = app.workflow("after", charge)
    assert [step.undo for step in before.definition.steps] == [None]
    assert [step.undo.id for step in after.definition.steps] == ["refund"]


def test_what_is_announced_has_its_undo() -> None:
    """Other programs undo the step as well, and what makes no sense is refused."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    @charge.undo(timeout=5.0)
    def refund(trip: Trip) -> None: ...

    announced = decode_announcement(encode_announcement(charge.announcement()))
    assert check_announcement(announced) == charge.announcement()
    assert announced.step.undo == charge.definition().undo


async def test_an_undo_can_be_asked_for() -> None:
    """A worker gives an undo the run's input and output, and who asks gets what it returns."""
    app = make()

    @app.step(requires=["hold"])
    def charge(trip: Trip, hold: str) -> int:
        return trip.days

    @charge.undo
    async def refund(hold: str, undo: UndoContext[int], bill: Trip) -> list[Any]:
        return [hold, undo.output, undo.run_key, undo.status.value, bill.days, undo.step_id]

    run = {
        "input": {"trip": {"days": 3}, "hold": "h"},
        "status": "SUCCESS",
        "output": 3,
        "failure": None,
        "run_key": "k",
        "attempts": 1,
    }
    async with FlowHarness(app):
        assert await app.call("shop.refund", run) == ["h", 3, "k", "SUCCESS", 3, ""]


async def test_a_hook_goes_before_its_step() -> None:
    """It gets the same input, and keeps the step from running by raising; it stays a function."""
    app, seen = make(), list[str]()

    @app.step
    async def charge(trip: Trip, context: StepContext) -> int:
        seen.append(f"charge {context.state['checked']}")
        return trip.days

    @charge.prepare
    def check(trip: Trip, context: StepContext, message: Message) -> None:
        seen.append(f"check {trip.days} {message.body.decode()}")
        context.state["checked"] = trip.days
        if trip.days < 1:
            raise ValueError("too short")

    trip = app.workflow("trip", charge, output=charge)
    async with FlowHarness(app):
        assert await trip.run(Trip(3)) == 3
        failed = await trip.execute(Trip(0))
        with pytest.raises(Exception, match="too short"):
            await failed.result()
    assert seen == ['check 3 {"days":3}', "charge 3", 'check 0 {"days":0}']
    with pytest.raises(ValueError, match="too short"):
        check(Trip(0), StepContext(endpoint="a.b"), Message())


@pytest.mark.parametrize("error", [Skip("closed"), ValueError("no sea")])
async def test_what_its_hook_kept_from_running_is_not_undone(error: Exception) -> None:
    """A step whose hook skips or fails has not begun; one that skips by itself has."""
    app, undone = make(), list[str]()

    @app.step
    async def hotel(trip: Trip) -> str:
        return f"b{trip.days}"

    @hotel.undo(exactly_once=True)
    async def cancel_hotel(undo: UndoContext[str]) -> None:
        undone.append(f"hotel {undo.output} {undo.run_key}")

    @app.step(requires=[hotel])
    def boat(trip: Trip) -> None:
        undone.append("the boat ran")

    @boat.prepare
    def check() -> None:
        raise error

    @boat.undo
    def cancel_boat() -> None:
        undone.append("boat")

    @app.step(requires=[hotel])
    def train(trip: Trip) -> None:
        raise Skip("on foot")

    @train.undo
    def cancel_train(undo: UndoContext[None]) -> None:
        undone.append(f"train {undo.status.value}")

    @app.step(requires=[boat, train])
    def car(trip: Trip) -> None:
        raise ValueError("no cars")

    holiday = app.workflow("holiday", hotel, boat, train, car, on_error="compensate")
    async with FlowHarness(app):
        execution = await holiday.execute(Trip(3), id="h-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
    assert undone == ["train SKIPPED", "hotel b3 h-1:steps/hotel"]


def test_a_second_hook_is_refused() -> None:
    """A step has one hook, and a hook has no undo to look at."""
    app = make()

    @app.step
    def charge(trip: Trip) -> None: ...

    with pytest.raises(BindingError, match="nothing to take back"):

        @charge.prepare
        def odd(undo: UndoContext[int]) -> None: ...

    @charge.prepare
    def check(trip: Trip) -> None: ...

    with pytest.raises(InvalidOption, match="it has a prepare hook already"):

        @charge.prepare
        def check_again(trip: Trip) -> None: ...


def test_a_step_that_is_an_undo_of_its_own_making() -> None:
    """A step that was declared with `undo=` has one already."""
    app = make()

    @app.step(undo=Step.call("pay.refund"))
    def charge(trip: Trip) -> None: ...

    with pytest.raises(InvalidOption, match="already"):

        @charge.undo
        def refund(trip: Trip) -> None: ...

    assert list(app.functions.endpoints) == ["shop.charge"]
