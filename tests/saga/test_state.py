"""What steps keep for each other, through the whole engine."""

import asyncio
from typing import Any

import pytest

from flow import (
    ExecutionCompensated,
    ExecutionFailed,
    Flow,
    RetryPolicy,
    Step,
    StepContext,
    UndoContext,
)
from flow.testing import FlowHarness
from tests.saga.loader import fixtures


def _bags() -> list[Any]:
    """Return the predecessor's state bags; the parameter that skips is one of them."""
    found = fixtures("serialization")
    return [one for one in found if not one.values[0] or one.values[0]["kind"] == "statebag"]


@pytest.mark.parametrize("fixture", _bags())
async def test_a_state_bag_arrives_as_it_was(fixture: dict[str, Any]) -> None:
    """A later attempt finds the local values, a later step the shared ones, null and all."""
    bag, app = fixture["json"], Flow("bags")
    found: dict[str, dict[str, Any]] = {}

    @app.step(retry=RetryPolicy(max_attempts=2))
    async def write(context: StepContext) -> None:
        if context.attempt == 1:
            context.state.update(bag["local"])
            raise ConnectionError
        found["local"] = dict(context.state)
        context.shared.update(bag["global"])

    @app.step(requires=[write])
    async def read(context: StepContext) -> None:
        found["global"] = dict(context.shared)

    workflow = app.workflow("w", write, read)
    async with FlowHarness(app):
        await workflow.run()
    assert found == bag


async def test_an_undo_finds_what_its_run_left() -> None:
    """The undo of a step sees the step's state and what was shared by then."""
    app = Flow("bags")
    seen: dict[str, Any] = {}

    @app.step
    async def book(context: StepContext) -> None:
        context.state["number"] = 2**62
        context.shared["room"] = "a"
        context.attach("receipt", b"\x00\xff")

    @book.undo
    async def cancel(undo: UndoContext[None]) -> None:
        seen.update(state=dict(undo.state), shared=dict(undo.shared))
        undo.attach("refund", {"all": True})

    @app.step(requires=[book])
    async def change(context: StepContext) -> None:
        context.shared["room"] = "b"

    @app.step(requires=[change])
    async def fail(context: StepContext) -> None:
        assert context.shared["room"] == "b"
        raise ValueError("no")

    workflow = app.workflow("w", book, change, fail, on_error="compensate")
    async with FlowHarness(app):
        execution = await workflow.execute()
        with pytest.raises(ExecutionFailed):
            await execution.result()
        report = await execution.report()
    assert seen == {"state": {"number": 2**62}, "shared": {"room": "a"}}
    run, undo = report.find("book"), report.find("book", "undo")
    assert run is not None
    assert undo is not None
    assert (run.metadata, undo.metadata) == ({"receipt": b"\x00\xff"}, {"refund": {"all": True}})


@pytest.mark.parametrize("lets_go", [True, False])
async def test_an_undo_finds_what_was_left_after_an_abort(*, lets_go: bool) -> None:
    """The undo of an aborted run sees its state, whether it let go or went on to its end."""
    app = Flow("bags")
    seen: dict[str, Any] = {}

    @app.step
    async def book(context: StepContext) -> None:
        context.state["number"] = 7
        context.shared["room"] = "a"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if lets_go:
                raise

    @book.undo
    async def cancel(undo: UndoContext[None]) -> None:
        seen.update(state=dict(undo.state), shared=dict(undo.shared))

    workflow = app.workflow("w", book)
    async with FlowHarness(app) as test:
        execution = await workflow.execute()
        await test.settle()
        await execution.abort(compensate=True)
        with pytest.raises(ExecutionCompensated):
            await execution.result()
    assert seen == {"state": {"number": 7}, "shared": {} if lets_go else {"room": "a"}}


async def test_an_undo_finds_the_state_of_a_run_that_contradicted() -> None:
    """What a step has shared against another is refused; its own undo finds its state."""
    app = Flow("bags", concurrency=1)
    seen: list[dict[str, Any]] = []

    @app.step
    async def left(context: StepContext) -> None:
        context.shared["room"] = "a"

    @app.step
    async def right(context: StepContext) -> None:
        context.state["number"] = 7
        context.shared["room"] = "b"

    @right.undo
    async def cancel(undo: UndoContext[None]) -> None:
        seen.append(dict(undo.state))

    workflow = app.workflow("w", left, right, on_error="compensate")
    async with FlowHarness(app):
        with pytest.raises(ExecutionCompensated):
            await workflow.run()
    assert seen == [{"number": 7}]


async def test_steps_side_by_side_must_not_contradict_each_other() -> None:
    """Of two steps that share different values the later one fails, and the error names both."""
    app = Flow("bags", concurrency=1)

    @app.step
    async def left(context: StepContext) -> None:
        context.shared["room"] = "a"

    @app.step
    async def right(context: StepContext) -> None:
        context.shared["room"] = "b"

    workflow = app.workflow("w", left, right)
    async with FlowHarness(app):
        with pytest.raises(ExecutionFailed, match="'left', 'right' share different values"):
            await workflow.run()


async def test_what_one_step_would_see_has_a_limit() -> None:
    """Where what several steps have shared is too much for one, it fails and names the values."""
    app = Flow("bags")

    def sharing(name: str) -> Step[Any]:
        async def share(context: StepContext) -> None:
            context.shared[name] = "x" * 15_000

        share.__name__ = name
        return app.step(share)

    @app.step
    async def look() -> None:
        """Never comes to it."""

    steps = [sharing(name) for name in ("a", "b", "c", "d")]
    workflow = app.workflow("w", *steps, look.require(*steps))
    async with FlowHarness(app):
        with pytest.raises(ExecutionFailed, match="step 'look': TooLarge: the shared state"):
            await workflow.run()
