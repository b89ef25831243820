"""From what a handler raised to the reply that tells of it. Pure."""

import math
from typing import Final

from flow.errors import DeadlineExceeded
from flow.handler import failure_of
from flow.names import MESSAGE_LIMIT
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.verdict import Fail, Retry, Skip

__all__ = ["not_usable", "reply_of", "too_late"]

_LONGEST_WAIT_MS: Final = 366 * 24 * 3600 * 1000
_TIMEOUT_HINT: Final = "the step's timeout= says how long its handler may run"


def reply_of(error: BaseException) -> StepReply:
    """Return the reply for what a handler raised: its verdict, or a failure.

    Args:
        error: What it raised.
    """
    match error:
        case Skip():
            return StepReply(outcome=Outcome.SKIP, reason=_plain(error.reason)[:MESSAGE_LIMIT])
        case Fail():
            return not_usable(error)
        case Retry():
            return StepReply(
                outcome=Outcome.FAILURE,
                failure=failure_of(error),
                asked_to_retry=True,
                retry_after_ms=_milliseconds(error.after),
            )
        case _:
            return StepReply(outcome=Outcome.FAILURE, failure=failure_of(error))


def not_usable(error: BaseException) -> StepReply:
    """Return the reply for what no other attempt can mend.

    Args:
        error: What is wrong with the request, or with the result.
    """
    return StepReply(outcome=Outcome.FAILURE, failure=failure_of(error), retryable=False)


def too_late(request: StepRequest) -> StepReply:
    """Return the reply for a handler that did not end in time.

    Args:
        request: The request.
    """
    error = DeadlineExceeded(request.endpoint, request.timeout_ms / 1000, _TIMEOUT_HINT)
    return StepReply(outcome=Outcome.FAILURE, failure=failure_of(error))


def _milliseconds(after: object) -> int | None:
    """Return seconds as milliseconds, or None if they make no sense: they are the user's."""
    if not isinstance(after, int | float) or math.isnan(after):
        return None
    return round(min(max(0.0, after * 1000), _LONGEST_WAIT_MS))


def _plain(text: object) -> str:
    """Return text without lone surrogates, which JSON cannot hold."""
    return str(text).encode("utf-8", "backslashreplace").decode()
