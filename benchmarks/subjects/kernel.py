"""Decisions of the kernel alone: no broker, no store, no bytes."""

import gc
import time
from collections.abc import Iterator
from typing import Final

from benchmarks.suite import Measurement, Session, benchmark
from flow.codec import assemble
from flow.kernel.commands import RunStep
from flow.kernel.decide import MACHINES, Decision, Moment, decide
from flow.kernel.events import Attempt, ExecutionStarted, StepSucceeded
from flow.kernel.execution import EXECUTION, ExecutionData
from flow.kernel.tree import Tree
from flow.plan import Plan
from flow.planner import plan
from flow.programs.steps import StepsProgram
from flow.status import Status
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition

__all__: list[str] = []

_COUNT: Final = 3_000
_NOW: Final = Moment(1_000, 0.0)


@benchmark("kernel", "Decisions of the kernel")
def kernel(session: Session) -> Iterator[Measurement]:
    """Measure executions from their start to their end, on one core."""
    shapes = {"three in a row": _plan(3, is_chain=True), "ten side by side": _plan(10)}
    for name, made in shapes.items():
        count = session.scaled(_COUNT)
        gc.collect()
        began = time.process_time()
        decisions = sum(_execute(made) for _ in range(count))
        spent = time.process_time() - began
        yield Measurement(
            name, {"decisions/s": decisions / spent, "µs each": spent / decisions * 1e6}
        )


def _plan(size: int, *, is_chain: bool = False) -> Plan:
    steps = tuple(
        StepDefinition(
            f"s{number}",
            StepKind.CALL,
            "bench.work",
            (f"s{number - 1}",) if is_chain and number else (),
        )
        for number in range(size)
    )
    return plan(WorkflowDefinition(id="bench", steps=steps), "hash")


def _execute(made: Plan) -> int:
    """Decide one execution from its start to its end, and return the number of decisions."""
    tree = Tree.create(MACHINES, EXECUTION, Status.PENDING, ExecutionData())
    tree.take()
    program = StepsProgram(made, assemble)
    waiting = _attempts(decide(tree, program, ExecutionStarted("bench", "hash", b"1"), _NOW))
    decisions = 1
    while waiting:
        event = StepSucceeded(waiting.pop(), b"1")
        waiting += _attempts(decide(tree, program, event, _NOW))
        decisions += 1
    if tree.root.state is not Status.SUCCESS:
        raise AssertionError(tree.root.state)
    return decisions


def _attempts(decision: Decision) -> list[Attempt]:
    """Return the attempts that a decision asks for."""
    outputs = decision.changes.outputs
    return [
        Attempt(each.ref.created, each.task.epoch, each.task.attempt)
        for each in outputs
        if isinstance(each.task, RunStep)
    ]
