"""The order in which the steps of one workflow are undone: the reverse of that in which they ran.

A step's turn comes when everything that depends on it is done with. What never ran is passed
through, so that the order holds across it. A fallback ran after the step that it stands in for,
and before what depends on that; it is undone in between.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from flow.kernel.tree import Node
from flow.plan import Plan

__all__ = ["Unwinding", "followers"]


class Unwinding:
    """What is left to undo in one workflow, or in one sub-workflow in it.

    Args:
        plan: The workflow's plan.
        owner: The workflow's node.
        outer: The unwinding that it is a part of, or None.
        number: The number that the workflow has as a step of that.

    Attributes:
        active: How many of its undos are out, sub-workflows that are being undone included.
        failed: Whether an undo of it has failed.
        unsettled: The steps whose turn has come, but of which it is not known what they did.
        rank: Where it stands among others: deeper ones first, then older ones.
    """

    __slots__ = (
        "_left",
        "_missing",
        "_waiting",
        "active",
        "failed",
        "number",
        "outer",
        "owner",
        "plan",
        "rank",
        "unsettled",
    )

    def __init__(
        self, plan: Plan, owner: Node, outer: "Unwinding | None" = None, number: int = 0
    ) -> None:
        """Begin at the end."""
        self.plan = plan
        self.owner = owner
        self.outer = outer
        self.number = number
        self.active = 0
        self.failed = False
        self.unsettled: set[int] = set()
        self.rank = (-owner.path.count("/"), owner.created)
        self._missing = [_count_followers(plan, number) for number in range(len(plan.steps))]
        self._left = len(plan.steps)
        self._waiting: list[int] = []

    def __lt__(self, other: "Unwinding") -> bool:
        """Return whether it comes before another one."""
        return self.rank < other.rank

    @property
    def halted(self) -> bool:
        """Whether no undo of it goes out any more, because one has failed."""
        unwinding: Unwinding | None = self
        while unwinding is not None:
            if unwinding.failed and unwinding.plan.on_undo_error == "stop":
                return True
            unwinding = unwinding.outer
        return False

    @property
    def complete(self) -> bool:
        """Whether every step's turn has come and gone."""
        return self._left == 0

    @property
    def over(self) -> bool:
        """Whether nothing of it is out, and nothing more will be."""
        return not self.active and (self._left == 0 or self.halted)

    def last(self) -> Sequence[int]:
        """Return the numbers of the steps on which nothing depends, the last first."""
        missing = self._missing
        return [number for number in reversed(range(len(missing))) if not missing[number]]

    def leave(self, number: int) -> Sequence[int]:
        """Return the numbers of the steps whose turn has come because a step is done with.

        Args:
            number: The number of the step that is done with.
        """
        self._left -= 1
        free: list[int] = []
        for before in _leaders(self.plan, number):
            self._missing[before] -= 1
            if self._missing[before] == 0:
                free.append(before)
        return free

    def wait(self, number: int) -> None:
        """Put an undo on the list of those that may go out.

        Args:
            number: The number of its step.
        """
        heappush(self._waiting, -number)

    def next(self) -> int | None:
        """Return the number of a step whose undo may go out, and strike it off; or None."""
        return -heappop(self._waiting) if self._waiting and not self.halted else None


def followers(plan: Plan, names: Sequence[str]) -> set[int]:
    """Return the numbers of steps, and of all steps that depend on them.

    Args:
        plan: The plan of the workflow.
        names: The ids of the steps.
    """
    found: set[int] = set()
    left = [plan.index[name] for name in names]
    while left:
        number = left.pop()
        if number not in found:
            found.add(number)
            left += _next(plan, number)
    return found


def _count_followers(plan: Plan, number: int) -> int:
    """Return how many steps have to be done with before a step's turn comes."""
    return len(_next(plan, number))


def _next(plan: Plan, number: int) -> Sequence[int]:
    """Return the numbers of the steps that a step's turn waits for."""
    step, stood_in_for = plan.steps[number], _stood_in_for(plan, number)
    if stood_in_for is not None:
        return (*step.dependents, *plan.steps[stood_in_for].dependents)
    return step.dependents if step.fallback is None else (*step.dependents, step.fallback)


def _leaders(plan: Plan, number: int) -> Sequence[int]:
    """Return the numbers of the steps that wait until a step is done with."""
    requires = plan.steps[number].requires
    fallbacks = [plan.steps[required].fallback for required in requires]
    stood_in_for = _stood_in_for(plan, number)
    others = (*fallbacks, stood_in_for)
    return (*requires, *(other for other in others if other is not None))


def _stood_in_for(plan: Plan, number: int) -> int | None:
    """Return the number of the step that a fallback may run for, or None."""
    principal = plan.steps[number].stands_in_for
    # The start options may have left a fallback out, or chosen another one.
    if principal is None or plan.steps[principal].fallback != number:
        return None
    return principal
