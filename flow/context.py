"""What a handler can know about the attempt that it makes, and tell about it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["StepContext"]


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

    def heartbeat(self, progress: object = None) -> None:
        """Say that the work goes on, and how far it is.

        It never waits and may be called from a thread. Progress is shown to people; it is not
        kept.

        Args:
            progress: A JSON value, such as 0.5 or `{"done": 10, "of": 20}`.
        """
        self.beat(progress)
