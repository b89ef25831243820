from flow.app import Flow
from flow.context import StepContext, UndoContext
from flow.errors import (
    CallFailed,
    DefinitionError,
    ExecutionAborted,
    ExecutionCompensated,
    ExecutionFailed,
    FlowError,
    RequestError,
    UnavailableError,
)
from flow.executions import Execution, ExecutionEvent
from flow.functions import Service, StepFunction
from flow.handler import Output
from flow.message import Message
from flow.report import Report, StepReport
from flow.retry import RetryPolicy
from flow.status import Status
from flow.step import Step
from flow.template import undone, workflow_input
from flow.verdict import Fail, Retry, Skip
from flow.workflows import Workflow

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
