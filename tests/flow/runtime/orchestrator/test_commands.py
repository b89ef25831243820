"""Tests of `orchestrator.commands`: outbox rows, and what they stand for."""

from __future__ import annotations

from dataclasses import replace

from flow import Flow
from flow.codec import dumps
from flow.kernel.commands import CancelStep, RunStep, SendAnswer
from flow.kernel.events import Attempt
from flow.ports import OutboxRow
from flow.runtime.orchestrator.commands import (
    attempt_again,
    attempt_in,
    attempt_of,
    command_of,
    target_of,
)
from flow.runtime.orchestrator.live import LiveExecution
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import single


def live_of(app: Flow) -> LiveExecution:
    """Return the execution `e-1`, which is in memory."""
    assert app.host is not None
    assert app.host.engine is not None
    live = app.host.engine.residents.get("e-1")
    assert live is not None
    return live


async def test_a_row_becomes_the_command_that_it_was_made_from() -> None:
    """Each kind of task is read again from its row."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        live = live_of(app)
        common = {"path": "steps/s1", "node": 4, "attempt": 1, "epoch": 2}
        for task in (RunStep(attempt=1, epoch=2), CancelStep(attempt=1, epoch=2), SendAnswer()):
            document = dumps({"task": type(task).__name__, **common})
            command = command_of(OutboxRow(3, 7, "e-1", document), live)
            assert (command.key, command.path, command.node) == ((3, 7), "steps/s1", 4)
            assert command.task == task
        run = command_of(OutboxRow(3, 7, "e-1", dumps({"task": "RunStep", **common})), live)
        assert attempt_in(run) == Attempt(4, 2, 1)


async def test_an_attempt_that_is_out_can_be_sent_again() -> None:
    """It is the same attempt, wanted as long as it is out; nodes that are no steps have none."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        live = live_of(app)
        node = live.tree.node("steps/s1")
        command = attempt_again(live, node)
        assert command is not None
        assert (command.key, attempt_in(command)) == (None, attempt_of(node))
        assert target_of(command) is node
        assert target_of(replace(command, node=99)) is None
        assert target_of(replace(command, path="steps/other")) is None
        assert attempt_again(live, live.tree.root) is None


async def test_an_attempt_with_a_permit_is_never_sent_again() -> None:
    """Whoever has the permit has the only request."""
    app, workflow = single(at_most_once=True)
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        await workflow.execute(id="e-1")
        await test.settle()
        live = live_of(app)
        assert attempt_again(live, live.tree.node("steps/s1")) is None
