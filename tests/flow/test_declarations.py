"""What a program can say about its steps, services and workflows."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from flow import Flow, Output, Step, Workflow, declarations
from flow.defining import define
from flow.errors import (
    BindingError,
    CyclicRequirement,
    DuplicateDefinition,
    InvalidName,
    InvalidReference,
    SelfRequirement,
    UnknownRequirement,
    UnresolvedSteps,
)
from flow.template import FromStep


@dataclass
class Order:
    """An input."""

    total: int


def a_flow() -> Flow:
    """Return a flow that needs nothing of the outside."""
    return Flow("shop", broker="memory://", store="memory://")


def levels(workflow: Workflow[object]) -> list[list[str]]:
    """Return the ids of a workflow's steps, level by level."""
    return [[step.id for step in level] for level in workflow.steps()]


def test_a_decorated_function_stays_the_plain_function() -> None:
    """Calling a step calls the function, without broker, store or retry."""
    app = a_flow()

    @app.step
    def double(order: Order) -> int:
        return order.total * 2

    assert double(Order(21)) == 42


def test_a_bare_step_serves_an_endpoint_of_the_namespace() -> None:
    """`@app.step` serves `{namespace}.{function}`, and a service serves its own name."""
    app = a_flow()

    @app.step
    def reserve(order: Order) -> int:
        return order.total

    @app.service("payments").step(requires=[reserve])
    def charge(order: Order, reserve: int) -> int:
        return order.total + reserve

    assert (reserve.target, charge.target) == ("shop.reserve", "payments.charge")
    assert list(app.functions.endpoints) == ["shop.reserve", "payments.charge"]


def test_parameters_named_after_steps_imply_the_mapping() -> None:
    """What a parameter is named after is required, and the one that remains is the input."""
    app = a_flow()

    @app.step
    def hold(order: Order) -> int:
        return order.total

    @app.step(requires=[hold])
    def ship(order: Order, amount: Annotated[int, Output("hold")]) -> int:
        return order.total + amount

    assert ship.requires == ("hold",)
    assert levels(app.workflow("w", hold, ship)) == [["hold"], ["ship"]]


def test_a_parameter_without_a_source_is_refused_where_it_stands() -> None:
    """A typo in a parameter's name is refused at decoration, with the nearest name."""
    app = a_flow()

    @app.step
    def reserve(order: Order) -> int:
        return order.total

    with pytest.raises(BindingError, match="did you mean 'reserve'"):

        @app.step(requires=[reserve])
        def charge(order: Order, reserv: int) -> int:
            return order.total + reserv


def test_names_pull_in_what_they_require() -> None:
    """A workflow may name a step of this program, and gets all that it requires."""
    app = a_flow()

    @app.step
    def reserve(order: Order) -> int:
        return order.total

    @app.step(requires=[reserve])
    def charge(reserve: int) -> int:
        return reserve

    assert levels(app.workflow("checkout", "charge")) == [["reserve"], ["charge"]]


def test_a_name_of_another_program_leaves_a_workflow_open() -> None:
    """What this program does not have is still to be found; what it has is taken already."""
    app = a_flow()

    @app.step
    def reserve(order: Order) -> int:
        return order.total

    @app.step(requires=[reserve, "charge"], fallback="post")
    def ship(reserve: int) -> int:
        return reserve

    @app.step
    def post(order: Order) -> int:
        return order.total

    mail = Step.call("mail.send", requires=["ship", "sign"])
    workflow = app.workflow("checkout", mail, "ship", "sign", output="ship")
    closed = app.workflow("closed", "post")
    assert app.definitions == [closed.definition]
    (opened,) = app.open_definitions
    assert opened.names == ("charge", "sign")
    assert [step.id for step in opened.definition.steps] == ["send", "reserve", "ship", "post"]
    assert opened.definition.output == FromStep("ship")
    assert "charge" in repr(workflow)


def test_a_step_that_is_given_needs_no_other_of_its_id() -> None:
    """A step of the program may require one by id that the workflow has as an object."""
    app = a_flow()

    @app.step(requires=["reserve"])
    def ship(reserve: int) -> int:
        return reserve

    reserve = Step.call("stock.reserve")
    assert levels(app.workflow("checkout", reserve, "ship")) == [["reserve"], ["ship"]]


def test_an_open_workflow_has_no_shape_yet() -> None:
    """Whatever looks at the steps of an open workflow says which ones are not known here."""
    app = a_flow()
    workflow = app.workflow("checkout", "ship", "pay")
    looks: list[Callable[[], object]] = [
        workflow.steps,
        workflow.to_mermaid,
        workflow.to_dot,
        lambda: workflow.hash,
        lambda: workflow.append_steps(Step.call("a.b")),
        lambda: workflow.remove_steps("ship"),
        lambda: Step.sub_workflow(workflow),
    ]
    for look in looks:
        with pytest.raises(UnresolvedSteps, match="'pay', 'ship'"):
            look()
    assert workflow.id == "checkout"


def test_an_output_is_a_step_or_its_id() -> None:
    """A workflow's result may be named by an id; an unknown one is refused."""
    app = a_flow()
    step = Step.call("a.b")
    named = app.workflow("named", step, output="b")
    given = app.workflow("given", step, output=step)
    assert named.definition.output == given.definition.output
    with pytest.raises(InvalidReference, match="'c'"):
        app.workflow("w", step, output="c")
    with pytest.raises(InvalidName):
        app.workflow("w", step, output="no good")
    with pytest.raises(InvalidName):
        app.workflow("w", "no good")


def test_what_is_no_workflow_is_refused_with_every_offender() -> None:
    """Circles, unknown requirements, self references and duplicates name all who are to blame."""
    app = a_flow()
    first, second = Step.call("s.a", requires=["b"]), Step.call("s.b", requires=["a"])
    with pytest.raises(CyclicRequirement, match="a -> b -> a"):
        app.workflow("circle", first, second)
    lost = [Step.call("s.a", requires=["x"]), Step.call("s.b", requires=["y"])]
    with pytest.raises(UnknownRequirement, match=r"'a' requires 'x'.*'b' requires 'y'"):
        app.workflow("unknown", *lost)
    with pytest.raises(SelfRequirement, match="'a', 'b'"):
        app.workflow("self", Step.call("s.a", requires=["a"]), Step.call("s.b", requires=["b"]))
    twice = [Step.call("s.a"), Step.call("t.a"), Step.call("s.b"), Step.call("t.b")]
    with pytest.raises(DuplicateDefinition, match="'a', 'b'"):
        app.workflow("twice", *twice)
    assert app.defined == {}


def test_the_same_thing_twice_is_refused() -> None:
    """A second step, endpoint or workflow of one name is refused."""
    app = a_flow()

    def reserve(order: Order) -> int:
        return order.total

    step = app.step(reserve)
    with pytest.raises(DuplicateDefinition, match="'reserve'"):
        app.step(reserve)
    app.workflow("checkout", step)
    with pytest.raises(DuplicateDefinition, match="'checkout'"):
        app.workflow("checkout", step)


def test_a_namespace_is_a_service_too() -> None:
    """A name with a dot cannot be a namespace, because endpoints have one dot."""
    with pytest.raises(InvalidName, match="no dot"):
        Flow("my.shop")


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_meanwhile(
    monkeypatch: pytest.MonkeyPatch, *, collects: bool
) -> None:
    """While a workflow is made nothing is collected; then it is as before, also after an error."""
    seen: list[bool] = []

    def look(*args: Any) -> Any:
        seen.append(gc.isenabled())
        return define(*args)

    monkeypatch.setattr(declarations, "define", look)
    was = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        app, step = Flow("shop"), Step.call("work.one")
        app.workflow("w", step)
        with pytest.raises(DuplicateDefinition):
            app.workflow("v", step, step)
        assert gc.isenabled() is collects
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == [False, False]
