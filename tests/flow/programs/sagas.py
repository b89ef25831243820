"""Random workflows with undos, and a witness who says what may be undone, and when.

The witness looks at events, verdicts and the tree after each decision. It shares nothing with the
program but the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from flow.errors import FlowError
from flow.kernel.decide import Accepted, Verdict
from flow.kernel.events import (
    AbortRequested,
    Event,
    ResolveRequested,
    ResumeRequested,
    StepCancelled,
    StepFailed,
    StepSkipped,
    StepSucceeded,
    TimerFired,
    UndoRequested,
)
from flow.kernel.execution import EXECUTION, SUB_WORKFLOW
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.plan import Plan, PlannedStep, StartOptions
from flow.planner import plan
from flow.programs import places
from flow.retry import RetryPolicy
from flow.step import StepDefinition
from flow.workflow import ON_ERROR, ON_UNDO_ERROR, WorkflowDefinition
from tests.flow.programs.driver import Run, step
from tests.flow.programs.shapes import random_options, random_workflow

DONE = ("SUCCESS", "SKIPPED")
FAILED = ("FAILURE", "ABORTED")
OUT = ("RUNNING", "RETRYING")


# ------------------------------------------------------------------------------ workflows


def random_saga(seed: int, size: int) -> Plan:
    """Return the plan of a random workflow with undos, started with random options."""
    random = Random(seed)
    definition = _with_undos(random, random_workflow(random, size, 0))
    for _ in range(5):
        try:
            return plan(definition, "hash", _random_options(random, definition))
        except FlowError:
            # The options did not go together. Others will.
            continue
    return plan(definition, "hash")


def _random_options(random: Random, definition: WorkflowDefinition) -> StartOptions:
    return replace(
        random_options(random, definition),
        on_error=random.choice(("", "", *ON_ERROR)),
        on_undo_error=random.choice(("", "", *ON_UNDO_ERROR)),
    )


def _with_undos(random: Random, definition: WorkflowDefinition) -> WorkflowDefinition:
    hooks = {name: _with_undo(random, hook) for name, hook in definition.hooks.items()}
    return replace(
        definition,
        steps=tuple(_with_undo(random, step) for step in definition.steps),
        hooks={name: hook._replace(undo=None) for name, hook in hooks.items()},
        on_error=random.choice(("", "compensate", *ON_ERROR)),
        on_undo_error=random.choice(("", *ON_UNDO_ERROR)),
        settle_within_ms=random.choice((None, 2_000, 10_000)),
    )


def _with_undo(random: Random, definition: StepDefinition) -> StepDefinition:
    if definition.workflow is not None:
        return definition._replace(workflow=_with_undos(random, definition.workflow))
    if random.random() < 0.3:
        return definition
    at_most_once = random.random() < 0.2
    undo = step(
        "take-back",
        retry=None if at_most_once else random.choice((None, RetryPolicy(max_attempts=3))),
        start_within_ms=random.choice((None, None, 2_500)),
        at_most_once=at_most_once,
    )
    return definition._replace(undo=undo)


# ---------------------------------------------------------------------------- the witness


def state_of(node: Node) -> str:
    """Return where a node stands."""
    return str(node.state.value)


def leaves(owner: Node, plan: Plan) -> Iterator[Node]:
    """Go through the steps below a workflow that are no workflows, hooks left out."""
    for planned in plan.steps:
        node = owner.find(f"steps/{planned.definition.id}")
        if node is not None and node.machine is STEP:
            yield node
        elif node is not None and planned.plan is not None:
            yield from leaves(node, planned.plan)


def leaves_of(node: Node, planned: PlannedStep) -> list[Node]:
    """Return the leaves of a step that is a sub-workflow."""
    return [] if planned.plan is None else list(leaves(node, planned.plan))


def runs_after(plan: Plan, number: int) -> set[int]:
    """Return the steps that ran after a step because of it, by the definition alone."""
    found: set[int] = set()
    todo = [number]
    while todo:
        one = todo.pop()
        for other, planned in enumerate(plan.steps):
            stand_ins = {plan.steps[each].fallback for each in planned.requires}
            if one in planned.requires or one in stand_ins or plan.steps[one].fallback == other:
                todo += [] if other in found else [other]
                found.add(other)
    return found


class Witness:
    """What is known of the steps of an execution from the outside."""

    def __init__(self, run: Run) -> None:
        """Watch an execution."""
        self.run = run
        self.began: set[int] = set()
        self.doubtful: set[int] = set()
        self.undone: dict[int, tuple[int | None, int]] = {}
        self.failed_at: dict[str, int] = {}
        self.opened_at: dict[str, int] = {}
        self.compensated = False
        self._before: dict[str, str] = {}
        self._moment = 0

    def look(self, event: Event, verdict: Verdict) -> None:
        """Take note of a decision that was made, and check that it was right."""
        self._moment += 1
        if isinstance(verdict, Accepted):
            self._listen(event)
        for node in self.run.tree.walk():
            if node.machine is STEP and node.key != "undo":
                self._watch(node, event)
            elif node.machine is STEP:
                self._watch_undo(node)
            elif node.machine in (SUB_WORKFLOW, EXECUTION):
                self._watch_workflow(node)
        # Only force ends an undo that is out, and then it goes out again.
        may_force = isinstance(event, TimerFired | ResumeRequested | AbortRequested)
        for path, _task in self.run.sent():
            self._expect_allowed(path, may_force=may_force)
        self._before = {node.path: state_of(node) for node in self.run.tree.walk()}
        self._expect_all()

    # ------------------------------------------------------------------- what is known

    def _listen(self, event: Event) -> None:
        match event:
            case StepSucceeded():
                self._settle(event.attempt.node, began=True)
            case StepSkipped() | StepCancelled():
                self._settle(event.attempt.node, began=event.began)
            case StepFailed():
                self._settle(event.attempt.node, began=event.failure.phase == "run")
            case UndoRequested() | ResolveRequested():
                self.compensated = True
            case _:
                return

    def _settle(self, node: int, *, began: bool) -> None:
        self.doubtful.discard(node)
        if began:
            self.began.add(node)

    def _watch(self, node: Node, event: Event) -> None:
        state, created = state_of(node), node.created
        was = self._before.get(node.path, "")
        answered = isinstance(event, StepFailed) and event.attempt.node == created
        if was == "RUNNING" and state in FAILED and not answered:
            self.doubtful.add(created)
        undo = node.find("undo")
        tried_again = (
            isinstance(event, UndoRequested)
            and undo is not None
            and self._before.get(undo.path) == "FAILURE"
            and self._before[undo.path] != state_of(undo)
        )
        if created in self.doubtful and (state in ("PENDING", *OUT) or tried_again):
            self._settle(created, began=True)

    def _watch_undo(self, undo: Node) -> None:
        state = state_of(undo)
        if state in FAILED and self._before.get(undo.path) not in FAILED:
            self.failed_at[undo.path] = self._moment
        if state == "SUCCESS":
            said = (undo.data.ended_ms, undo.updated)
            assert self.undone.setdefault(undo.created, said) == said

    def _watch_workflow(self, node: Node) -> None:
        is_new = self._before.get(node.path) != "COMPENSATING"
        if state_of(node) == "COMPENSATING" and is_new:
            self.opened_at[node.path] = self._moment
            self.compensated = self.compensated or node.parent is None

    def may_have_begun(self, node: Node) -> bool:
        """Return whether the handler of a step may have started."""
        return node.created in self.began or node.created in self.doubtful

    # -------------------------------------------------------------------- what may go out

    def _expect_allowed(self, path: str, *, may_force: bool) -> None:
        node = self.run.tree.node(path)
        if node.key != "undo":
            self._expect_forward(node)
            return
        was = self._before.get(path, "PENDING")
        expected = ("PENDING", "RETRYING", *FAILED, *(["RUNNING"] if may_force else []))
        assert was in expected, f"{path} is sent a second time"
        step = node.parent
        assert step is not None
        assert step.parent is not None
        assert step.created in self.began, f"{path}: its run surely never began"
        assert step.created not in self.doubtful, f"{path}: its run is not settled"
        if was == "RETRYING":
            return
        self._expect_turn(step)

    def _expect_forward(self, node: Node) -> None:
        while node.parent is not None:
            around = node.parent
            is_hook = node.key.startswith("hooks/")
            assert is_hook or state_of(around) not in ("COMPENSATING", "COMPENSATED"), node.path
            node = around

    def _expect_turn(self, node: Node) -> None:
        """Check the order, in the workflow of a step and in those around that are undone too."""
        sent = node.path
        while node.parent is not None and state_of(node.parent) == "COMPENSATING":
            owner = node.parent
            if node.key.startswith("hooks/"):
                return
            plan = self._plan_of(owner)
            name = node.key.partition("/")[2]
            for number in runs_after(plan, plan.index[name]):
                assert self._is_done(owner, plan, number), f"{sent} is undone too early"
            assert not self._is_halted(owner, plan), f"{sent} is undone after a failed undo"
            node = owner

    def _is_halted(self, owner: Node, plan: Plan) -> bool:
        if plan.on_undo_error == "continue":
            return False
        since = self.opened_at[owner.path]
        for planned in plan.steps:
            node = owner.find(f"steps/{planned.definition.id}")
            # A sub-workflow goes on by its own mode, and counts when it has ended.
            if node is None or state_of(node) == "COMPENSATING":
                continue
            inside = [node] if node.machine is STEP else leaves_of(node, planned)
            undos = [leaf.find("undo") for leaf in inside]
            failed = [undo for undo in undos if undo is not None and state_of(undo) in FAILED]
            if any(self.failed_at[undo.path] >= since for undo in failed):
                return True
        return False

    def _is_done(self, owner: Node, plan: Plan, number: int) -> bool:
        planned = plan.steps[number]
        node = owner.find(f"steps/{planned.definition.id}")
        if node is None:
            return True
        goes_on = plan.on_undo_error == "continue"
        if node.machine is STEP or planned.plan is None:
            undo = node.find("undo")
            if undo is None:
                return not self.may_have_begun(node)
            return state_of(undo) in (*DONE, *(FAILED if goes_on else ()))
        inside = list(leaves(node, planned.plan))
        if all(self._is_leaf_done(leaf) for leaf in inside):
            return True
        undos = [leaf.find("undo") for leaf in inside]
        quiet = not any(undo is not None and state_of(undo) in OUT for undo in undos)
        return goes_on and quiet and state_of(node) == "FAILURE"

    def _is_leaf_done(self, node: Node) -> bool:
        undo = node.find("undo")
        return not self.may_have_begun(node) if undo is None else state_of(undo) in DONE

    def _plan_of(self, owner: Node) -> Plan:
        if owner.parent is None:
            return self.run.plan
        plan = places.planned(self.run.plan, owner).plan
        assert plan is not None
        return plan

    # ---------------------------------------------------------------- what holds always

    def _expect_all(self) -> None:
        run = self.run
        states = [state_of(node) for node in run.steps()]
        index = run.program._index
        if run.status.ended:
            assert not set(states) & set(OUT), "something is out after the end"
            self._expect_end()
            return
        assert run.program.attempts_out == states.count("RUNNING")
        assert index.active == sum(state in OUT for state in states)
        if run.status.value in ("RUNNING", "COMPENSATING"):
            assert "RUNNING" in states or run.timers(), "it is stuck"

    def _expect_end(self) -> None:
        run, root = self.run, self.run.tree.root
        undos = [node.find("undo") for node in leaves(root, run.plan)]
        failed = [undo for undo in undos if undo is not None and state_of(undo) in FAILED]
        if failed and run.status.value != "ABORTED":
            assert f"{len(failed)} undo" in run.data.incident
            if self.compensated:
                assert run.status.value == "FAILURE"
        if run.status.value == "COMPENSATED":
            for node in leaves(root, run.plan):
                assert self._is_leaf_done(node), f"{node.path} is not undone"
        if run.status.value == "FAILURE" and not self.compensated:
            self._expect_rest(root, run.plan)

    def _expect_rest(self, owner: Node, plan: Plan) -> None:
        """Check that a failure with `continue` kept back what depends on it, and nothing else."""
        failure = owner.data.failure
        if plan.on_error != "continue" or failure.type.endswith("DeadlineExceeded"):
            return
        failed = {number for number in range(len(plan.steps)) if is_broken(owner, plan, number)}
        kept_back = _behind(plan, owner, failed)
        for number, planned in enumerate(plan.steps):
            if planned.stands_in_for is not None or number in plan.outside:
                continue
            node = owner.find(f"steps/{planned.definition.id}")
            assert node is not None, f"{planned.definition.id} was forgotten"
            is_kept = node.machine is STEP and bool(node.data.blocked_by)
            assert is_kept == (number in kept_back), node.path
            assert state_of(node) in (*DONE, "FAILURE", "COMPENSATED")


def is_broken(owner: Node, plan: Plan, number: int) -> bool:
    """Return whether a step has failed for good, by the definition alone."""
    planned = plan.steps[number]
    node = owner.find(f"steps/{planned.definition.id}")
    if node is None or planned.stands_in_for is not None or planned.definition.optional:
        return False
    if state_of(node) not in ("FAILURE", "COMPENSATED"):
        return False
    if planned.fallback is None:
        return True
    stand_in = owner.find(f"steps/{plan.steps[planned.fallback].definition.id}")
    return stand_in is None or state_of(stand_in) not in DONE


def _behind(plan: Plan, owner: Node, failed: set[int]) -> set[int]:
    """Return the steps that depend on failed ones, through steps whose result was not supplied."""
    found: set[int] = set()
    for number, planned in enumerate(plan.steps):
        node = owner.find(f"steps/{planned.definition.id}")
        is_known = node is not None and state_of(node) == "SKIPPED" and not node.data.blocked_by
        outside = number in plan.outside or planned.stands_in_for is not None
        if not (failed | found).isdisjoint(planned.requires) and not is_known and not outside:
            found.add(number)
    return found
