"""Tests of `orchestrator.publications`: which requests say that they may have come before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow import ExecutionCompensated, ExecutionFailed, Flow, Step, undone, workflow_input
from flow.errors import BrokerUnavailable
from flow.ports import Delivery, Publication, Settlement
from flow.runtime.publisher import Told
from flow.testing import FlowHarness
from tests.flow.runtime.orchestrator.test_dispatcher import engine_of
from tests.flow.runtime.sagas import NO, made
from tests.flow.runtime.worlds import single


class PlainWorker:
    """Takes requests, and does nothing with them."""

    def __init__(self, app: Flow, test: FlowHarness) -> None:
        assert app.host is not None
        self._addresses = app.host.addresses
        self._test = test
        self.requests: list[Delivery] = []

    async def serve(self, *endpoints: str) -> None:
        """Take the requests for some endpoints."""
        broker = self._test._broker
        await broker.declare(self._addresses.worker("plain", endpoints))
        for service in {endpoint.partition(".")[0] for endpoint in endpoints}:
            await broker.consume(self._addresses.service_queue(service), 100, self.requests.append)

    def marks(self) -> list[str]:
        """Return what each request says of whether it was sent before."""
        return [each.envelope.headers.get("flow-again", "") for each in self.requests]


async def test_only_what_is_sent_again_says_so() -> None:
    """After a silence the same attempt goes out once more, marked; the first time it is not."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        worker = PlainWorker(app, test)
        await worker.serve("work.s1")
        await workflow.execute(id="e-1")
        await test.advance(59)
        assert worker.marks() == [""]
        await test.advance(2)
        assert worker.marks() == ["", "1"]
        assert len({each.envelope.correlation_id for each in worker.requests}) == 1


async def test_what_waited_for_its_endpoint_was_never_there() -> None:
    """A request that came back because nobody served it is not marked when somebody does."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        await workflow.execute(id="e-1")
        await test.advance(20)
        worker = PlainWorker(app, test)
        await worker.serve("work.s1")
        await test.advance(15)
        assert worker.marks() == [""]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [(None, BrokerUnavailable("memory://", "gone")), (Settlement.REFUSED, None)],
)
async def test_an_unknown_outcome_marks_the_copy(
    outcome: Settlement | None, error: Exception | None
) -> None:
    """Where nobody knows whether the broker took it, the next one says that it may have."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        worker = PlainWorker(app, test)
        await worker.serve("work.s1")
        publisher = engine_of(app).dispatcher._publisher
        confused: Any = _confused(publisher.post, outcome, error)
        publisher.post = confused  # type: ignore[method-assign]
        await workflow.execute(id="e-1")
        await test.advance(5)
        assert worker.marks() == ["", "1"]


def _confused(
    post: Callable[[Publication, Told], None],
    outcome: Settlement | None,
    error: Exception | None,
) -> Callable[[Publication, Told], None]:
    told_wrongly: list[str] = []

    def confuse(publication: Publication, told: Told) -> None:
        if publication.envelope.type == "step.request" and not told_wrongly:
            told_wrongly.append(publication.routing_key)
            post(publication, lambda _outcome, _error: told(outcome, error))
        else:
            post(publication, told)

    return confuse


async def test_what_the_outbox_still_holds_is_marked() -> None:
    """A new owner cannot know what the one before has published."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        worker = PlainWorker(app, test)
        await worker.serve("work.s1")
        publisher = engine_of(app).dispatcher._publisher
        post = publisher.post

        def lose(publication: Publication, told: Told) -> None:
            if publication.envelope.type != "step.request":
                post(publication, told)

        publisher.post = lose  # type: ignore[method-assign]
        await workflow.execute(id="e-1")
        await test.settle()
        assert worker.marks() == []
        await test.restart()
        await worker.serve("work.s1")
        await test.settle()
        assert worker.marks() == ["1"]


async def test_after_a_broker_lost_everything_all_is_marked() -> None:
    """What is swept because the broker is another one was sent before."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        first = PlainWorker(app, test)
        await first.serve("work.s1")
        await workflow.execute(id="e-1")
        await test.settle()
        test.crash(broker=True)
        await test.restart()
        second = PlainWorker(app, test)
        await second.serve("work.s1")
        await test.advance(15)
        assert (first.marks(), second.marks()[:1]) == ([""], ["1"])


async def test_an_undo_gets_its_own_input_and_key() -> None:
    """An undo's input refers to the run's output and fate, and its path is below the step's."""
    app = Flow("world", broker="memory://", store="memory://")
    taken = {"all": workflow_input, "key": undone.run_key, "said": undone.output["id"]}
    step: Step[None] = Step.call("book.car", undo=Step.call("undo.car", input=taken))
    last: Step[None] = Step.call("book.last", requires=[step])
    workflow = app.workflow("w", step, last, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("book.car", {"id": 7})
        test.stub("book.last", NO)
        test.stub("undo.car", None)
        execution = await workflow.execute(5, id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        (call,) = test.calls("undo.car")
        assert call.input == {"all": 5, "key": "e-1:steps/car", "said": 7}
        assert call.idempotency_key == "e-1:steps/car/undo"


async def test_what_could_not_be_asked_for_is_not_undone() -> None:
    """A step whose input cannot be put together has surely not begun, and has no undo."""
    app = Flow("world", broker="memory://", store="memory://")
    first: Step[None] = Step.call("book.first", undo="undo.first")
    wrong = {"x": first.output["nothing"]}
    second: Step[None] = Step.call("book.second", input=wrong, undo="undo.second")
    workflow = app.workflow("w", first, second, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("book.first", {})
        test.stub("undo.first", None)
        test.stub("undo.second", None)
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionCompensated, match="MappingFailed"):
            await execution.result()
        assert made(test) == ["book.first", "undo.first"]
        failed = (await execution.report()).find("second")
        assert failed is not None
        assert failed.failure is not None
        assert failed.failure.phase == "request"


async def test_an_undo_that_cannot_be_asked_for_has_failed() -> None:
    """An undo whose input cannot be put together is an incident like one that fails."""
    app = Flow("world", broker="memory://", store="memory://")
    first: Step[None] = Step.call("book.first")
    undo: Step[None] = Step.call("undo.first", input={"x": first.output["nothing"]})
    first.undo_with(undo)
    last: Step[None] = Step.call("book.last", requires=[first])
    workflow = app.workflow("w", first, last, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("book.first", {})
        test.stub("book.last", NO)
        execution = await workflow.execute(id="e-1")
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result()
        assert not isinstance(caught.value, ExecutionCompensated)
        failed = (await execution.report()).find("first", "undo")
        assert failed is not None
        assert failed.failure is not None
        assert "the input of the undo of step 'first'" in failed.failure.message


async def test_a_topic_can_take_back() -> None:
    """An undo that publishes is done once the broker has it, under a key of its own."""
    app = Flow("world", broker="memory://", store="memory://")
    step: Step[None] = Step.call("book.car", undo=Step.publish("cars.cancelled"))
    workflow = app.workflow("w", step, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("book.car", NO)
        execution = await workflow.execute({"n": 1}, id="e-1")
        with pytest.raises(ExecutionCompensated):
            await execution.result()
        (message,) = test.published("cars.cancelled")
        assert (message.body, message.headers["flow-key"]) == (
            b'{"n":1}',
            "e-1:steps/car/undo",
        )
