"""Sharing: what steps have left for those that come after them, and who sees what.

A step sees what those have shared that it depends on, directly or not, in the order of the plan:
of two values of one name the later counts. Into a sub-workflow flows what the step sees that it is;
out of it, what its steps have shared. So what a step sees does not depend on who was faster.

Two steps of which neither depends on the other must not share different values under one name,
because nobody could say which one counts.
"""

from collections.abc import Iterator, Mapping

from flow.errors import StateConflict
from flow.kernel.steps import STEP
from flow.kernel.tree import Node, Tree
from flow.kernel.values import SHARED, VALUE, values_of
from flow.plan import Plan
from flow.programs.places import UNDO, own_plan

__all__ = ["Sharing"]


class Sharing:
    """Which steps of an execution have shared values.

    Args:
        plan: The plan of the whole.
    """

    __slots__ = ("_plan", "_writers")

    def __init__(self, plan: Plan) -> None:
        """Begin without any."""
        self._plan = plan
        # The numbers of the steps, by the path of their workflow. A sub-workflow is a step too.
        self._writers: dict[str, set[int]] = {}

    @classmethod
    def of(cls, plan: Plan, tree: Tree) -> "Sharing":
        """Return who has shared values in an execution as it is.

        Args:
            plan: The plan of the whole.
            tree: The execution.
        """
        sharing = cls(plan)
        for node in tree.walk():
            if node.machine is VALUE and node.parent is not None and _is_shared(node):
                sharing.note(node.parent)
        return sharing

    def note(self, node: Node) -> None:
        """Take note that a step has shared values.

        Args:
            node: The step.
        """
        for owner, number in self._places(node):
            if number < len(own_plan(self._plan, owner).steps):
                self._writers.setdefault(owner.path, set()).add(number)

    def seen_by(self, node: Node) -> dict[str, bytes]:
        """Return what a node sees: values (JSON) by name.

        Args:
            node: A step, a hook, or an undo: that sees what its step saw, and what it shared.
        """
        if not self._writers:
            return {}
        if node.key == UNDO and node.parent is not None:
            return {**self.seen_by(node.parent), **values_of(node.parent, SHARED)}
        seen: dict[str, bytes] = {}
        for owner, number in reversed(list(self._places(node))):
            before = _before(own_plan(self._plan, owner), number)
            for writer in sorted(self._writers.get(owner.path, ())):
                if writer in before:
                    seen.update(self._written(owner, writer))
        return seen

    def conflict(self, node: Node, shared: Mapping[str, bytes]) -> StateConflict | None:
        """Return why a step must not share values, or None.

        Args:
            node: The step.
            shared: The values (JSON) by name.
        """
        for owner, number in self._places(node):
            plan = own_plan(self._plan, owner)
            for writer in sorted(self._writers.get(owner.path, ())):
                if writer == number or writer in _before(plan, number):
                    continue
                theirs = self._written(owner, writer)
                names = [n for n in shared if n in theirs and theirs[n] != shared[n]]
                if names:
                    other = plan.steps[writer].definition.id
                    return StateConflict(names[0], [other, plan.steps[number].definition.id])
        return None

    def _places(self, node: Node) -> Iterator[tuple[Node, int]]:
        """Go through the workflows that a step is in, the innermost first, with its numbers there.

        What is inside a hook is in no workflow: hooks run when all is done, and see everything.
        """
        while node.parent is not None:
            owner = node.parent
            kind, _, name = node.key.partition("/")
            plan = own_plan(self._plan, owner)
            yield owner, len(plan.steps) if kind == "hooks" else plan.index[name]
            node = owner

    def _written(self, owner: Node, number: int) -> dict[str, bytes]:
        step = own_plan(self._plan, owner).steps[number]
        node = owner.find(f"steps/{step.definition.id}")
        if node is None:
            # It was a fallback, and the step that it stood in for is tried again.
            return {}
        if node.machine is STEP:
            return values_of(node, SHARED)
        written: dict[str, bytes] = {}
        for inner in sorted(self._writers.get(node.path, ())):
            written.update(self._written(node, inner))
        return written


def _is_shared(value: Node) -> bool:
    return value.key.startswith(f"{SHARED}/")


def _before(plan: Plan, number: int) -> set[int]:
    """Return the numbers of the steps that a step depends on; a hook depends on all."""
    if number == len(plan.steps):
        return set(range(number))
    found: set[int] = set()
    wanted = [number]
    while wanted:
        step = plan.steps[wanted.pop()]
        before = [*step.requires]
        before += [f for f in (plan.steps[r].fallback for r in step.requires) if f is not None]
        if step.stands_in_for is not None:
            before.append(step.stands_in_for)
        wanted += [each for each in before if each not in found]
        found.update(before)
    return found
