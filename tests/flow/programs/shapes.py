"""Random workflows and start options, from a seed and a size."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from flow.errors import FlowError
from flow.plan import Plan, StartOptions
from flow.planner import plan
from flow.retry import RetryPolicy
from flow.step import StepDefinition, StepKind
from flow.template import Composed, FromInput, FromStep, Template
from flow.workflow import HOOKS, WorkflowDefinition

LARGEST = 60
NESTING = 2


def random_plan(seed: int, size: int) -> Plan:
    """Return the plan of a random workflow of *size* steps, started with random options."""
    random = Random(seed)
    definition = random_workflow(random, size, 0)
    for _ in range(5):
        try:
            return plan(definition, "hash", random_options(random, definition))
        except FlowError:
            # The options did not go together. Others will.
            continue
    return plan(definition, "hash")


def random_workflow(random: Random, size: int, depth: int) -> WorkflowDefinition:
    """Return a random workflow of *size* steps."""
    ids = [f"s{number}" for number in range(size)]
    fallbacks = _fallbacks(random, ids)
    steps: list[StepDefinition] = []
    for number, name in enumerate(ids):
        earlier = [other for other in ids[:number] if other not in fallbacks.values()]
        requires = random.sample(earlier, min(len(earlier), random.choice((0, 0, 1, 1, 2, 3))))
        if name in fallbacks.values():
            requires = []
        fallback = fallbacks.get(name, "")
        steps.append(_random_step(random, name, depth, requires=tuple(requires), fallback=fallback))
    hooks = {name: _random_step(random, name, depth) for name in HOOKS if random.random() < _RARE}
    plain = [name for name in ids if name not in fallbacks.values()]
    return WorkflowDefinition(
        id=f"w{depth}",
        steps=tuple(steps),
        output=_random_output(random, plain),
        hooks=hooks,
        barrier=random.random() < _RARE,
        timeout_ms=random.choice((None, None, 3_000, 10_000)),
    )


def random_options(random: Random, definition: WorkflowDefinition) -> StartOptions:
    """Return random start options, which may not go together."""
    ids = [step.id for step in definition.steps]

    def some(chance: float) -> tuple[str, ...]:
        return tuple(name for name in ids if random.random() < chance)

    if random.random() < _RARE:
        return StartOptions()
    return StartOptions(
        start_at=tuple(random.sample(ids, 1)) if random.random() < _RARE else (),
        reverse=random.random() < _RARE,
        barrier=random.choice((None, None, True, False)),
        timeout_ms=random.choice((None, None, 5_000)),
        skip=some(0.1) if random.random() < _HALF else (),
        optional=some(0.2),
        max_attempts=dict.fromkeys(some(0.2), 2),
        fallback={random.choice(ids): random.choice(["", *ids])} if random.random() < _RARE else {},
    )


_RARE = 0.3
_HALF = 0.5


def _fallbacks(random: Random, ids: list[str]) -> dict[str, str]:
    """Return fallbacks by the steps that they stand in for; they come right behind them."""
    pairs: dict[str, str] = {}
    for step, fallback in pairwise(ids):
        if step not in pairs.values() and random.random() < _RARE:
            pairs[step] = fallback
    return pairs


def _random_step(random: Random, id: str, depth: int, **options: Any) -> StepDefinition:
    options["optional"] = random.random() < _RARE / 2
    options["concurrency"] = random.choice((None, None, None, 1, 2))
    if depth < NESTING and random.random() < _RARE / 2:
        workflow = random_workflow(random, random.randint(1, 4), depth + 1)
        return StepDefinition(
            id=id, kind=StepKind.WORKFLOW, target=workflow.id, workflow=workflow, **options
        )
    options["retry"] = random.choice((None, RetryPolicy(max_attempts=random.randint(1, 3))))
    options["at_most_once"] = random.random() < _RARE
    options["start_within_ms"] = random.choice((None, None, None, 2_500))
    target = random.choice(("service.a", "service.b", "service.c"))
    return StepDefinition(id=id, kind=StepKind.CALL, target=target, **options)


def _random_output(random: Random, ids: list[str]) -> Template | None:
    one = random.choice(ids)
    templates: tuple[Template | None, ...] = (
        None,
        None,
        FromStep(one),
        FromStep(one, ("x",)),
        Composed((("one", FromStep(one)), ("total", FromInput(("total",))))),
    )
    return random.choice(templates)
