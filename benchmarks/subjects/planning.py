"""Workflows of many steps: made and sorted, against networkx alone; and run in one process.

What is made is what a program writes: steps, a workflow of them, which is validated, and its
levels. Beside it networkx builds a graph of the same ids and edges, and sorts it into levels.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import networkx as nx

from benchmarks.processes import Children
from benchmarks.suite import Goal, Measurement, Session, benchmark
from flow import Flow, Step

__all__ = ["requirements"]

SIZES: Final = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
SHAPES: Final = ("chain", "star", "layers", "random")
RUN_SHAPES: Final = ("layers", "star")
_WIDTH: Final = 100

Requires = Sequence[tuple[str, tuple[str, ...]]]
"""The id of each step, with the ids of those that it waits for."""


@benchmark(
    "planning",
    "Making, validating and sorting workflows",
    goals=[Goal(f"flowmq, 100k steps, {shape}", "CPU ms ÷ networkx", most=2) for shape in SHAPES],
)
def planning(session: Session) -> Iterator[Measurement]:
    """Measure how long workflows of several sizes and shapes take to make and sort."""
    for name, size in SIZES.items():
        for shape in SHAPES:
            steps = requirements(shape, session.scaled(size, 10))
            title = f"{name} steps, {shape}"
            base = f"networkx, {title}"
            ours = {"CPU ms": _cpu_ms(partial(_plan, steps))}
            yield Measurement(f"flowmq, {title}", ours, against=base)
            yield Measurement(base, {"CPU ms": _cpu_ms(partial(_sort, steps))})


@benchmark(
    "graphs",
    "Running workflows of many steps, in one process without a disk",
    rounds=1,
    goals=[
        Goal(f"100k steps, {shape}", "CPU µs a step ÷ 1k steps", most=2) for shape in RUN_SHAPES
    ],
)
def graphs(session: Session) -> Iterator[Measurement]:
    """Measure what a step of a workflow of no-op steps costs, by the size of the workflow."""
    for shape in RUN_SHAPES:
        for name, size in SIZES.items():
            with Children() as children:
                count = str(session.scaled(size, 10))
                child = children.python(
                    "process",
                    "-m",
                    "benchmarks.programs.graphs",
                    shape,
                    count,
                    environment={"FLOW_BROKER": "memory:", "FLOW_STORE": "memory:"},
                )
                found = child.answers()
            against = "" if name == "1k" else f"1k steps, {shape}"
            yield Measurement(f"{name} steps, {shape}", found, against)


def requirements(shape: str, size: int) -> Requires:
    """Return the steps of a graph.

    Args:
        shape: `chain`; `star`, where all wait for the first; `layers` of a hundred steps that wait
            for three of the layer before; or `random`, where each waits for two earlier ones.
        size: How many steps.
    """
    chance = random.Random(1)
    return [
        (f"step-{number}", tuple(f"step-{each}" for each in _before(shape, number, chance)))
        for number in range(size)
    ]


def _before(shape: str, number: int, chance: random.Random) -> list[int]:
    if shape == "layers":
        first = (number // _WIDTH - 1) * _WIDTH
        return sorted({first + chance.randrange(_WIDTH) for _ in range(3)}) if first >= 0 else []
    if number == 0:
        return []
    if shape == "random":
        return sorted({chance.randrange(number) for _ in range(2)})
    return [number - 1 if shape == "chain" else 0]


def _plan(requires: Requires) -> int:
    steps = [Step.call("bench.work", id=name, requires=before) for name, before in requires]
    return len(Flow("bench", store="memory:").workflow("graph", *steps).steps())


def _sort(requires: Requires) -> int:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(name for name, _ in requires)
    graph.add_edges_from((first, name) for name, before in requires for first in before)
    return len(list(nx.topological_generations(graph)))


def _cpu_ms(work: Callable[[], object]) -> float:
    """Return the processor time that something takes, in milliseconds."""
    gc.collect()
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e3
