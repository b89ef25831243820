"""Tests of `flow.programs.bodies`: what references in a workflow stand for."""

from __future__ import annotations

from flow.codec import assemble, loads
from flow.codec.bodies import assemble_source
from flow.failure import Failure
from flow.programs.bodies import Assembly, Bodies, Source, failure_fields
from flow.template import Composed, FromInput, FromOutcome, FromRun, FromStep
from tests.flow.programs.driver import Run, inner, planned, step


def value(source: Source) -> object:
    """Return what a source stands for."""
    return loads(assemble_source(source, "the test"))


def input_of(run: Run, path: str) -> object:
    """Return the input that a step is sent with."""
    node = run.tree.node(path)
    kind, _, name = node.key.partition("/")
    bodies = run.program.bodies_of(run.tree, node)
    return value(bodies.hook_input(name) if kind == "hooks" else bodies.step_input(name))


def test_a_step_gets_the_input_of_the_workflow() -> None:
    """Without a mapping of its own a step gets what the execution was started with."""
    run = Run(planned(step("a"))).start(b'{"total":5}')
    assert input_of(run, "steps/a") == {"total": 5}


def test_a_mapping_is_put_together() -> None:
    """A step's mapping takes from the input and from outputs."""
    mapping = Composed((("total", FromInput(("total",))), ("id", FromStep("a", ("id",)))))
    run = Run(planned(step("a"), step("b", "a", input=mapping))).start()
    run.succeed("steps/a", b'{"id":7}')
    assert input_of(run, "steps/b") == {"total": 5, "id": 7}


def test_a_fallback_gets_the_input_of_its_step() -> None:
    """What stands in gets the same, unless it says otherwise."""
    mapping = FromInput(("total",))
    run = Run(planned(step("a", input=mapping, fallback="f"), step("f"))).start()
    run.fail("steps/a")
    assert input_of(run, "steps/f") == 5
    own = step("f", input=FromInput())
    run = Run(planned(step("a", input=mapping, fallback="f"), own)).start()
    run.fail("steps/a")
    assert input_of(run, "steps/f") == {"total": 5}


def test_a_sub_workflow_gets_its_steps_input() -> None:
    """Inside a sub-workflow the input is what the step outside was given."""
    sub = inner("s", step("x"), input=FromInput(("total",)))
    run = Run(planned(sub)).start()
    assert input_of(run, "steps/s/steps/x") == 5


def test_a_hook_gets_the_outcome() -> None:
    """A hook is told how it ended: with the output, or with the failure."""
    hooks = {"on_end": step("tell"), "on_failure": step("cry", input=FromOutcome())}
    run = Run(planned(step("a"), hooks=hooks)).start(b"1")
    run.succeed("steps/a", b"2")
    told = {"workflow": "shop", "status": "SUCCESS", "input": 1, "failure": None}
    assert input_of(run, "hooks/on_end") == {**told, "output": {"a": 2}}
    run = Run(planned(step("a"), hooks=hooks)).start(b"1")
    run.fail("steps/a", Failure("shop.Refused", "no", fields={"code": 3}))
    failure = {"type": "shop.Refused", "message": "no", "step": "a", "fields": {"code": 3}}
    told = {**told, "status": "FAILURE", "output": None, "failure": failure}
    assert input_of(run, "hooks/on_failure") == told
    assert input_of(run, "hooks/on_end") == told


def test_a_hook_that_is_a_sub_workflow_gets_the_outcome() -> None:
    """The outcome is the input of all steps inside the hook."""
    run = Run(planned(step("a"), hooks={"on_end": inner("tell", step("x"))})).start(b"1")
    run.succeed("steps/a")
    seen = input_of(run, "hooks/on_end/steps/x")
    assert isinstance(seen, dict)
    assert seen["status"] == "SUCCESS"


def undoing(run: Run, path: str) -> Bodies:
    """Return the bodies that the undo of a step can refer to."""
    node = run.tree.node(path)
    return run.program.bodies_of(run.tree, node).for_undo(node, "order-1:steps/a")


def test_an_undo_gets_what_the_run_got() -> None:
    """Without a mapping of its own an undo gets the input of the run that it takes back."""
    charge = step("a", input=FromInput(("total",)), undo=step("u"))
    run = Run(planned(charge)).start()
    run.succeed("steps/a", b"7")
    assert value(undoing(run, "steps/a").undo_input()) == 5


def test_an_undo_refers_to_the_run() -> None:
    """An undo's mapping takes from the run, from the step's own output, and from other steps."""
    mapping = Composed(
        (
            ("run", FromRun()),
            ("key", FromRun(("run_key",))),
            ("own", FromStep("b", ("id",))),
            ("other", FromStep("a")),
        )
    )
    charge = step("b", "a", undo=step("u", input=mapping))
    run = Run(planned(step("a"), charge)).start(b'{"total":5}')
    run.succeed("steps/a", b"1")
    run.succeed("steps/b", b'{"id":7}')
    assert value(undoing(run, "steps/b").undo_input()) == {
        "run": {
            "input": {"total": 5},
            "status": "SUCCESS",
            "output": {"id": 7},
            "failure": None,
            "run_key": "order-1:steps/a",
            "attempts": 1,
        },
        "key": "order-1:steps/a",
        "own": 7,
        "other": 1,
    }


def test_the_undo_of_a_failed_run_knows_why() -> None:
    """A failed run has a failure and no output, even if a fallback stood in for it."""
    charge = step("a", fallback="f", undo=step("u", input=Composed((("own", FromStep("a")),))))
    run = Run(planned(charge, step("f"))).start()
    run.fail("steps/a")
    run.succeed("steps/f", b"9")
    bodies = undoing(run, "steps/a")
    assert value(bodies.undo_input()) == {"own": None}
    told = value(Assembly(FromRun(), bodies))
    assert isinstance(told, dict)
    assert (told["status"], told["output"]) == ("FAILURE", None)
    assert told["failure"]["message"]


def test_outputs() -> None:
    """An output is the step's, its fallback's, its sub-workflow's, or null."""
    steps = (
        *(step("a"), step("b", fallback="f"), step("f"), step("c", optional=True), step("d")),
        inner("s", step("x")),
    )
    run = Run(planned(*steps)).start(d=b"4")
    bodies = run.program.bodies_of(run.tree, run.tree.root)
    assert bodies.output("b") == b"null"
    run.skip("steps/a")
    run.fail("steps/b")
    run.succeed("steps/f", b"2")
    run.fail("steps/c")
    run.succeed("steps/s/steps/x", b"5")
    outputs = {name: value(bodies.output(name)) for name in "abcds"}
    assert outputs == {"a": None, "b": 2, "c": None, "d": 4, "s": {"x": 5}}
    assert loads(run.result()) == outputs


def test_a_supplied_result_replaces_a_sub_workflow() -> None:
    """A sub-workflow whose result is known does not run, and its result is what was supplied."""
    run = Run(planned(inner("s", step("x")))).start(s=b"9")
    assert loads(run.result()) == {"s": 9}
    assert assemble(FromStep("s"), run.program.bodies_of(run.tree, run.tree.root), "") == b"9"


def test_failures_as_objects() -> None:
    """No failure is null."""
    assert failure_fields(None) is None
