"""flowmq: durable flows of microservices, for asyncio.

A program makes a `Flow`, declares steps on it, and puts them into workflows:

    app = Flow("shop")

    @app.step
    async def reserve(order: Order) -> Hold: ...

    @app.step(requires=[reserve], retry=RetryPolicy(max_attempts=5))
    def charge(order: Order, reserve: Hold) -> Receipt: ...

    checkout = app.workflow("checkout", reserve, charge, output=charge)

    async def main():
        async with app:
            receipt = await checkout.run(Order(total=5), id="order-42")
"""

# What is in `__all__` is there once it is asked for, which this checker cannot see.
# pyright: reportUnsupportedDunderAll=false

from importlib import import_module
from typing import Any, Final

__all__ = [
    "CallFailed",
    "DefinitionError",
    "Execution",
    "ExecutionAborted",
    "ExecutionCompensated",
    "ExecutionEvent",
    "ExecutionFailed",
    "Fail",
    "Flow",
    "FlowError",
    "Message",
    "Output",
    "Report",
    "RequestError",
    "Retry",
    "RetryPolicy",
    "Service",
    "Skip",
    "Status",
    "Step",
    "StepContext",
    "StepFunction",
    "StepReport",
    "UnavailableError",
    "UndoContext",
    "Workflow",
    "undone",
    "workflow_input",
]

# What `__init__.pyi` imports for type checkers, and where it is. It is imported when it is first
# asked for: whoever wants only a part of flowmq, such as the command line, need not load all of it.
_HOMES: Final = {
    "CallFailed": "flow.errors",
    "DefinitionError": "flow.errors",
    "Execution": "flow.executions",
    "ExecutionAborted": "flow.errors",
    "ExecutionCompensated": "flow.errors",
    "ExecutionEvent": "flow.executions",
    "ExecutionFailed": "flow.errors",
    "Fail": "flow.verdict",
    "Flow": "flow.app",
    "FlowError": "flow.errors",
    "Message": "flow.message",
    "Output": "flow.handler",
    "Report": "flow.report",
    "RequestError": "flow.errors",
    "Retry": "flow.verdict",
    "RetryPolicy": "flow.retry",
    "Service": "flow.functions",
    "Skip": "flow.verdict",
    "Status": "flow.status",
    "Step": "flow.step",
    "StepContext": "flow.context",
    "StepFunction": "flow.functions",
    "StepReport": "flow.report",
    "UnavailableError": "flow.errors",
    "UndoContext": "flow.context",
    "Workflow": "flow.workflows",
    "undone": "flow.template",
    "workflow_input": "flow.template",
}


def __getattr__(name: str) -> Any:
    """Import a public name, once."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, whether they were imported or not."""
    return sorted({*globals(), *__all__})
