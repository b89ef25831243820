"""The handlers that workers serve: they do what the program says, and write down that they did."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, cast

from flow import Fail, Flow, Retry, Skip, StepContext, UndoContext
from flow.failure import Failure
from flow.names import service_of
from flow.runtime.service import Endpoint
from flow.testing.simulation.processes import present_process
from tests.simulation.ledger import Began
from tests.simulation.programs import INSTEAD, SERVICES, TOPIC
from tests.simulation.undos import UNDO, Behaviour
from tests.simulation.world import NAMESPACE, World

__all__ = ["act", "back", "block", "hear", "output_of", "run", "serve", "undo"]


def output_of(execution: str, path: str) -> str:
    """Return what a step that succeeds returns: the same, whoever runs it and how often.

    Args:
        execution: The id of the execution.
        path: The path of the step.
    """
    return f"{path} of {execution}"


def serve(app: Flow, services: Collection[str] = SERVICES) -> None:
    """Serve everything that programs call, and what they publish.

    Args:
        app: The application of one process.
        services: The services that it serves.
    """
    for name, endpoint in _endpoints().items():
        if service_of(name) in services:
            app.functions.endpoints[name] = endpoint


@lru_cache(maxsize=1)
def _endpoints() -> Mapping[str, Endpoint]:
    """Return all endpoints; what their signatures mean is found out once, for that takes long."""
    app = Flow(NAMESPACE, broker="memory://", store="memory://")
    for name in SERVICES:
        service = app.service(name)
        service.endpoint(run)
        service.endpoint(block)
        service.endpoint(undo)
        service.step(id=f"act-{name}", input=None)(act).undo(back)
    app.service(SERVICES[0]).subscribe(f"{TOPIC}.#")(hear)
    return app.functions.endpoints


async def run(body: Any, context: StepContext) -> str:
    """Do what is planned, and take time for it.

    Args:
        body: The input.
        context: The attempt.
    """
    return await _run(body, context)


async def undo(body: Any, context: StepContext) -> str:
    """Take a step back as it is planned, with whatever its definition says is the input.

    Args:
        body: The input.
        context: The attempt.
    """
    return await _run(body, context)


async def back(body: Any, context: UndoContext[Any]) -> str:
    """Take a step back as it is planned, as a function that is registered for it.

    Args:
        body: The input of the run.
        context: The attempt, and what is known of the run.
    """
    told = {
        "input": body,
        "status": context.status.value,
        "output": context.output,
        "failure": None if context.error is None else _told(context.error),
        "run_key": context.run_key,
        "attempts": context.run_attempts,
    }
    return await _run(told, context)


def act(body: Any, context: StepContext) -> str:
    """Stand for what `back` takes back. Nobody calls it: it only says what the input is like.

    Args:
        body: The input.
        context: The attempt.
    """
    return block(body, context)


def _told(failure: Failure) -> dict[str, Any]:
    return {
        "type": failure.type,
        "message": failure.message,
        "step": failure.step,
        "fields": dict(failure.fields),
    }


async def _run(body: Any, context: StepContext) -> str:
    world = World.present()
    behaviour = _behaviour(world, context)
    began = _begin(world, body, context)
    try:
        await asyncio.sleep(behaviour.seconds)
    except asyncio.CancelledError:
        world.ledger.ended(began, "cancelled")
        raise
    return _finish(world, behaviour, began)


def block(body: Any, context: StepContext) -> str:
    """Do what is planned, in a thread.

    Args:
        body: The input.
        context: The attempt.
    """
    world = World.present()
    behaviour = _behaviour(world, context)
    return _finish(world, behaviour, _begin(world, body, context))


async def hear(body: Any, context: StepContext) -> None:
    """Take note of what was published.

    Args:
        body: What.
        context: Which message it is.
    """
    World.present().counts["a topic was heard"] += 1


def _behaviour(world: World, context: StepContext) -> Behaviour:
    scenario, execution = world.scenario, context.execution_id
    program, seed = scenario.program_of(execution), scenario.seed_of(execution)
    behaviour = program.behaviour(seed, context.path, context.attempt)
    who = "an undo" if context.path.endswith(UNDO) else "a handler"
    world.counts[f"{who}: {behaviour.outcome}"] += 1
    return behaviour


def _begin(world: World, body: Any, context: StepContext) -> Began:
    process = present_process()
    assert process is not None
    began = world.ledger.began(process.name, context, body)
    _check_input(world, began)
    return began


def _check_input(world: World, began: Began) -> None:
    """Object if the outputs of the steps before are not what these have returned."""
    execution = began.execution
    if not world.scenario.program_of(execution).uses(began.path):
        return
    around = began.path.rpartition("steps/")[0]
    for name, given in cast("dict[str, Any]", began.body).items():
        paths = (f"{around}steps/{name}{suffix}" for suffix in ("", INSTEAD))
        if isinstance(given, str) and given not in {output_of(execution, path) for path in paths}:
            wrong = f"{execution} {began.path} got {given!r} as the output of {name}"
            world.object_to("wrong input", wrong)


def _finish(world: World, behaviour: Behaviour, began: Began) -> str:
    ledger = world.ledger
    match behaviour.outcome:
        case "succeed" | "timeout":
            output = output_of(began.execution, began.path)
            ledger.ended(began, "success", output)
            return output
        case "skip":
            ledger.ended(began, "skip")
            raise Skip("it was planned that there is nothing to do")
        case "error":
            ledger.ended(began, "failure")
            raise RuntimeError("it was planned that this attempt fails")
        case "fail":
            ledger.ended(began, "failure")
            raise Fail("it was planned that this step fails for good")
        case "retry":
            ledger.ended(began, "failure")
            raise Retry(behaviour.pause_s, "it was planned that another attempt follows")
