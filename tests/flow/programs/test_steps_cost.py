"""Tests of `flow.programs.steps`: what the end of a step costs in a workflow of 10,000 steps."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import deque
from collections.abc import Iterable

import pytest

from flow.codec import assemble
from flow.kernel.commands import RunStep
from flow.kernel.decide import MACHINES, Decision, Moment, decide
from flow.kernel.events import Attempt, Event, ExecutionStarted, StepSucceeded
from flow.kernel.execution import EXECUTION, ExecutionData
from flow.kernel.tree import Tree
from flow.plan import Plan
from flow.programs.steps import StepsProgram
from flow.status import Status
from flow.step import StepDefinition
from tests.flow.programs.driver import planned, step

LARGE, SMALL = 10_000, 2_000
CALLS, BYTES = 250, 8_192
"""Twice as much as the end of a step takes, and far less than a look at each of so many steps."""


class Course:
    """An execution whose steps end well one after the other, and what the next end costs."""

    def __init__(self, plan: Plan) -> None:
        """Start an execution of *plan*."""
        self.tree = Tree.create(MACHINES, EXECUTION, Status.PENDING, ExecutionData())
        self.program = StepsProgram(plan, assemble)
        self.out = deque[Attempt]()
        self._note(self._decide(ExecutionStarted("shop", "hash", b"1")))

    def end(self, count: int) -> None:
        """End as many steps."""
        for _ in range(count):
            self._note(self._decide(StepSucceeded(self.out.popleft(), b"1")))

    def calls(self) -> int:
        """End a step, and return how many functions were called for it, those in C included."""
        count = 0

        def note(_frame: object, what: str, _argument: object) -> None:
            nonlocal count
            count += what in {"call", "c_call"}

        event = StepSucceeded(self.out.popleft(), b"1")
        # Others may have their own code called by the collector.
        gc.disable()
        sys.setprofile(note)
        try:
            decision = self._decide(event)
        finally:
            sys.setprofile(None)
            gc.enable()
        self._note(decision)
        return count

    def bytes(self) -> int:
        """End a step, and return how much memory it took at most: copies of long lists show."""
        event = StepSucceeded(self.out.popleft(), b"1")
        tracemalloc.start()
        try:
            decision = self._decide(event)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self._note(decision)
        return peak

    def _decide(self, event: Event) -> Decision:
        return decide(self.tree, self.program, event, Moment(5))

    def _note(self, decision: Decision) -> None:
        self.out += [
            Attempt(ref.created, task.epoch, task.attempt)
            for ref, task in decision.changes.outputs
            if isinstance(task, RunStep)
        ]


def wide(count: int) -> Iterable[StepDefinition]:
    """Return steps that require nothing."""
    return [step(f"s{number}") for number in range(count)]


def long(count: int) -> Iterable[StepDefinition]:
    """Return steps that each require the one before."""
    steps = [step(f"s{number}", f"s{number - 1}") for number in range(1, count)]
    return [step("s0"), *steps]


@pytest.mark.parametrize("shape", [wide, long])
def test_the_end_of_a_step_costs_what_its_dependents_cost(shape: type) -> None:
    """Five times as many steps, of which nearly all have ended, make the next end no dearer."""
    costs: list[int] = []
    for count in (SMALL, LARGE):
        course = Course(planned(*shape(count)))
        early = course.calls()
        # In a wide workflow something waits still, so that the end of a step sends the next one.
        course.end(count - (1_500 if shape is wide else 50))
        costs += [early, course.calls()]
        assert course.bytes() < BYTES
    assert max(costs) < CALLS
    assert max(costs) == min(costs)
