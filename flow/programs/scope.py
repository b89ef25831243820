"""What is ready, what is out and what is left in one workflow of an execution.

A `Scope` holds nothing that could not be made again from the plan and the tree. It is kept so
that the end of a step costs as much as the step has dependents, and not as much as the workflow
has steps.
"""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from flow.failure import Failure
from flow.kernel.tree import Node
from flow.plan import Plan
from flow.status import Status

__all__ = ["Scope"]


class Scope:
    """The index of one workflow, or of one sub-workflow in it.

    Args:
        plan: The workflow's plan.
        owner: The workflow's node.
        outer: The scope of the workflow that it is a step or a hook of, or None for the root.

    Attributes:
        depth: How many workflows it is inside of.
        is_hook: Whether it is a hook of the workflow around it, and not a step.
        inner: The scopes of the sub-workflows in it that run, by their nodes.
        active: How many of its members are out or wait for a retry, sub-workflows and hooks
            included.
        retrying: Its members that wait for their next attempt.
        listed: On which agendas it is: a bit for each.
        left: How many of its steps are not satisfied.
        ready: The steps that may be able to go out now: their places in a heap.
        rank: Where it stands among those that want attention: deeper ones first, then older ones.
        failure: Why it is going to fail, or None.
        expired: Whether its time is up, so that nothing of it goes on, whatever follows an error.
        closed: Whether it has ended, so that whoever still holds it lets go.
    """

    __slots__ = (
        "_barred_from",
        "_caps",
        "_failed_at",
        "_held",
        "_left_in_level",
        "_missing",
        "_out",
        "_satisfied",
        "_taken",
        "active",
        "closed",
        "depth",
        "expired",
        "failure",
        "inner",
        "is_hook",
        "left",
        "listed",
        "outer",
        "owner",
        "plan",
        "rank",
        "ready",
        "retrying",
    )

    def __init__(self, plan: Plan, owner: Node, outer: "Scope | None" = None) -> None:
        """Index a workflow of which nothing has run."""
        self.plan = plan
        self.owner = owner
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.rank = (-self.depth, owner.created)
        self.is_hook = owner.key.startswith("hooks/")
        self.inner: dict[Node, Scope] = {}
        self.active = 0
        self.retrying: dict[Node, None] = {}
        self.listed = 0
        self.failure: Failure | None = None
        self.expired = False
        self.closed = False
        self._failed_at = 0
        outset = _outset(plan)
        self._satisfied = bytearray(len(plan.steps))
        self._taken = bytearray(len(plan.steps))
        self._missing = outset.missing.copy()
        # A fallback that was called in stands in it with its number less the number of all steps:
        # it goes before all others, and no barrier holds it.
        self.ready = outset.ready.copy()
        self.left = outset.left
        # Empty without a barrier, and then never changed.
        self._left_in_level = outset.left_in_level and outset.left_in_level.copy()
        self._barred_from = 1
        self._caps = outset.caps
        self._out: dict[str, int] = {}
        self._held: dict[str, list[int]] = {}

    def __lt__(self, other: "Scope") -> bool:
        """Return False: those of the same rank, of which all but one are closed, have no order."""
        return False

    # -------------------------------------------------------------------- what is done

    @property
    def stopped(self) -> bool:
        """Whether a workflow that it is a part of is going to fail, so that nothing goes on.

        The hooks of a workflow go on although it fails: they are there for that.
        """
        scope = self
        while scope.outer is not None:
            if scope.outer.failing and not scope.is_hook:
                return True
            scope = scope.outer
        return False

    @property
    def halted(self) -> bool:
        """Whether no step of it goes out any more."""
        return self.failing or (self.outer is not None and self.stopped)

    @property
    def failing(self) -> bool:
        """Whether a failure, or what is done about it, keeps its steps from going out."""
        if self.failure is not None and (self.expired or self.plan.on_error != "continue"):
            return True
        return self.owner.state is Status.COMPENSATING

    def satisfy(self, number: int) -> None:
        """Let the dependents of a step go on.

        Args:
            number: The step's number. Satisfying it again, or a fallback, does nothing: what
                others wait for is the step that it stands in for.
        """
        step = self.plan.steps[number]
        if self._satisfied[number] or step.stands_in_for is not None:
            return
        self._satisfied[number] = self._taken[number] = 1
        self.left -= 1
        if self._left_in_level:
            self._left_in_level[step.level] -= 1
        for dependent in step.dependents:
            self._missing[dependent] -= 1
            if self._missing[dependent] == 0 and self.plan.steps[dependent].stands_in_for is None:
                heappush(self.ready, dependent)

    def block(self, number: int) -> None:
        """Note that a step has failed, or depends on one that has, and that the others go on.

        Args:
            number: The step's number. What depends on it does not go out.
        """
        step = self.plan.steps[number]
        self._satisfied[number] = self._taken[number] = 1
        self.left -= 1
        if self._left_in_level:
            self._left_in_level[step.level] -= 1

    def blocks(self, number: int) -> Iterator[int]:
        """Go through the steps that depend on one, directly or not, and have not gone out.

        Args:
            number: The step's number. Blocking what comes is left to the caller.
        """
        found = list(reversed(self.plan.steps[number].dependents))
        while found:
            dependent = found.pop()
            step = self.plan.steps[dependent]
            if not self._satisfied[dependent] and step.stands_in_for is None:
                yield dependent
                found += reversed(step.dependents)

    def fail(self, failure: Failure, at: int) -> None:
        """Note that the workflow is going to fail.

        Args:
            failure: Why.
            at: The transition number at which the failing step ended. The earliest one counts,
                so that a reloaded execution blames the same step.
        """
        if self.failure is None or at < self._failed_at:
            self.failure = failure
            self._failed_at = at

    # ------------------------------------------------------------- what goes out, and when

    def call_in(self, number: int) -> None:
        """Make a fallback ready.

        Args:
            number: The fallback's number.
        """
        heappush(self.ready, number - len(self.plan.steps))

    def next_ready(self) -> int | None:
        """Return the number of a step that may go out now, or None. It is not ready any more."""
        while self.ready:
            place = self.ready[0]
            number = place % len(self._taken)
            is_taken = self._taken[number]
            if self._left_in_level and place >= 0 and not is_taken and self._is_barred(number):
                return None
            heappop(self.ready)
            if is_taken:
                continue
            if not self._caps:
                return number
            target = self.plan.steps[number].definition.target
            cap = self._caps.get(target)
            if cap is None or self._out.get(target, 0) < cap:
                return number
            heappush(self._held.setdefault(target, []), place)
        return None

    def occupy(self, number: int) -> None:
        """Count a step as out.

        Args:
            number: The step's number. It is never ready again.
        """
        self._taken[number] = 1
        self.active += 1
        if self._caps:
            target = self.plan.steps[number].definition.target
            if target in self._caps:
                self._out[target] = self._out.get(target, 0) + 1

    def vacate(self, number: int) -> None:
        """Count a step as not out any more, and let the next one of its target go.

        Args:
            number: The step's number.
        """
        self.active -= 1
        if not self._caps:
            return
        target = self.plan.steps[number].definition.target
        if target not in self._caps:
            return
        self._out[target] -= 1
        held = self._held.get(target)
        if held:
            heappush(self.ready, heappop(held))

    def take(self, number: int) -> None:
        """Note that a step has ended, so that it does not go out.

        Args:
            number: The step's number.
        """
        self._taken[number] = 1

    def _is_barred(self, number: int) -> bool:
        """Return whether, with a barrier, a level before that of a step is not through yet."""
        while self._left_in_level[self._barred_from - 1] == 0:
            self._barred_from += 1
        return self.plan.steps[number].level >= self._barred_from


class _Outset(NamedTuple):
    """How the index of a workflow begins; whoever changes a part of it has a copy."""

    missing: list[int]
    ready: list[int]
    left: int
    left_in_level: list[int]
    caps: Mapping[str, int]


def _outset(plan: Plan) -> _Outset:
    """Return how the index of a workflow begins, which goes through all steps once for a plan."""
    known: _Outset | None = plan.notes.get("outset")
    if known is None:
        principal = [number for number, step in enumerate(plan.steps) if step.stands_in_for is None]
        known = plan.notes["outset"] = _Outset(
            missing=[len(step.requires) for step in plan.steps],
            ready=[number for number in principal if not plan.steps[number].requires],
            left=len(principal),
            left_in_level=_level_sizes(plan) if plan.barrier else [],
            caps=_caps(plan),
        )
    return known


def _level_sizes(plan: Plan) -> list[int]:
    """Return how many steps each level has, without those that only stand in."""
    sizes = [0] * (max(step.level for step in plan.steps) + 1)
    for step in plan.steps:
        if step.stands_in_for is None:
            sizes[step.level] += 1
    return sizes


def _caps(plan: Plan) -> dict[str, int]:
    """Return how many steps of a target may be out at once, for the targets with a limit."""
    caps: dict[str, int] = {}
    for step in plan.steps:
        cap = step.definition.concurrency
        if cap is not None:
            target = step.definition.target
            caps[target] = min(cap, caps.get(target, cap))
    return caps
