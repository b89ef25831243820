"""Drives one execution in a test: makes decisions, keeps its journal, and loads it again."""

from __future__ import annotations

from typing import Any

from flow.codec import Cause, Record, assemble, decode_record, encode_record
from flow.failure import Failure
from flow.kernel.commands import RunStep
from flow.kernel.decide import MACHINES, Accepted, Decision, Moment, Verdict, decide
from flow.kernel.events import (
    AbortRequested,
    Attempt,
    Event,
    ExecutionStarted,
    ResolveRequested,
    ResumeRequested,
    StepCancelled,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    SuspendRequested,
    TimerFired,
    UndoRequested,
)
from flow.kernel.execution import EXECUTION, SUB_WORKFLOW, ExecutionData, execution_clock
from flow.kernel.machine import Output
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node, Tree
from flow.plan import Plan, StartOptions
from flow.planner import plan
from flow.programs.steps import StepsProgram
from flow.status import Status
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition

FAILURE = Failure("builtins.ValueError", "no")
REFUSED = Failure("flow.errors.InvalidInput", "no", phase="validate")
"""A failure of a run that surely did not start."""
SNAPSHOT_EVERY = 5


def step(id: str, *requires: str, **options: Any) -> StepDefinition:
    """Return a call step."""
    values: dict[str, Any] = {"kind": StepKind.CALL, "target": f"service.{id}", **options}
    return StepDefinition(id=id, requires=requires, **values)


def inner(id: str, *steps: StepDefinition, **options: Any) -> StepDefinition:
    """Return a step that is a sub-workflow of *steps*; its own options go to the workflow."""
    own = ("optional", "fallback", "requires", "concurrency", "input")
    values: dict[str, Any] = {name: options.pop(name) for name in own if name in options}
    workflow = WorkflowDefinition(id="inner", steps=steps, **options)
    return StepDefinition(
        id=id, kind=StepKind.WORKFLOW, target=workflow.id, workflow=workflow, **values
    )


def undoable(id: str, *requires: str, **options: Any) -> StepDefinition:
    """Return a call step with an undo, which may have a policy of its own."""
    undo = step("take-back", **options.pop("undo", {}))
    return step(id, *requires, undo=undo, **options)


def planned(*steps: StepDefinition, options: StartOptions | None = None, **definition: Any) -> Plan:
    """Return the plan of a workflow called `shop`."""
    workflow = WorkflowDefinition(id="shop", steps=steps, **definition)
    return plan(workflow, "hash", options or StartOptions())


class Journal:
    """The records of an execution, as bytes; now and then one holds the whole tree."""

    def __init__(self) -> None:
        """Begin without records."""
        self.records: list[bytes] = []
        self._seq = 0

    def append(self, decision: Decision, tree: Tree) -> None:
        """Write down what a decision has changed."""
        self._seq += 1
        is_snapshot = self._seq % SNAPSHOT_EVERY == 1
        nodes = tree.snapshot() if is_snapshot else decision.changes.nodes
        text = encode_record(Record("id", self._seq, "stamp", (Cause("test"),), nodes))
        self.records = [text] if is_snapshot else [*self.records, text]

    def load(self) -> Tree:
        """Return the tree that the records describe."""
        records = [decode_record(text, MACHINES) for text in self.records]
        return Tree.load(MACHINES, [node for record in records for node in record.nodes])


class View:
    """What a test looks at: an execution with its plan, its program and its last decision."""

    def __init__(self, plan: Plan, now_ms: int) -> None:
        """Make an execution that has not begun."""
        self.plan = plan
        self.now_ms: int = now_ms
        self.tree = Tree.create(MACHINES, EXECUTION, Status.PENDING, ExecutionData())
        self.tree.take()
        self.program = StepsProgram(plan, assemble)
        self.last: Decision | None = None

    @property
    def status(self) -> Status:
        """Where the execution stands."""
        return Status(self.tree.root.state.value)

    def stands(self, status: str) -> bool:
        """Return whether the execution stands there; unlike `status`, this narrows nothing."""
        return self.status.value == status

    @property
    def data(self) -> ExecutionData:
        """The root's data."""
        return self.tree.root.read(EXECUTION)

    @property
    def out(self) -> list[str]:
        """The paths of the steps whose attempts are out."""
        return [node.path for node in self.steps() if node.state is Status.RUNNING]

    @property
    def states(self) -> dict[str, str]:
        """The statuses of steps, sub-workflows and hooks by their paths."""
        kinds = (STEP, SUB_WORKFLOW)
        nodes = [node for node in self.tree.walk() if node.machine in kinds]
        return {node.path: str(node.state.value) for node in nodes}

    def steps(self) -> list[Node]:
        """Return the nodes of all steps and hooks that are no sub-workflows."""
        return [node for node in self.tree.walk() if node.machine is STEP]

    def step(self, path: str) -> StepData:
        """Return the data of a step."""
        return self.tree.node(path).read(STEP)

    def attempt(self, path: str) -> Attempt:
        """Return the last attempt of a step."""
        data = self.step(path)
        return Attempt(self.tree.node(path).created, data.epoch, data.attempt)

    def sent(self) -> list[tuple[str, RunStep]]:
        """Return the attempts that the last decision asked for."""
        assert self.last is not None
        outputs = self.last.changes.outputs
        return [(one.ref.path, one.task) for one in outputs if isinstance(one.task, RunStep)]

    def timers(self) -> list[Output]:
        """Return the timers that the tree asks for, the earliest first."""
        timers = [one for one in self.tree.regenerate() if one.task.deadline_ms is not None]
        return sorted(timers, key=_deadline)

    def due(self) -> list[Output]:
        """Return the timers that are due; none are while the execution does not go on."""
        if self.status not in (Status.RUNNING, Status.COMPENSATING):
            return []
        clock = execution_clock(self.data, self.now_ms)
        return [one for one in self.timers() if _deadline(one) <= clock]

    def result(self) -> bytes:
        """Return the result, put together."""
        bodies = self.program.bodies_of(self.tree, self.tree.root)
        return assemble(self.plan.output, bodies, "the test")


class Run(View):
    """One execution, from its start on."""

    def __init__(self, plan: Plan, now_ms: int = 1_000) -> None:
        """Make an execution that has not begun."""
        super().__init__(plan, now_ms)
        self.random = 0.0
        self.journal = Journal()

    def decide(self, event: Event) -> Verdict:
        """Decide, write the journal, and return the verdict."""
        self.last = decide(self.tree, self.program, event, Moment(self.now_ms, self.random))
        if self.last.changes:
            self.journal.append(self.last, self.tree)
        return self.last.verdict

    def start(self, body: bytes = b'{"total":5}', **results: bytes) -> Run:
        """Start with the given results, and return the run itself."""
        event = ExecutionStarted("shop", "hash", body, results=results)
        assert self.decide(event) == Accepted(self.status)
        return self

    def succeed(self, path: str, output: bytes = b"1") -> Verdict:
        """Answer the present attempt of a step with a result."""
        return self.decide(StepSucceeded(self.attempt(path), output))

    def fail(self, path: str, failure: Failure = FAILURE, **options: Any) -> Verdict:
        """Answer the present attempt of a step with a failure."""
        return self.decide(StepFailed(self.attempt(path), failure, **options))

    def skip(self, path: str) -> Verdict:
        """Answer the present attempt of a step with a skip."""
        return self.decide(StepSkipped(self.attempt(path), "nothing to do"))

    def begin(self, path: str) -> Verdict:
        """Tell that a worker has begun with the present attempt of a step."""
        return self.decide(StepStarted(self.attempt(path)))

    def suspend(self, command: str = "s", clock: Any = "run") -> Verdict:
        """Suspend."""
        return self.decide(SuspendRequested(command, clock))

    def resume(self, command: str = "r") -> Verdict:
        """Resume."""
        return self.decide(ResumeRequested(command))

    def abort(self, command: str = "a", reason: str = "", *, compensate: bool = False) -> Verdict:
        """Abort."""
        return self.decide(AbortRequested(command, reason, compensate))

    def undo(self, *steps: str, command: str = "u") -> Verdict:
        """Undo steps by hand, or all."""
        return self.decide(UndoRequested(command, steps))

    def resolve(self, step: str, command: str = "v") -> Verdict:
        """Say that a failed undo was dealt with."""
        return self.decide(ResolveRequested(command, step, "by hand"))

    def cancelled(self, path: str, *, began: bool = True) -> Verdict:
        """Tell that a worker has let go of the last attempt of a step."""
        return self.decide(StepCancelled(self.attempt(path), began=began))

    def wait(self, seconds: float) -> list[Verdict]:
        """Let time pass, and every timer fire that is due by then."""
        self.now_ms += round(seconds * 1000)
        fired: list[Verdict] = []
        while due := self.due():
            fired.append(self.decide(TimerFired(due[0].ref, due[0].task)))
        return fired

    def reload(self) -> Run:
        """Forget tree and program, and load both from the journal."""
        self.tree = self.journal.load()
        self.program = StepsProgram.attach(self.plan, assemble, self.tree)
        return self


def _deadline(output: Output) -> int:
    assert output.task.deadline_ms is not None
    return output.task.deadline_ms
