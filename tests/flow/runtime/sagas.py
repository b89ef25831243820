"""A trip that can be undone: what the tests of compensation in the runtime share."""

from __future__ import annotations

from typing import Any, Unpack

from flow import Flow, Step, Workflow
from flow.defining import WorkflowOptions
from flow.testing import FlowHarness

STEPS = ("flight", "hotel", "car")


def trip(**options: Unpack[WorkflowOptions]) -> tuple[Flow, Workflow[Any]]:
    """Return a flow with a workflow `trip` of three steps in a row, each with an undo.

    Args:
        options: Options of the workflow; by default it compensates.
    """
    app = Flow("world", broker="memory://", store="memory://")
    steps: list[Step[Any]] = []
    for name in STEPS:
        steps.append(Step.call(f"book.{name}", requires=steps[-1:], undo=f"undo.{name}"))
    chosen: WorkflowOptions = {"on_error": "compensate", **options}
    return app, app.workflow("trip", *steps, output=steps[-1], **chosen)


def stub_trip(test: FlowHarness, **answers: Any) -> None:
    """Have every endpoint of a trip answer with its name, or as said: `undo_car=ValueError()`."""
    for name in STEPS:
        test.stub(f"book.{name}", answers.get(name, name))
        test.stub(f"undo.{name}", answers.get(f"undo_{name}"))


def made(test: FlowHarness) -> list[str]:
    """Return the endpoints that were called, in their order."""
    return [call.endpoint for call in test._calls]


NO = ValueError("no")
FORWARD = ["book.flight", "book.hotel", "book.car"]
BACKWARD = ["undo.car", "undo.hotel", "undo.flight"]
