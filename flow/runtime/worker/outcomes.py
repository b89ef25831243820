"""From what a handler raised to the reply that tells of it. Pure."""

import math
from dataclasses import replace
from typing import Final

from flow.errors import DeadlineExceeded
from flow.failure import RUN, Failure
from flow.handler import failure_of
from flow.names import MESSAGE_LIMIT
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.verdict import Fail, Retry, Skip

__all__ = ["PREPARE", "RUN", "VALIDATE", "cancelled", "not_usable", "reply_of", "too_late"]

VALIDATE: Final = "validate"
"""The phase in which the input is read."""
PREPARE: Final = "prepare"
"""The phase in which the step's hook runs."""

_LONGEST_WAIT_MS: Final = 366 * 24 * 3600 * 1000
_TIMEOUT_HINT: Final = "the step's timeout= says how long its handler may run"


def reply_of(error: BaseException, phase: str = RUN) -> StepReply:
    """Return the reply for what a handler raised: its verdict, or a failure.

    Args:
        error: What it raised.
        phase: What was being done.
    """
    match error:
        case Skip():
            reason = _plain(error.reason)[:MESSAGE_LIMIT]
            return StepReply(outcome=Outcome.SKIP, reason=reason, began=phase == RUN)
        case Fail():
            return not_usable(error, phase)
        case Retry():
            return StepReply(
                outcome=Outcome.FAILURE,
                failure=_failure(error, phase),
                asked_to_retry=True,
                retry_after_ms=_milliseconds(error.after),
            )
        case _:
            return StepReply(outcome=Outcome.FAILURE, failure=_failure(error, phase))


def not_usable(error: BaseException, phase: str = RUN) -> StepReply:
    """Return the reply for what no other attempt can mend.

    Args:
        error: What is wrong with the request, or with the result.
        phase: What was being done.
    """
    failure = _failure(error, phase)
    return StepReply(outcome=Outcome.FAILURE, failure=failure, retryable=False)


def too_late(request: StepRequest, phase: str = RUN) -> StepReply:
    """Return the reply for a handler that did not end in time.

    Args:
        request: The request.
        phase: What was being done.
    """
    error = DeadlineExceeded(request.endpoint, request.timeout_ms / 1000, _TIMEOUT_HINT)
    return StepReply(outcome=Outcome.FAILURE, failure=_failure(error, phase))


def cancelled(*, began: bool) -> StepReply:
    """Return the reply for an attempt that was stopped, or not begun with, because nobody wants it.

    Args:
        began: Whether its handler may have started.
    """
    return StepReply(outcome=Outcome.CANCELLED, began=began)


def _failure(error: BaseException, phase: str) -> Failure:
    failure = failure_of(error)
    return failure if phase == RUN else replace(failure, phase=phase)


def _milliseconds(after: object) -> int | None:
    """Return seconds as milliseconds, or None if they make no sense: they are the user's."""
    if not isinstance(after, int | float) or math.isnan(after):
        return None
    return round(min(max(0.0, after * 1000), _LONGEST_WAIT_MS))


def _plain(text: object) -> str:
    """Return text without lone surrogates, which JSON cannot hold."""
    return str(text).encode("utf-8", "backslashreplace").decode()
