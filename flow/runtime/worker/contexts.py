"""What a handler sees of its attempt, and how it reaches the event loop from a thread."""

import asyncio
import logging
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from flow import codec
from flow.bags import Bags
from flow.context import StepContext, UndoContext
from flow.errors import FlowError
from flow.names import BODY_LIMIT
from flow.ports import Clock
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.service import Endpoint

__all__ = ["StepLogger", "Surroundings"]

BEAT_EVERY_S: Final = 1.0
"""Seconds between the heartbeats of an attempt that are passed on."""

_log = logging.getLogger("flow.step")


class StepLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs with the execution, the step and the attempt in front.

    Args:
        request: The request that is worked on.
    """

    def __init__(self, request: StepRequest) -> None:
        """Note what to put in front; it is put together only when something is logged."""
        super().__init__(_log)
        self._request = request

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Return the message with the prefix, and fields of their own for structured logs.

        Args:
            msg: The message.
            kwargs: What else was passed to the logging call.
        """
        request = self._request
        fields = {
            "execution": request.execution,
            "step": request.path or request.endpoint,
            "attempt": request.attempt,
        }
        kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        where = f"{request.execution} " if request.execution else ""
        # Paths have percent signs, and the logging module would take them for its own.
        prefix = f"{where}{fields['step']} #{request.attempt}".replace("%", "~")
        return f"{prefix}: {msg}", kwargs


class Surroundings:
    """What is around a handler that wants a context, or that runs in a thread.

    Args:
        request: What is asked for.
        clock: The time.
        beat: Called on the event loop with the request and a heartbeat's body.

    Attributes:
        context: What the handler gets, once it was made.
    """

    __slots__ = (
        "_beat",
        "_clock",
        "_has_ended",
        "_loop",
        "_next_beat_s",
        "_request",
        "_thread",
        "context",
    )

    def __init__(
        self, request: StepRequest, clock: Clock, beat: Callable[[StepRequest, bytes], None]
    ) -> None:
        """Take note of the event loop that this is called on, and of its thread."""
        self.context: StepContext | None = None
        self._request = request
        self._clock = clock
        self._beat = beat
        self._has_ended = False
        self._next_beat_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def make_context(self, endpoint: Endpoint, transaction: object) -> StepContext:
        """Return what the handler gets.

        Args:
            endpoint: What was called.
            transaction: The connection to the inbox's database, or None.

        Raises:
            InvalidInput: The state that came with the request is none.
            TooLarge: There is too much of it.
        """
        request = self._request
        kind = UndoContext[Any] if endpoint.is_undo else StepContext
        context = kind(
            endpoint=endpoint.name,
            execution_id=request.execution,
            step_id=request.path.rpartition("/")[2],
            path=request.path,
            attempt=request.attempt,
            idempotency_key=request.idempotency_key,
            headers=request.headers,
            logger=StepLogger(request),
            transaction=transaction,
            bags=Bags(request.state, request.shared, is_undo=endpoint.is_undo),
        )
        if request.execution and request.reply_to:
            context.beat = self._take_beat
        self.context = context
        return context

    def cancel(self) -> None:
        """Tell the handler that its result is not wanted any more."""
        if self.context is not None:
            self.context.cancelled = True

    def end(self) -> None:
        """Pass no more heartbeats on."""
        self._has_ended = True

    def keeping(self, reply: StepReply) -> StepReply:
        """Return a reply, with what the handler has left behind.

        Args:
            reply: The reply.
        """
        if self.context is None:
            return reply
        # What an attempt has shared that did not get to its end, nobody sees.
        is_whole = reply.outcome in {Outcome.SUCCESS, Outcome.SKIP}
        kept = self.context.bags.kept(with_shared=is_whole)
        return reply if kept is None else reply._replace(kept=kept)

    def on_loop(self, callback: Callable[[], None]) -> None:
        """Have something called on the event loop.

        Args:
            callback: What is called: at once if this is the loop's own thread.
        """
        if threading.get_ident() == self._thread:
            callback()
            return
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The event loop was closed while the thread went on: nobody is interested any more.
            return

    def _take_beat(self, progress: object) -> None:
        """Pass a heartbeat on; called from any thread."""
        now = self._clock.monotonic()
        if self._has_ended or now < self._next_beat_s:
            return
        self._next_beat_s = now + BEAT_EVERY_S
        try:
            body = codec.check_body(codec.dumps(progress), "the progress", BODY_LIMIT)
        except FlowError as error:
            # Progress is for people. What it looks like must not decide about the step.
            StepLogger(self._request).warning("the progress is not shown: %s", error)
            body = b"null"
        self.on_loop(lambda: self._beat(self._request, body))
