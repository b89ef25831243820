"""Tests of `flow.programs.agenda`: who comes first."""

from __future__ import annotations

from flow.kernel.decide import MACHINES
from flow.kernel.execution import EXECUTION, ExecutionData
from flow.kernel.tree import Tree
from flow.programs.agenda import Agenda
from flow.programs.scope import Scope
from flow.status import Status
from tests.flow.programs.driver import planned, step


def test_deeper_ones_and_older_ones_come_first() -> None:
    """Each scope comes once, the deeper before the shallower, then by age; closed ones never."""
    tree = Tree.create(MACHINES, EXECUTION, Status.RUNNING, ExecutionData())
    with tree.transaction():
        one, two, three = (
            tree.root.add_child(f"steps/{name}", EXECUTION, Status.RUNNING, ExecutionData())
            for name in "zya"
        )
    plan = planned(step("a"))
    root = Scope(plan, tree.root)
    first, second, gone = (Scope(plan, owner, root) for owner in (one, two, three))
    successor = Scope(plan, three, root)
    agenda = Agenda()
    for scope in (root, gone, second, successor, first, second):
        agenda.add(scope)
    gone.closed = True
    assert [agenda.take() for _ in range(5)] == [first, second, successor, root, None]
    agenda.add(first)
    assert agenda.take() is first
