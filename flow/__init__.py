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

from flow.app import Flow
from flow.context import StepContext
from flow.errors import (
    CallFailed,
    DefinitionError,
    ExecutionAborted,
    ExecutionFailed,
    FlowError,
    RequestError,
    UnavailableError,
)
from flow.executions import Execution, ExecutionEvent
from flow.functions import Service, StepFunction
from flow.handler import Output
from flow.message import Message
from flow.retry import RetryPolicy
from flow.status import Status
from flow.step import Step, workflow_input
from flow.verdict import Fail, Retry, Skip
from flow.workflows import Workflow

__all__ = [
    "CallFailed",
    "DefinitionError",
    "Execution",
    "ExecutionAborted",
    "ExecutionEvent",
    "ExecutionFailed",
    "Fail",
    "Flow",
    "FlowError",
    "Message",
    "Output",
    "RequestError",
    "Retry",
    "RetryPolicy",
    "Service",
    "Skip",
    "Status",
    "Step",
    "StepContext",
    "StepFunction",
    "UnavailableError",
    "Workflow",
    "workflow_input",
]
