"""A naive model of how an execution behaves, written without looking at the program.

It keeps no index: after every event it looks at everything again, until nothing is left to do.
What it shares with the program is the plan, and the order of attention: workflows that are
deeper in come first, then those that began earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from flow.codec import loads
from flow.plan import Plan, PlannedStep
from flow.step import StepDefinition
from flow.template import Composed, FromInput, FromStep, Listed, Literal, Template
from tests.flow.programs import model_permits

WELL = ("SUCCESS", "SKIPPED")
OUT = ("RUNNING", "RETRYING")
HOOKS = {"SUCCESS": ("on_success", "on_end"), "FAILURE": ("on_failure", "on_end")}


class NoSuchFieldError(Exception):
    """A template looks for what is not there."""


@dataclass(eq=False)
class Member:
    """A step or a hook of a workflow."""

    path: str
    age: int
    definition: StepDefinition
    flow: Flow
    status: str = "PENDING"
    attempt: int = 0
    spent: int = 0
    epoch: int = 0
    due: int | None = None
    started: bool = False
    permit: str = ""
    silent: bool = False
    output: Any = None
    inner: Flow | None = None


@dataclass(eq=False)
class Flow:
    """A workflow, or a sub-workflow."""

    plan: Plan
    path: str
    age: int
    outer: Member | None
    input: Any = None
    status: str = "RUNNING"
    outcome: str = ""
    failing: bool = False
    deadline: int | None = None
    members: dict[str, Member] = field(default_factory=dict[str, Member])

    def step(self, number: int) -> Member | None:
        """Return the member that a step is, if it has begun."""
        return self.members.get(f"steps/{self.plan.steps[number].definition.id}")

    def status_of(self, number: int | None) -> str:
        """Return the status of a step; an empty string if it has not begun."""
        member = None if number is None else self.step(number)
        return "" if member is None else member.status

    def satisfied(self, number: int) -> bool:
        """Return whether others need not wait for a step."""
        planned = self.plan.steps[number]
        status = self.status_of(number)
        if number in self.plan.outside or status in WELL:
            return True
        if status != "FAILURE":
            return False
        stand_in = self.status_of(planned.fallback)
        given_up = planned.fallback is None or stand_in == "FAILURE"
        return stand_in in WELL or (planned.definition.optional and given_up)

    def broken(self) -> bool:
        """Return whether a step has failed for good."""
        return any(
            self.status_of(number) == "FAILURE"
            and (planned.fallback is None or self.status_of(planned.fallback) == "FAILURE")
            and not planned.definition.optional
            for number, planned in self.principals()
        )

    def principals(self) -> Iterator[tuple[int, PlannedStep]]:
        """Go through the steps that are no fallbacks."""
        for number, planned in enumerate(self.plan.steps):
            if planned.stands_in_for is None:
                yield number, planned

    def stopped(self) -> bool:
        """Return whether a workflow around it is going to fail."""
        flow = self
        while flow.outer is not None:
            if flow.outer.flow.failing and "hooks/" not in flow.path[len(flow.outer.flow.path) :]:
                return True
            flow = flow.outer.flow
        return False

    def ready(self) -> list[int]:
        """Return the steps that may go out as far as the graph is concerned, in order."""
        steps = self.plan.steps
        called = [
            number
            for number, planned in enumerate(steps)
            if planned.stands_in_for is not None
            and self.status_of(planned.stands_in_for) == "FAILURE"
            and steps[planned.stands_in_for].fallback == number
        ]
        levels = [
            planned.level for number, planned in self.principals() if not self.satisfied(number)
        ]
        plain = [
            number
            for number, planned in self.principals()
            if number not in self.plan.outside
            and all(self.satisfied(required) for required in planned.requires)
            and not (self.plan.barrier and planned.level > min(levels, default=0))
        ]
        return [n for n in (*called, *plain) if self.status_of(n) in ("", "PENDING")]

    def has_room(self, number: int) -> bool:
        """Return whether the cap of a step's target lets it go out."""
        target = self.plan.steps[number].definition.target
        same = [step for step in self.plan.steps if step.definition.target == target]
        caps = [step.definition.concurrency for step in same if step.definition.concurrency]
        names = [f"steps/{step.definition.id}" for step in same]
        out = sum(name in self.members and self.members[name].status in OUT for name in names)
        return out < min(caps, default=out + 1)

    # -------------------------------------------------------------------------- values

    def value(self, template: Template) -> Any:
        """Return what a template stands for."""
        match template:
            case FromInput(path=path):
                return _look(self.input, path)
            case FromStep(step=step, path=path):
                return _look(self.output_of(self.plan.index[step]), path)
            case Composed(fields=fields):
                return {name: self.value(item) for name, item in fields}
            case Listed(items=items):
                return [self.value(item) for item in items]
            case Literal(value=value):
                return value
            case _:
                raise NoSuchFieldError

    def output_of(self, number: int) -> Any:
        """Return the output of a step, or that of its fallback."""
        member, fallback = self.step(number), self.plan.steps[number].fallback
        if member is not None and member.status in WELL:
            return member.output
        failed = member is not None and fallback is not None
        return self.output_of(fallback) if failed and fallback is not None else None


def _look(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError) as error:
            raise NoSuchFieldError from error
    return value


class State:
    """What an execution is at a moment."""

    def __init__(self, plan: Plan, window: int, now: int) -> None:
        """Make the model of an execution that has not begun."""
        self.window = window
        self.now = now
        self.epoch: int = 1
        self.offset = 0
        self.stopped_at: int | None = None
        self.ages = count()
        self.sent: list[tuple[str, int, int]] = []
        self.root = Flow(plan, "", next(self.ages), None)

    @property
    def clock(self) -> int:
        """The time as the execution sees it."""
        return (self.now if self.stopped_at is None else self.stopped_at) - self.offset

    def flows(self) -> list[Flow]:
        """Return all workflows that run, deeper ones first, then older ones."""
        found = [flow for flow in self.below(self.root) if flow.status == "RUNNING"]
        if self.root.status != "RUNNING":
            found.append(self.root)
        return sorted(found, key=lambda flow: (-_depth(flow), flow.age))

    def members(self) -> list[Member]:
        """Return all members of all workflows, in the order in which they were made."""
        found = [member for flow in self.below(self.root) for member in flow.members.values()]
        return sorted(found, key=lambda member: member.age)

    def out(self) -> dict[str, Member]:
        """Return the members whose attempts are out."""
        found = [one for one in self.members() if one.status == "RUNNING" and one.inner is None]
        return {member.path: member for member in found}

    def states(self) -> dict[str, tuple[str, int, int]]:
        """Return status, attempts and spent attempts of all members by path."""
        return {one.path: (one.status, one.attempt, one.spent) for one in self.members()}

    def timers(self) -> list[tuple[str, int]]:
        """Return path and deadline of all timers, in the order in which nodes were made."""
        found = [
            (flow.age, flow.path, flow.deadline)
            for flow in self.below(self.root)
            if flow.status == "RUNNING" and not flow.outcome and flow.deadline is not None
        ]
        found += [
            (one.age, one.path, one.due)
            for one in self.members()
            if one.due is not None and one.status in OUT
        ]
        return [(path, due) for _, path, due in sorted(found)]

    def below(self, flow: Flow) -> Iterator[Flow]:
        """Go through a workflow and all that are in it."""
        yield flow
        for member in flow.members.values():
            if member.inner is not None and member.status != "SKIPPED":
                yield from self.below(member.inner)


class Quiet(State):
    """What an execution does by itself, until it is quiet."""

    def settle(self) -> None:
        """Do what there is to do, one thing after the other."""
        if self.root.status == "SUSPENDING" and not self.out():
            self.root.status = "SUSPENDED"
        while self.root.status == "RUNNING" and (self._conclude_one() or self._send_one()):
            pass

    def _conclude_one(self) -> bool:
        for flow in self.flows():
            status = self._conclusion(flow)
            if status:
                self._conclude(flow, status)
                return True
        return False

    def _conclusion(self, flow: Flow) -> str:
        if any(member.status in OUT for member in flow.members.values()):
            return ""
        if flow.outcome:
            return flow.outcome if flow.stopped() or not self._unsent(flow) else ""
        if flow.stopped():
            return "ABORTED"
        if flow.failing:
            return "FAILURE"
        if all(flow.satisfied(number) for number, _ in flow.principals()):
            return "SUCCESS"
        return ""

    def _conclude(self, flow: Flow, status: str) -> None:
        value: Any = None
        if status == "SUCCESS" and not flow.outcome:
            try:
                value = flow.value(flow.plan.output)
            except NoSuchFieldError:
                status = "FAILURE"
        if status != "ABORTED" and not flow.outcome:
            flow.outcome = status
            if self._unsent(flow):
                return
        flow.outcome = ""
        flow.status = status
        if flow.outer is not None:
            value = flow.value(flow.plan.output) if status == "SUCCESS" else None
            self.end(flow.outer, status, value)

    def _unsent(self, flow: Flow) -> list[str]:
        names = HOOKS.get(flow.outcome, ())
        return [
            name
            for name in names
            if name in flow.plan.hooks and f"hooks/{name}" not in flow.members
        ]

    def _send_one(self) -> bool:
        if sum(one.status in OUT and one.inner is None for one in self.members()) >= self.window:
            return False
        for flow in self.flows():
            if flow.outcome and not flow.stopped() and self._unsent(flow):
                name = self._unsent(flow)[0]
                self._begin(flow, f"hooks/{name}", flow.plan.hooks[name])
                return True
            if flow.outcome or flow.failing or flow.stopped():
                continue
            ready = [number for number in flow.ready() if flow.has_room(number)]
            if ready:
                planned = flow.plan.steps[ready[0]]
                self._begin(flow, f"steps/{planned.definition.id}", planned)
                return True
        return False

    def _begin(self, flow: Flow, key: str, planned: PlannedStep) -> None:
        member = flow.members.get(key) or self.add(flow, key, planned)
        if member.inner is None:
            self.send(member)
            return
        member.status = member.inner.status = "RUNNING"
        outcome = {"status": flow.outcome, "input": flow.input}
        member.inner.input = outcome if key.startswith("hooks/") else flow.input
        self.set_deadline(member.inner)

    def add(self, flow: Flow, key: str, planned: PlannedStep) -> Member:
        """Make a member."""
        path = f"{flow.path}/{key}" if flow.path else key
        member = Member(path, next(self.ages), planned.definition, flow)
        flow.members[key] = member
        if planned.plan is not None:
            member.inner = Flow(planned.plan, path, member.age, member)
        return member

    def send(self, member: Member) -> None:
        """Make the next attempt of a member."""
        within = member.definition.start_within_ms
        member.status = "RUNNING"
        member.attempt += 1
        member.epoch = self.epoch
        member.started = False
        member.due = None if within is None else self.clock + within
        self.sent.append((member.path, self.epoch, member.attempt))

    def set_deadline(self, flow: Flow) -> None:
        """Let the time of a workflow begin."""
        timeout = flow.plan.timeout_ms
        flow.deadline = None if timeout is None else self.clock + timeout

    def end(self, member: Member, status: str, output: Any = None) -> None:
        """End a member, and see what that means for its workflow."""
        member.status, member.due = status, None
        member.output = output
        flow = member.flow
        if not flow.failing and not flow.outcome and flow.broken():
            self.fail(flow)

    def fail(self, flow: Flow) -> None:
        """Let a workflow fail: nothing in it is tried again."""
        flow.failing = True
        for below in self.below(flow):
            for member in below.members.values():
                if member.status == "RETRYING":
                    member.status, member.due = "FAILURE", None


class Model(Quiet):
    """What an execution should be like after each event."""

    def start(self, body: Any, results: Mapping[str, bytes]) -> None:
        """Begin."""
        self.root.input = body
        self.set_deadline(self.root)
        for name, output in results.items():
            number = self.root.plan.index[name]
            member = self.add(self.root, f"steps/{name}", self.root.plan.steps[number])
            member.status, member.output = "SKIPPED", loads(output)
            member.inner = None
        self.settle()

    def answer(self, path: str, epoch: int, attempt: int, kind: str, output: Any = None) -> bool:
        """Take an answer; return whether it counts."""
        member = next((one for one in self.members() if one.path == path), None)
        if member is None or member.inner is not None or epoch != self.epoch:
            return False
        if member.status not in OUT or attempt > member.attempt:
            return False
        present = member.status == "RUNNING" and attempt == member.attempt
        if kind in ("fail", "start", *model_permits.KINDS) and not present:
            return False
        if kind in model_permits.KINDS:
            return model_permits.take(member, kind)
        if kind == "start":
            counted = not member.started
            member.started, member.due = True, None
            return counted
        if kind == "fail":
            self._failed(member)
        else:
            self.end(member, "SUCCESS" if kind == "succeed" else "SKIPPED", output)
        self.settle()
        return True

    def fire(self, path: str) -> None:
        """Let a timer act."""
        self._act(path)
        self.settle()

    def suspend(self, clock: str) -> None:
        """Suspend."""
        if self.root.status == "RUNNING":
            self.root.status = "SUSPENDING"
            self.stopped_at = self.now if clock == "stop" else None
            self.settle()

    def resume(self) -> None:
        """Resume, or try again."""
        if self.root.status in ("SUSPENDING", "SUSPENDED"):
            self.root.status = "RUNNING"
            if self.stopped_at is not None:
                self.offset += self.now - self.stopped_at
                self.stopped_at = None
            due = [path for path, deadline in self.timers() if deadline <= self.clock]
            for path in due:
                if any(one == path and at <= self.clock for one, at in self.timers()):
                    self._act(path)
        elif self.root.status == "FAILURE" and not model_permits.is_unrepeatable(self.root):
            self.epoch += 1
            self._revive(self.root)
            self.root.status = "RUNNING"
            self.set_deadline(self.root)
        self.settle()

    def abort(self) -> None:
        """End everything."""
        if self.root.status in ("RUNNING", "SUSPENDING", "SUSPENDED"):
            self.epoch += 1
            self._interrupt(self.root)
            self.root.status = "ABORTED"

    def _failed(self, member: Member) -> None:
        member.spent += 1
        policy, flow = member.definition.retry, member.flow
        is_hook = "hooks/" in member.path[len(flow.path) :]
        halted = flow.stopped() or (flow.failing and not is_hook)
        if (
            member.definition.at_most_once
            or policy is None
            or member.spent >= policy.max_attempts
            or halted
        ):
            self.end(member, "FAILURE")
            return
        member.status = "RETRYING"
        member.due = self.clock + policy.delay_ms(member.spent, 0)

    def _act(self, path: str) -> None:
        flow = next((one for one in self.below(self.root) if one.path == path), None)
        if flow is not None:
            self._interrupt(flow)
            flow.failing = True
            self.epoch += flow.outer is None
            return
        member = next(one for one in self.members() if one.path == path)
        if member.status == "RETRYING":
            self.send(member)
        else:
            self.end(member, "FAILURE")

    def _interrupt(self, flow: Flow) -> None:
        for below in self.below(flow):
            for member in below.members.values():
                if member.status in ("PENDING", *OUT):
                    member.status, member.due = "ABORTED", None
            if below is not flow and below.status in ("PENDING", "RUNNING"):
                below.status, below.outcome = "ABORTED", ""

    def _revive(self, flow: Flow) -> None:
        flow.failing, flow.outcome = False, ""
        for key in [key for key in flow.members if key.startswith("hooks/")]:
            del flow.members[key]
        for number, planned in flow.principals():
            member = flow.step(number)
            if member is None or member.status not in ("FAILURE", "ABORTED"):
                continue
            if flow.satisfied(number):
                continue
            if planned.fallback is not None:
                name = flow.plan.steps[planned.fallback].definition.id
                flow.members.pop(f"steps/{name}", None)
            member.status, member.spent = "PENDING", 0
            if member.inner is not None:
                member.inner.status = "PENDING"
                self._revive(member.inner)


def _depth(flow: Flow) -> int:
    return 0 if flow.outer is None else 1 + _depth(flow.outer.flow)
