"""Kinds of programs that scenarios are made of: what is executed, and how its handlers behave.

One class for each kind of program. A kind says how to declare itself in an application
(`declare`), and what every handler call does (`behaviour`), which follows from the execution, the
path of the step and the number of the attempt alone. So whoever runs an attempt twice gets the
same outcome twice, and how an execution has to end is known in advance (`may_fail`).

To add a kind (durable code, states): write a frozen class with the same methods, and have
`invention` draw it. What takes steps back is in `undos`, and `sagas` draws it.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Protocol

from flow import Flow, Step, Workflow
from flow.catalogue import OpenDefinition
from flow.defining import WorkflowOptions, define
from flow.step import StepOptions
from flow.workflow import OnError, OnUndoError, WorkflowDefinition
from tests.simulation.undos import RETRIES, UNDO, Behaviour, Outcome, PlannedUndo, run_of

__all__ = [
    "INSTEAD",
    "SERVICES",
    "TOPIC",
    "Behaviour",
    "Kind",
    "Outcome",
    "PlannedStep",
    "Program",
    "StepsProgram",
]

SERVICES: Final = ("alpha", "beta")
"""The services that workers serve. Each has an endpoint `run`, which awaits, and `block`, which
is an ordinary function; and `undo` and `back`, which take steps back."""
INSTEAD: Final = "-else"
"""What the id of a step that stands in for another one ends with, behind the other one's id."""
TOPIC: Final = "happened"
"""What publish steps publish begins with this word."""

Kind = Literal["run", "block", "publish", "nested"]


class Program(Protocol):
    """What every kind of program has."""

    @property
    def id(self) -> str:
        """The id of its workflow."""
        ...

    def declare(self, app: Flow) -> Workflow[Any]:
        """Declare the workflow in an application."""
        ...

    def behaviour(self, seed: str, path: str, attempt: int) -> Behaviour:
        """Return what a handler does, for the *seed* of the execution."""
        ...

    def uses(self, path: str) -> bool:
        """Return whether the input of a step is made of the outputs of those before it."""
        ...

    def may_fail(self, seed: str, *, spared: Collection[str] = ()) -> bool:
        """Return whether an execution may end in FAILURE because of its own handlers."""
        ...

    def undo_may_fail(self, seed: str, path: str) -> bool:
        """Return whether an undo may fail for good because of its own handler."""
        ...

    def features(self) -> Iterator[str]:
        """Go through what the program makes use of, for the statistics."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of a workflow, and what its handler is like.

    Args:
        id: Its id.
        kind: How it is carried out.
        service: Which service has the endpoint.
        requires: The steps before it.
        uses: Whether its input is made of the outputs of the steps before it.
        trouble: How often its handler does anything but succeed at once, from 0 to 1.
        longest_s: How long its handler usually takes at most.
        is_long: Whether it is declared to take long, and acknowledged when it begins.
        at_most_once: Whether its handler may run only once.
        is_retried: Whether it is tried again when it fails.
        optional: Whether the execution goes on without it.
        fallback: The step that stands in for it, or an empty string.
        concurrency: How many of its endpoint may run at once, or None.
        nested: The program that it runs, if it is a sub-workflow.
        fails: How often its handler fails for good, whatever else it does, from 0 to 1.
        undo: What takes it back, or None.
    """

    id: str
    kind: Kind = "run"
    service: str = SERVICES[0]
    requires: tuple[str, ...] = ()
    uses: bool = False
    trouble: float = 0.0
    longest_s: float = 0.1
    is_long: bool = False
    at_most_once: bool = False
    is_retried: bool = True
    optional: bool = False
    fallback: str = ""
    concurrency: int | None = None
    nested: StepsProgram | None = None
    fails: float = 0.0
    undo: PlannedUndo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsProgram:
    """A workflow of steps.

    Args:
        id: The id of the workflow.
        steps: Its steps. Fallbacks are the steps that another one names as such.
        barrier: Whether levels are kept apart.
        hook: Whether a step runs once the outcome is known.
        on_error: What happens when a step has failed for good, or an empty string.
        on_undo_error: Whether undos go on when one has failed, or an empty string.
        settle_s: How long is waited for word of an attempt before its step is undone, or None.
    """

    id: str
    steps: tuple[PlannedStep, ...]
    barrier: bool = False
    hook: bool = False
    on_error: OnError | Literal[""] = ""
    on_undo_error: OnUndoError | Literal[""] = ""
    settle_s: float | None = None

    def declare(self, app: Flow) -> Workflow[Any]:
        """Declare the workflow in an application.

        Args:
            app: Where to.
        """
        workflow: Workflow[Any] = Workflow(_definition(self), lambda: app.client)
        app.defined[self.id] = workflow
        return workflow

    def behaviour(self, seed: str, path: str, attempt: int) -> Behaviour:
        """Return what a handler does.

        Args:
            seed: The seed of the execution.
            path: The path of the step in the execution.
            attempt: The number of the attempt.
        """
        chance = random.Random(f"{seed} {path} {attempt}")
        planned = self.find(path)
        if planned is None:
            return Behaviour("succeed", chance.random() * 0.05)
        if planned.undo is not None and path.endswith(UNDO):
            return planned.undo.behaviour(seed, path, attempt)
        outcomes = _planned_outcomes(planned, seed, path)
        outcome: Outcome = outcomes[attempt - 1] if attempt <= len(outcomes) else "succeed"
        seconds = planned.longest_s * chance.random() ** 3
        if planned.kind == "block":
            seconds = 0.0
        elif outcome == "timeout":
            seconds = 3_600.0
        return Behaviour(outcome, seconds, round(chance.random() * 5, 3))

    def may_fail(self, seed: str, prefix: str = "", spared: Collection[str] = ()) -> bool:
        """Return whether an execution may end in FAILURE because of its own handlers.

        Args:
            seed: The seed of the execution.
            prefix: The path of the sub-workflow that this is, with a slash behind.
            spared: Steps whose failure does no harm.
        """
        by_id = {step.id: step for step in self.steps}
        stand_ins = {step.fallback for step in self.steps}
        return any(
            _is_lost(by_id, step, seed, prefix)
            for step in self.steps
            if step.id not in stand_ins and not step.optional and step.id not in spared
        )

    def undo_may_fail(self, seed: str, path: str) -> bool:
        """Return whether an undo may fail for good because of its own handler.

        Args:
            seed: The seed of the execution.
            path: The path of the undo in the execution.
        """
        step = self.find(path)
        return step is not None and step.undo is not None and step.undo.may_fail(seed, path)

    def uses(self, path: str) -> bool:
        """Return whether the input of a step is made of the outputs of those before it.

        Args:
            path: The path of the step in the execution.
        """
        step = self.find(path)
        return step is not None and step.uses and not path.endswith(UNDO)

    def find(self, path: str) -> PlannedStep | None:
        """Return the step at a path, or the one that an undo belongs to, or None for a hook.

        Args:
            path: The path of the step in the execution.
        """
        kind, _, rest = run_of(path).partition("/")
        name, _, inner = rest.partition("/")
        if kind != "steps":
            return None
        step = next(step for step in self.steps if step.id == name)
        return step.nested.find(inner) if step.nested is not None and inner else step

    def walk(self, prefix: str = "") -> Iterator[tuple[str, PlannedStep]]:
        """Go through all steps with their paths, those of sub-workflows too."""
        for step in self.steps:
            path = f"{prefix}steps/{step.id}"
            yield path, step
            if step.nested is not None:
                yield from step.nested.walk(f"{path}/")

    def features(self) -> Iterator[str]:
        """Go through what the program makes use of, for the statistics."""
        yield from ["barrier"] if self.barrier else []
        yield from ["hook"] if self.hook else []
        for _, step in self.walk():
            yield f"a step of kind {step.kind}"
            names = ("uses", "is_long", "at_most_once", "optional", "fallback", "concurrency")
            yield from (f"a step with {name}" for name in names if getattr(step, name))
            yield from _saga_features(step)
        yield f"on_error={self.on_error}"
        yield f"on_undo_error={self.on_undo_error}"


@lru_cache(maxsize=100)
def _definition(program: StepsProgram) -> WorkflowDefinition | OpenDefinition:
    """Return what a program is to the product; to make it takes long, so that it is made once."""
    made: dict[str, Step[Any]] = {}
    for planned in program.steps:
        made[planned.id] = _step(planned, made)
    options: WorkflowOptions = {"barrier": program.barrier}
    if program.on_error:
        options["on_error"] = program.on_error
    if program.on_undo_error:
        options["on_undo_error"] = program.on_undo_error
    if program.settle_s is not None:
        options["settle_within"] = program.settle_s
    if program.hook:
        options["on_end"] = Step.call(f"{SERVICES[0]}.run", id="hook", input=None)
    return define(program.id, list(made.values()), None, options)


def _step(planned: PlannedStep, made: dict[str, Step[Any]]) -> Step[Any]:
    options = _options(planned, made)
    if planned.nested is not None:
        return Step.sub_workflow(_definition(planned.nested), **options)
    if planned.kind == "publish":
        return Step.publish(f"{TOPIC}.{planned.id}", **options)
    return Step.call(f"{planned.service}.{planned.kind}", **options)


def _options(planned: PlannedStep, made: dict[str, Step[Any]]) -> StepOptions:
    options: StepOptions = {"id": planned.id, "requires": list(planned.requires)}
    if planned.uses:
        options["input"] = {name: made[name].output for name in planned.requires}
    if planned.is_long:
        options |= {"timeout": 900.0, "heartbeat": 10.0}
    if planned.at_most_once:
        options["at_most_once"] = True
    elif planned.is_retried and planned.kind in {"run", "block"}:
        options["retry"] = RETRIES
    if planned.optional:
        options["optional"] = True
    if planned.fallback:
        options["fallback"] = planned.fallback
    if planned.concurrency is not None:
        options["concurrency"] = planned.concurrency
    if planned.undo is not None:
        options["undo"] = planned.undo.step(planned.id)
    return options


def _saga_features(step: PlannedStep) -> Iterator[str]:
    if step.undo is not None:
        yield f"an undo of style {step.undo.style}"
    if step.nested is not None and step.nested.on_error:
        yield f"a sub-workflow with on_error={step.nested.on_error}"


def _planned_outcomes(planned: PlannedStep, seed: str, path: str) -> tuple[Outcome, ...]:
    """Return how the first attempts of a step end, which may be one that fails for good."""
    if random.Random(f"{seed} {path} for good").random() < planned.fails:
        return ("fail",)
    return _outcomes(planned, seed, path)


def _outcomes(planned: PlannedStep, seed: str, path: str) -> tuple[Outcome, ...]:
    """Return how the first attempts of a step end; all others succeed."""
    chance = random.Random(f"{seed} {path}")
    if planned.kind in {"publish", "nested"} or chance.random() >= planned.trouble:
        return ()
    if planned.at_most_once or not planned.is_retried:
        choices: list[Outcome] = ["error", "fail", "skip"]
        return (chance.choice(choices),)
    bad: list[Outcome] = ["error", "error", "retry"]
    if planned.kind == "run" and planned.longest_s > 1.0 and not planned.is_long:
        bad.append("timeout")
    match chance.randrange(6):
        case 0:
            return ("skip",)
        case 1:
            return (*chance.choices(bad, k=chance.randrange(2)), "fail")
        case 2:
            doomed: list[Outcome] = ["error"] * RETRIES.max_attempts
            return tuple(doomed)
        case _:
            return tuple(chance.choices(bad, k=chance.randrange(1, RETRIES.max_attempts)))


def _is_doomed(step: PlannedStep, seed: str, prefix: str) -> bool:
    path = f"{prefix}steps/{step.id}"
    if step.nested is not None:
        return step.nested.may_fail(seed, f"{path}/")
    outcomes = _planned_outcomes(step, seed, path)
    if not outcomes or outcomes[-1] == "skip":
        return False
    is_tried_again = step.is_retried and not step.at_most_once
    return "fail" in outcomes or not is_tried_again or len(outcomes) >= RETRIES.max_attempts


def _is_lost(by_id: dict[str, PlannedStep], step: PlannedStep, seed: str, prefix: str) -> bool:
    """Return whether a step fails for good, and whatever stands in for it too."""
    if not _is_doomed(step, seed, prefix):
        return False
    return not step.fallback or _is_doomed(by_id[step.fallback], seed, prefix)
