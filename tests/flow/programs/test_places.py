"""Tests of `flow.programs.places`: from a node to its step, its plan and its bodies."""

from __future__ import annotations

from flow.codec.bodies import assemble_source
from flow.programs import places
from flow.template import FromInput
from tests.flow.programs.driver import Run, inner, planned, step, undoable


def test_every_node_has_its_place() -> None:
    """Steps, hooks and what is inside of both are found in the plan by their nodes."""
    deep = inner("s", inner("t", step("x")), hooks={"on_end": step("inside")})
    plan = planned(deep, hooks={"on_end": inner("tell", step("y"))})
    run = Run(plan).start()
    run.succeed("steps/s/steps/t/steps/x")
    run.succeed("steps/s/hooks/on_end")
    found = {
        node.path: (places.planned(plan, node).definition.id, places.plan_of(plan, node).workflow)
        for node in run.tree.walk()
        if node.path.startswith(("steps", "hooks"))
    }
    assert found == {
        "steps/s": ("s", "shop"),
        "steps/s/steps/t": ("t", "inner"),
        "steps/s/steps/t/steps/x": ("x", "inner"),
        "steps/s/hooks/on_end": ("inside", "inner"),
        "hooks/on_end": ("tell", "shop"),
        "hooks/on_end/steps/y": ("y", "inner"),
    }
    assert places.plan_of(plan, run.tree.root) is plan


def test_bodies_know_what_is_around_them() -> None:
    """The bodies of a sub-workflow in a sub-workflow reach out to the input of the whole."""
    plan = planned(inner("s", inner("t", step("x"), input=FromInput(("total",)))))
    run = Run(plan).start(b'{"total":5}')
    bodies = places.bodies_at(plan, run.tree, run.tree.node("steps/s/steps/t"))
    assert assemble_source(bodies.input(), "the test") == b"5"


def test_an_undo_has_the_place_of_its_step() -> None:
    """An undo is planned with the step that it stands below."""
    run = Run(planned(inner("s", undoable("x"), on_error="compensate"))).start()
    run.fail("steps/s/steps/x")
    undo = run.tree.node("steps/s/steps/x/undo")
    assert places.planned(run.plan, undo).definition.id == "take-back"
