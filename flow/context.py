"""What a handler can know about the attempt that it makes, and tell about it."""

import logging
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from flow.bags import Bags
from flow.failure import Failure
from flow.status import Status

__all__ = ["StepContext", "UndoContext"]

OutputT = TypeVar("OutputT")


def _nobody_listens(_progress: object) -> None:
    """Forget the progress: the call is a plain one, and nobody watches it."""


@dataclass(slots=True, kw_only=True, eq=False)
class StepContext:
    """The attempt that a handler makes.

    A handler gets it by having a parameter annotated with this class.

    Attributes:
        endpoint: The endpoint that was called.
        execution_id: The execution's id, or an empty string in a plain call.
        step_id: The step's id in its workflow, or an empty string in a plain call.
        path: Where the step is in its execution, such as `steps/charge`.
        attempt: The number of the attempt, 1 for the first.
        idempotency_key: The same for every attempt of this step in this execution, and for no
            other step: give it to whatever has the effect, so that the effect happens once.
        headers: The metadata that came with the request.
        logger: Logs with the execution, the step and the attempt in front.
        transaction: For an endpoint that is declared with `exactly_once=True`: the connection to
            the inbox's database, in the transaction that ends with the handler. None for others.
        cancelled: Whether the result is not wanted any more. A coroutine is cancelled as well;
            a synchronous handler has to look here.
    """

    endpoint: str
    execution_id: str = ""
    step_id: str = ""
    path: str = ""
    attempt: int = 1
    idempotency_key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    logger: "logging.Logger | logging.LoggerAdapter[logging.Logger]" = field(
        default_factory=lambda: logging.getLogger("flow.step"),
    )
    transaction: Any = None
    cancelled: bool = False
    beat: Callable[[Any], None] = field(default=_nobody_listens, repr=False)
    bags: Bags = field(default_factory=Bags, repr=False)

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What this step keeps for itself: later attempts see it, and the step's undo.

        Assign what is to be kept: JSON values or bytes, at most 16 KiB together. What an attempt
        writes is kept even if it fails.

        Raises:
            InvalidInput: On writing: JSON has no form for the value; or it is an undo that writes.
            TooLarge: On writing: there is too much of it.
        """
        return self.bags.state

    @property
    def shared(self) -> MutableMapping[str, Any]:
        """What the steps see that depend on this one, and all undos.

        It holds what the steps before have shared. A key that two steps write of which neither
        depends on the other must get the same value from both. At most 48 KiB together; what an
        attempt writes that fails is not shared. Else as `state`.
        """
        return self.bags.shared

    def attach(self, name: str, value: Any) -> None:
        """Attach something to the step in the execution's report.

        Args:
            name: What it is called.
            value: A JSON value or bytes; at most 16 KiB, and all of a step together too.

        Raises:
            InvalidInput: JSON has no form for the value, or the name is odd.
            TooLarge: There is too much of it.
        """
        self.bags.metadata[name] = value

    def heartbeat(self, progress: object = None) -> None:
        """Say that the work goes on, and how far it is.

        It never waits and may be called from a thread. Progress is shown to people; it is not
        kept.

        Args:
            progress: A JSON value, such as 0.5 or `{"done": 10, "of": 20}`.
        """
        self.beat(progress)


@dataclass(slots=True, kw_only=True, eq=False)
class UndoContext(StepContext, Generic[OutputT]):
    """The attempt of an undo: what there is to take back.

    A function that is decorated with `@step.undo` gets it by having a parameter annotated with
    this class, perhaps with the type of the output: `UndoContext[Booking]`. Its idempotency key
    is its own, and not that of the run.

    Attributes:
        output: What the run returned; None if it failed, or if nothing was heard of it.
        error: Why the run failed, if it did.
        status: How the run ended: SUCCESS, FAILURE, SKIPPED or ABORTED.
        run_key: The idempotency key that the run had: what had the effect knows it by that.
        run_attempts: How many attempts the run took.
    """

    output: OutputT | None = None
    error: Failure | None = None
    status: Status = Status.SUCCESS
    run_key: str = ""
    run_attempts: int = 0
