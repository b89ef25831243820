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
