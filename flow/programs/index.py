"""The index of an execution: a scope for every workflow in it that runs, and what is out.

Theory of operation
-------------------
The index follows from the plan and the tree: `build` makes it anew after a load, in one walk.
Afterwards it is kept in step with the tree, transition by transition. It never changes the tree.

A step *settles* when it has ended, whatever that means for its workflow: it satisfies those that
wait for it, it calls in its fallback, or it fails the workflow. The same function settles a step
that ends now and one that is found ended in a loaded tree.

Two lists say where there is something to do: `touched` scopes may have come to their end, and
`waiting` scopes may have something to send.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final

from flow.failure import Failure
from flow.kernel.steps import STEP
from flow.kernel.tree import Node, Tree
from flow.plan import Plan
from flow.programs.agenda import Agenda
from flow.programs.scope import Scope
from flow.programs.unwinding import Unwinding
from flow.status import ENDED, Status

__all__ = ["SATISFYING", "Index"]

SATISFYING: Final = frozenset({Status.SUCCESS, Status.SKIPPED})
"""The statuses of a step after which its dependents go on."""

_OUT: Final = frozenset({Status.RUNNING, Status.RETRYING, Status.COMPENSATING})


class Index:
    """What a steps program knows about one execution.

    Args:
        plan: The plan of the whole.

    Attributes:
        plan: The plan of the whole.
        active: How many steps and hooks are out or wait for a retry, sub-workflows not counted.
        attempts_out: How many attempts are out.
        touched: The scopes that may have come to their end.
        waiting: The scopes that may have something to send.
        unwindings: What is being undone, by the paths of workflows.
    """

    __slots__ = (
        "_scopes",
        "active",
        "attempts_out",
        "plan",
        "touched",
        "unwindings",
        "waiting",
    )

    def __init__(self, plan: Plan) -> None:
        """Make the index of an execution that has not begun, or has ended."""
        self.plan = plan
        self._scopes: dict[str, Scope] = {}
        self.active = 0
        self.attempts_out = 0
        self.touched = Agenda(1)
        self.waiting = Agenda(2)
        self.unwindings: dict[str, Unwinding] = {}

    @classmethod
    def build(cls, plan: Plan, tree: Tree) -> "Index":
        """Return the index of an execution as it is.

        Args:
            plan: The plan of the whole.
            tree: The execution.
        """
        index = cls(plan)
        if tree.root.state is not Status.PENDING and tree.root.state not in ENDED:
            index.open(plan, tree.root, None)
        return index

    # ------------------------------------------------------------------------- the scopes

    def at(self, owner: Node) -> Scope | None:
        """Return the scope of a workflow, or None if it does not run.

        Args:
            owner: The workflow's node.
        """
        return self._scopes.get(owner.path)

    def around(self, node: Node) -> Scope:
        """Return the scope that a step or a hook is in.

        Args:
            node: The node of the step or the hook; never the root.
        """
        assert node.parent is not None, "the root is no step"
        return self._scopes[node.parent.path]

    def open(self, plan: Plan, owner: Node, outer: Scope | None) -> Scope:
        """Index a workflow that runs, with all that is in it.

        Args:
            plan: Its plan.
            owner: Its node.
            outer: The scope that it is in, or None for the whole.
        """
        scope = self._add(Scope(plan, owner, outer))
        if owner.state is not Status.COMPENSATING:
            self._index_steps(scope)
        for name in plan.hooks:
            hook = owner.find(f"hooks/{name}")
            if hook is not None and hook.state not in ENDED:
                scope.active += 1
                self._index_open(scope, plan.hooks[name].plan, hook)
        return scope

    def compensating(self) -> Sequence[Scope]:
        """Return the scopes of the workflows that are being compensated by themselves."""
        return [
            scope
            for scope in self._scopes.values()
            if scope.owner.state is Status.COMPENSATING and not scope.owner.data.outcome
        ]

    def open_empty(self, scope: Scope) -> Scope:
        """Return a new scope for a workflow of which everything was interrupted.

        Args:
            scope: The scope that it had; it is closed.
        """
        return self._add(Scope(scope.plan, scope.owner, scope.outer))

    def close(self, scope: Scope) -> None:
        """Forget a workflow that has ended.

        Args:
            scope: Its scope.
        """
        scope.closed = True
        del self._scopes[scope.owner.path]
        if scope.outer is not None:
            del scope.outer.inner[scope.owner]

    # -------------------------------------------------------------------- what steps do

    def leave(self, scope: Scope, node: Node) -> int | None:
        """Take note that a step, a sub-workflow or a hook is not out any more.

        Args:
            scope: The scope that it is in.
            node: Its node.

        Returns:
            The step's number, or None for a hook.
        """
        kind, _, name = node.key.partition("/")
        if node.machine is STEP:
            self.active -= 1
            if scope.retrying:
                scope.retrying.pop(node, None)
        if kind == "hooks":
            scope.active -= 1
            return None
        number = scope.plan.index[name]
        scope.vacate(number)
        return number

    def settle(self, scope: Scope, number: int, node: Node) -> int | None:
        """Draw the conclusions from a step that has ended.

        Args:
            scope: The scope that it is in.
            number: Its number.
            node: Its node.

        Returns:
            The number of the step that the workflow fails for because of that, or None.
        """
        step = scope.plan.steps[number]
        principal = number if step.stands_in_for is None else step.stands_in_for
        if number != principal and not _was_called(scope, principal):
            return None
        if node.machine is STEP and node.data.blocked_by:
            scope.block(principal)
        elif node.state in SATISFYING:
            scope.satisfy(principal)
        elif step.fallback is not None:
            self._call_in(scope, principal, step.fallback)
        elif scope.plan.steps[principal].definition.optional:
            scope.satisfy(principal)
        else:
            scope.fail(_blame(step.definition.id, node), _ended_at(node))
            if scope.plan.on_error == "continue":
                scope.block(principal)
            return principal
        return None

    # ------------------------------------------------------------------------- privately

    def _add(self, scope: Scope) -> Scope:
        self._scopes[scope.owner.path] = scope
        if scope.outer is not None:
            scope.outer.inner[scope.owner] = scope
        self.touched.add(scope)
        return scope

    def _index_steps(self, scope: Scope) -> None:
        for number in scope.plan.outside:
            scope.satisfy(number)
        # Only what has begun has a node; most workflows are indexed when nothing has.
        for number, node in sorted(_begun(scope.plan, scope.owner), key=itemgetter(0)):
            self._index_step(scope, number, node)

    def _index_step(self, scope: Scope, number: int, node: Node) -> None:
        if node.state is Status.PENDING:
            # It is to be tried again, and goes out like one that never ran.
            return
        scope.take(number)
        if node.state in _OUT:
            scope.occupy(number)
            self._index_open(scope, scope.plan.steps[number].plan, node)
        elif node.state is not Status.ABORTED:
            self.settle(scope, number, node)

    def _index_open(self, scope: Scope, inner: Plan | None, node: Node) -> None:
        if inner is not None:
            self.open(inner, node, scope)
            return
        self.active += 1
        if node.state is Status.RUNNING:
            self.attempts_out += 1
        else:
            scope.retrying[node] = None

    def _call_in(self, scope: Scope, principal: int, fallback: int) -> None:
        name = scope.plan.steps[fallback].definition.id
        node = scope.owner.find(f"steps/{name}")
        if node is None:
            scope.call_in(fallback)
        elif node.state in SATISFYING:
            # Its result was supplied at the start, and is needed now.
            scope.satisfy(principal)


def _begun(plan: Plan, owner: Node) -> Iterator[tuple[int, Node]]:
    """Go through the steps of a workflow that have nodes, in no order that means anything."""
    for node in owner.children:
        kind, _, name = node.key.partition("/")
        if kind == "steps":
            yield plan.index[name], node


def _was_called(scope: Scope, principal: int) -> bool:
    """Return whether a fallback matters: it does only if the step before it has failed."""
    name = scope.plan.steps[principal].definition.id
    node = scope.owner.find(f"steps/{name}")
    return node is not None and node.state in (Status.FAILURE, Status.COMPENSATED)


def _ended_at(node: Node) -> int:
    """Return the number of the transition by which a step ended."""
    return (node.data.ended_at if node.machine is STEP else 0) or node.updated


def _blame(step: str, node: Node) -> Failure:
    """Return a step's failure as its workflow's failure."""
    failure: Failure | None = node.data.failure
    assert failure is not None, "whatever fails says why"
    return replace(failure, step=f"{step}/{failure.step}" if failure.step else step)
