"""An abort that one process asks for, and another decides, ends handlers in others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from flow import Execution, ExecutionAborted, Flow
from flow.status import Status
from store.postgres import PostgresStore
from tests.system import effects, journal
from tests.system.health import play, worker_counts
from tests.system.processes import Child, Crew, eventually
from tests.system.programs.holding import AT_ONCE, NAMESPACE

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(120)]

PROGRAM = "tests.system.programs.holding"
SOON_S = 3.0
"""Seconds within which a handler has to see that it is cancelled: nothing but a message is due."""
DEADLINE_S = 30.0


@pytest.fixture
def holding(crew: Crew, broker_url: str, database_url: str) -> Crew:
    """Processes over RabbitMQ and PostgreSQL."""
    crew.broker, crew.store = broker_url, database_url
    return crew


async def start(crew: Crew, *workers: str) -> list[Child]:
    """Start an orchestrator and workers, each a process; return them once all take part."""
    children = [play(crew, "orchestrator", f"{PROGRAM}:boss")]
    children += [play(crew, "worker", f"{PROGRAM}:{name}") for name in workers]
    for child in children:
        await child.says("ready;")
    return children


def told(crew: Crew, what: str) -> Counter[tuple[str, str, int]]:
    """Return who says something, and how often: execution, path and process."""
    return Counter(
        (effect["execution"], effect["path"], effect["pid"])
        for effect in effects.load(crew.effects)
        if effect["what"] == what
    )


async def all_tell(crew: Crew, what: str, who: set[tuple[str, str, int]], within_s: float) -> None:
    """Wait until all of these have said something, and check that each said it once."""
    await eventually(lambda: told(crew, what).keys() >= who, f"all are {what}", within_s)
    assert told(crew, what) == Counter(dict.fromkeys(who, 1))


async def is_aborted(execution: Execution[Any], reason: str) -> None:
    """Check that whoever waits for an execution hears that it was aborted, and why."""
    assert await execution.status() is Status.ABORTED
    with pytest.raises(ExecutionAborted, match=reason):
        await execution.result()


async def has_let_go(child: Child, answered: int, cancelled: int = 0) -> None:
    """Wait until a worker has answered so many requests; check how many it has let go.

    A handler that was cancelled and returns all the same is answered for: an undo could need to
    know what it did. There is none here, and so nobody records it.
    """
    found = await worker_counts(child, "answered", answered, SOON_S)
    assert (found["answered"], found["cancelled"], found["running"]) == (answered, cancelled, 0)


async def end(crew: Crew, children: list[Child], aborted: list[str]) -> None:
    """Let all processes end, and check that nobody's reply was recorded."""
    for child in reversed(children):
        await child.terminate()
    found = await journal.read_store(PostgresStore(crew.store), NAMESPACE, aborted)
    for name in aborted:
        one = found[name]
        assert one.status is Status.ABORTED
        assert (one.told, one.recorded, one.outputs) == (Counter(), Counter(), {})


async def test_an_abort_reaches_a_handler(holding: Crew) -> None:
    """A handler is cancelled, a request in the queue never begins, and the turn is free again."""
    children = await start(holding, "near")
    me = children[1].pid
    async with Flow(NAMESPACE, broker=holding.broker).play() as client:
        single = await client.workflows.load("single")
        running = await single.execute(id="running")
        await all_tell(holding, "begun", {("running", "steps/hold", me)}, DEADLINE_S)
        queued = await single.execute(id="queued")
        assert await queued.abort(reason="not needed") is Status.ABORTED
        assert await running.abort(reason="too slow") is Status.ABORTED
        await all_tell(holding, "cancelled", {("running", "steps/hold", me)}, SOON_S)
        await is_aborted(running, "too slow")
        await is_aborted(queued, "not needed")
        # It stands behind the request that was cancelled, and the worker makes one at a time.
        with anyio.fail_after(DEADLINE_S):
            assert await single.run(AT_ONCE, id="next") == "done"
        await has_let_go(children[1], answered=2, cancelled=1)
    await end(holding, children, ["running", "queued"])
    assert {name for name, _, _ in told(holding, "begun")} == {"running", "next"}


async def test_an_abort_reaches_a_sub_workflow(holding: Crew) -> None:
    """The abort of a parent ends a coroutine and, in another process, a sub-workflow's thread."""
    children = await start(holding, "near", "far")
    who = {
        ("parent", "steps/beside", children[1].pid),
        ("parent", "steps/inner/steps/inside", children[2].pid),
    }
    async with Flow(NAMESPACE, broker=holding.broker).play() as client:
        outer = await client.workflows.load("outer")
        parent = await outer.execute(id="parent")
        await all_tell(holding, "begun", who, DEADLINE_S)
        assert await parent.abort(reason="closed") is Status.ABORTED
        await all_tell(holding, "cancelled", who, SOON_S)
        await is_aborted(parent, "closed")
        await has_let_go(children[1], answered=1)
        # The turn of a thread that is not wanted any more is free before it ends.
        await has_let_go(children[2], answered=1, cancelled=1)
        steps = await parent.steps()
        assert (steps["inner"], steps["beside"]) == (Status.ABORTED, Status.ABORTED)
        assert (await parent.step("inner/inside"))["status"] == Status.ABORTED.value
    await end(holding, children, ["parent"])
