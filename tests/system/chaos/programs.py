"""The workflows of a chaos run, the handlers of their steps, and one process that plays a role.

Every handler writes down that it begins and that it is done, into a file of its process, and
returns a token that nobody else can have made. Whoever requires a step gets its token, and writes
down that it has seen it: so the checker knows which effect each result came from, and whether
anybody went on from something else than what was recorded.

Whether an execution refuses some first attempts, or fails for good, follows from its input.
"""

import asyncio
import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from flow import Fail, Flow, RetryPolicy, Step, StepContext, workflow_input
from flow.clock import SystemClock
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition
from flow.workflows import Workflow
from tests.system import effects

__all__ = [
    "NAMESPACE",
    "WORKFLOWS",
    "Shape",
    "create_bookings",
    "main",
    "orchestrating",
    "shape_of",
    "working",
]

NAMESPACE: Final = "chaos"
WORKFLOWS: Final = ("chain", "fan", "nested")
PARTS: Final = 8
CONCURRENCY: Final = 60
SHORTEST_S, LONGEST_S = 0.005, 0.2
BEAT_S: Final = 2.0
"""A step that runs at most once counts as silent after three times so many seconds."""
SOON: Final = RetryPolicy(max_attempts=8, initial=0.2, maximum=2.0)
PATIENT: Final = RetryPolicy(max_attempts=1_000, initial=0.2, maximum=2.0)

create_bookings: Final = (
    "CREATE TABLE booking (key text NOT NULL, token text NOT NULL)",
    "CREATE INDEX booking_key ON booking (key)",
)
BOOK: Final = "INSERT INTO booking (key, token) VALUES ($1, $2)"

_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Request:
    """What a step is asked.

    Args:
        seen: The tokens of the steps that it requires, by path.
        refusals: How many of its first attempts it refuses; only the flaky one looks.
        fails: Whether it then fails for good; only the flaky one looks.
    """

    seen: dict[str, str]
    refusals: int = 0
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """What a step returns."""

    token: str


class NotYet(Exception):
    """An attempt is refused as planned."""


# ---------------------------------------------------------------------------------- handlers


def _note(kind: str, request: Request, context: StepContext, token: str = "") -> None:
    effect = {
        "kind": kind,
        "execution": context.execution_id,
        "path": context.path,
        "attempt": context.attempt,
        "key": context.idempotency_key,
        "pid": os.getpid(),
        "at_ms": _CLOCK.now_ms(),
        "seen": request.seen,
        "token": token,
    }
    effects.append(effects.effects_file(), effect)


def _takes_s(context: StepContext) -> float:
    """Return how long a step takes: always the same, 5 to 200 ms, short ones more often."""
    share = random.Random(context.idempotency_key).random()
    return SHORTEST_S + (LONGEST_S - SHORTEST_S) * share**2


def _done(request: Request, context: StepContext) -> Token:
    token = secrets.token_hex(8)
    _note("done", request, context, token)
    return Token(token)


async def act(request: Request, context: StepContext) -> Token:
    """Take a moment, then have the effect."""
    _note("began", request, context)
    await asyncio.sleep(_takes_s(context))
    return _done(request, context)


def work(request: Request, context: StepContext) -> Token:
    """Take a moment in a thread, then have the effect."""
    _note("began", request, context)
    threading.Event().wait(_takes_s(context))
    return _done(request, context)


async def flake(request: Request, context: StepContext) -> Token:
    """Refuse the first attempts as planned; then fail for good as planned, or have the effect."""
    _note("began", request, context)
    await asyncio.sleep(_takes_s(context))
    if context.attempt <= request.refusals:
        _note("refused", request, context)
        raise NotYet(f"attempt {context.attempt} of {request.refusals} that are refused")
    if request.fails:
        _note("refused", request, context)
        raise Fail("as planned")
    return _done(request, context)


async def stamp(request: Request, context: StepContext) -> Token:
    """Do what must not be done twice."""
    return await act(request, context)


async def book(request: Request, context: StepContext) -> Token:
    """Write a row in the transaction that ends with the handler."""
    _note("began", request, context)
    token = secrets.token_hex(8)
    await context.transaction.execute(BOOK, context.idempotency_key, token)
    await asyncio.sleep(_takes_s(context))
    # The effect is the row; this only tells that the handler came to its end.
    _note("done", request, context, token)
    return Token(token)


def working(inbox: str = "") -> Flow:
    """Return what a worker runs.

    Args:
        inbox: The URL of the database with the bookings.
    """
    app = Flow(NAMESPACE, concurrency=CONCURRENCY, inbox=inbox or None)
    service = app.service("chaos")
    for handler in (act, work, flake, stamp):
        service.endpoint(handler)
    service.endpoint(exactly_once=True)(book)
    return app.play("worker")


# --------------------------------------------------------------------------------- workflows


def _step(name: str, method: str, *requires: Step[Any], **options: Any) -> Step[Any]:
    seen = {step.id: step.output.token for step in requires}
    plan = {"refusals": workflow_input.refusals, "fails": workflow_input.fails}
    return Step.call(f"chaos.{method}", id=name, input={"seen": seen, **plan}, **options)


def _chain(app: Flow) -> None:
    first = _step("first", "act")
    flaky = _step("flaky", "flake", first, retry=SOON)
    once = _step("once", "stamp", flaky, at_most_once=True, heartbeat=BEAT_S)
    booked = _step("booked", "book", once, retry=PATIENT)
    thread = _step("thread", "work", booked)
    last = _step("last", "act", thread)
    app.workflow("chain", first, flaky, once, booked, thread, last, output=last)


def _fan(app: Flow) -> None:
    split = _step("split", "act")
    methods = ("act", "work")
    parts = [_step(f"part-{number}", methods[number % 2], split) for number in range(PARTS)]
    join = _step("join", "act", *parts)
    app.workflow("fan", split, *parts, join, output=join)


def _nested(app: Flow) -> None:
    left = _step("left", "act")
    right = _step("right", "flake", left, retry=SOON)
    inner: Workflow[Any] = app.workflow("inner", left, right, output=right)
    before = _step("before", "work")
    plan = {"refusals": workflow_input.refusals, "fails": workflow_input.fails}
    inside = Step.sub_workflow(inner, id="inside", requires=[before], input=plan)
    after = _step("after", "act", inside)
    app.workflow("nested", before, inside, after, output=after)


def orchestrating() -> Flow:
    """Return what an orchestrator runs."""
    app = Flow(NAMESPACE)
    for define in (_chain, _fan, _nested):
        define(app)
    return app.play("orchestrator")


class Shape:
    """What the checker has to know of a workflow.

    Attributes:
        requires: The paths of the steps that have to be done before each one, by path.
        flaky: The paths of those that refuse as planned.
        once: The paths of those that run at most once.
        booked: The paths of those that run exactly once.
    """

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.requires: dict[str, tuple[str, ...]] = {}
        self.flaky: set[str] = set()
        self.once: set[str] = set()
        self.booked: set[str] = set()
        for path, step, requires in _walk(definition, "", ()):
            self.requires[path] = requires
            method = step.target.removeprefix("chaos.")
            if step.kind is StepKind.CALL and method in {"flake", "stamp", "book"}:
                {"flake": self.flaky, "stamp": self.once, "book": self.booked}[method].add(path)


def _walk(
    definition: WorkflowDefinition, prefix: str, before: tuple[str, ...]
) -> Iterator[tuple[str, StepDefinition, tuple[str, ...]]]:
    for step in definition.steps:
        path = f"{prefix}steps/{step.id}"
        requires = tuple(f"{prefix}steps/{name}" for name in step.requires) or before
        yield path, step, requires
        if step.workflow is not None:
            yield from _walk(step.workflow, f"{path}/", requires)


def shape_of(app: Flow) -> Mapping[str, Shape]:
    """Return the shapes of a flow's workflows, by id.

    Args:
        app: What `orchestrating` has returned.
    """
    return {definition.id: Shape(definition) for definition in app.definitions}


# ----------------------------------------------------------------------------------- process


async def main(role: str, lives: str, inbox: str = "") -> None:
    """Take part until it is asked to stop.

    Args:
        role: `worker` or `orchestrator`.
        lives: The file that takes who this is, as soon as it takes part.
        inbox: The URL of the database with the bookings.
    """
    app = orchestrating() if role == "orchestrator" else working(inbox)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
        async with app:
            engine = None if app.host is None else app.host.engine
            owner = "" if engine is None else engine.owner
            life = {"pid": os.getpid(), "role": role, "owner": owner, "at_ms": _CLOCK.now_ms()}
            effects.append(Path(lives), life)
            sys.stdout.write("ready\n")
            await _obey(app, signals)


async def _obey(app: Flow, signals: AsyncIterable[signal.Signals]) -> None:
    """Tell all as often as that is wanted, until it is asked to stop."""
    async for number in signals:
        if number is signal.SIGTERM:
            return
        _tell_all(app)


def _tell_all(app: Flow) -> None:
    """Print how the process is, and where its tasks wait: for people who look for a cause."""
    if app.host is not None:
        sys.stdout.write(f"health {app.host.health()}\n")
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stdout)
