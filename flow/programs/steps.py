"""The steps program: drives an execution along its plan.

Theory of operation
-------------------
A step goes out as soon as everything that it requires is *satisfied*; levels do not matter
unless the plan has a barrier. A step satisfies its dependents when it ended in SUCCESS or
SKIPPED, when its fallback did, or when it is optional. It fails its workflow when it ended in
FAILURE, and neither a fallback nor `optional` helps.

A workflow that is going to fail sends out nothing new, gives up its retries, waits for what is
out, and then ends. So do the sub-workflows in it, which end in ABORTED.

When a workflow's outcome is known its hooks run, if it has any for that outcome. A hook cannot
change the outcome; one that fails is noted as an incident. Hooks go out although their workflow
is going to fail, but not if one around it is.

The work is done elsewhere: `index` knows what is ready and what is out, `sending` makes attempts,
`ending` ends what is done, `interrupting` what has to stop, and `reviving` puts back what failed.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from flow.errors import FlowError, UnknownStep
from flow.kernel import steps
from flow.kernel.decide import Turn
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node, Tree
from flow.plan import Plan
from flow.programs import compensation, interrupting, places, reviving, sending
from flow.programs.bodies import Bodies
from flow.programs.compensation import Compensation
from flow.programs.ending import Assemble, Ending
from flow.programs.index import Index
from flow.programs.places import UNDO
from flow.programs.sharing import Sharing
from flow.programs.unwinding import followers
from flow.status import Status
from flow.step import StepDefinition
from flow.workflow import HOOKS

__all__ = ["Assemble", "StepsProgram"]


class StepsProgram:
    """Drives one execution of a step workflow; see `flow.kernel.decide.Program`.

    Args:
        plan: The workflow's plan.
        assemble: Puts bodies together; used to find out at the end whether the result's mapping
            finds what it looks for.
    """

    __slots__ = ("_assemble", "_ending", "_index", "_plan", "compensation", "sharing")

    def __init__(self, plan: Plan, assemble: Assemble) -> None:
        """Make a program for an execution that has not begun."""
        self._plan = plan
        self._assemble = assemble
        self.sharing = Sharing(plan)
        self._use(Index(plan))

    @classmethod
    def attach(cls, plan: Plan, assemble: Assemble, tree: Tree) -> "StepsProgram":
        """Return the program of an execution that was loaded.

        Args:
            plan: The workflow's plan.
            assemble: See the class.
            tree: The execution.
        """
        program = cls(plan, assemble)
        program._use(Index.build(plan, tree))
        program.sharing = Sharing.of(plan, tree)
        return program

    # ------------------------------------------------------------------- for everybody

    @property
    def plan(self) -> Plan:
        """The workflow's plan."""
        return self._plan

    @property
    def timeout_ms(self) -> int | None:
        """How long the execution may take."""
        return self._plan.timeout_ms

    @property
    def attempts_out(self) -> int:
        """How many attempts are out."""
        return self._index.attempts_out

    def definition(self, node: Node) -> StepDefinition:
        """Return the definition of the step that a node is."""
        return places.planned(self._plan, node).definition

    def bodies_of(self, tree: Tree, node: Node) -> Bodies:
        """Return the bodies that the step of a node can refer to.

        Args:
            tree: The execution.
            node: The step.
        """
        return places.bodies_at(self._plan, tree, node.parent or tree.root)

    # ------------------------------------------------------------------- for the kernel

    def begin(self, turn: Turn, results: Mapping[str, bytes]) -> None:
        """Note the results that are known already, and index the rest."""
        for step, output in results.items():
            node = turn.root.add_child(f"steps/{step}", STEP, Status.PENDING, StepData())
            reason = self._plan.outside.get(self._plan.index[step], "its result was supplied")
            node.apply(steps.SKIP, steps.Skipped(turn.now_ms, reason, output))
        self._index.open(self._plan, turn.root, None)

    def advance(self, turn: Turn) -> None:
        """End what is done, and send out what is ready, until neither is left."""
        index = self._index
        while True:
            while index.touched and (scope := index.touched.take()) is not None:
                self._ending.conclude(turn, scope)
                if scope.ready or scope.owner.data.outcome:
                    index.waiting.add(scope)
            if index.unwindings:
                self.compensation.advance(turn)
                if index.touched:
                    continue
            has_more = bool(index.waiting) and sending.send_next(turn, index)
            if not has_more and not index.touched:
                return

    def may_retry(self, node: Node) -> bool:
        """Return whether another attempt of a step still makes sense for the whole."""
        if node.key == UNDO:
            return True
        scope = self._index.around(node)
        return not (scope.stopped if node.key.startswith("hooks/") else scope.halted)

    def dispatch(self, turn: Turn, node: Node) -> None:
        """Make the next attempt of a step that waited for it."""
        if node.key != UNDO:
            del self._index.around(node).retrying[node]
        sending.send(turn, self._index, node, self.definition(node))

    def landed(self, turn: Turn, node: Node, was: Enum) -> None:
        """Take note that an attempt ended; the step may have ended by it.

        Args:
            turn: The decision in the making.
            node: The step.
            was: The status that it had before.
        """
        if node.key == UNDO:
            self.compensation.land(turn, node, was)
        else:
            self._ending.land(turn, node, was)

    def expire(self, turn: Turn, node: Node) -> None:
        """End an execution or a sub-workflow whose deadline has passed."""
        scope = self._index.at(node)
        assert scope is not None, "only what runs has a deadline"
        interrupting.expire(turn, self._index, scope)

    def interrupt(self, turn: Turn) -> None:
        """Abort everything that is out or waiting."""
        interrupting.interrupt(turn, self._index, turn.root)

    def compensate(
        self, turn: Turn, steps: Sequence[str] | None = None, *, again: bool = False
    ) -> None:
        """Prepare the undos of what has run, of all of it or of *steps* and what follows them."""
        for name in HOOKS:
            # Hooks run once for each end, and this is not the last one.
            hook = turn.root.find(f"hooks/{name}")
            if hook is not None and hook.state is not Status.ABORTED:
                turn.root.delete_child(hook.key)
        chosen = None if steps is None else followers(self._plan, steps)
        compensation.mark(turn, turn.root, self._plan, chosen, again=again)
        self._use(Index.build(self._plan, turn.tree))

    def unknown(self, steps: Sequence[str]) -> FlowError | None:
        """Return why steps cannot be found, or None."""
        for step in steps:
            if step not in self._plan.index:
                owner = f"workflow {self._plan.workflow!r}"
                return UnknownStep(step, owner, list(self._plan.index)[:1000])
        return None

    def unrepeatable(self, turn: Turn) -> Sequence[str]:
        """Return the paths of failed steps that would have to run again, and must not."""
        return tuple(reviving.unrepeatable(turn.root, self._plan))

    def revive(self, turn: Turn) -> None:
        """Prepare everything to try again what has failed."""
        reviving.revive(turn.root, self._plan)
        self._use(Index.build(self._plan, turn.tree))

    def _use(self, index: Index) -> None:
        self._index = index
        self.compensation = Compensation(index)
        self._ending = Ending(index, self._assemble, self.compensation)
