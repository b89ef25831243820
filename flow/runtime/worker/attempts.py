"""An attempt: one run of a handler for one request, within its time.

An attempt ends in exactly one of these ways, and the worker acts accordingly:

    reply        the handler returned, raised, or ran out of time     reply, then ack
    CANCELLED    its result is not wanted any more                     ack
    ABANDONED    the worker cannot wait for it                         requeue
    DENIED       it must not run: somebody else has its permit         ack
    (cancelled)  the worker stops: CancelledError leaves the block     requeue

All deliveries of the same request are settled together, after the one that was first. A long
attempt is acked when it begins, because the broker does not wait that long: if it is abandoned
its sender is told instead.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, MutableMapping
from enum import Enum
from traceback import walk_tb
from typing import Any, Final

from flow import codec
from flow.clock import sleep
from flow.context import StepContext
from flow.errors import FlowError
from flow.names import BODY_LIMIT
from flow.ports import Delivery, Timer
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.service import Endpoint, Handler, WorkerPorts
from flow.runtime.worker.once import Once
from flow.runtime.worker.outcomes import not_usable, reply_of, too_late
from flow.runtime.worker.scope import Scope
from flow.runtime.worker.stepping import run_until_waiting

__all__ = ["COPIES_MAX", "Attempt", "Ending", "Hand"]

BEAT_EVERY_S: Final = 1.0
"""Seconds between the heartbeats of an attempt that are passed on."""
INBOX_PAUSE_S: Final = 5.0
"""Seconds, roughly, after which a request is given back whose inbox could not be reached."""

COPIES_MAX: Final = 100
"""So many deliveries of one request are kept; the oldest came over connections that are gone."""

_log = logging.getLogger("flow.step")


class Ending(Enum):
    """Why an attempt has no reply."""

    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    DENIED = "denied"


class Hand:
    """The deliveries of one request, which are settled together, and only once.

    Args:
        delivery: The first.
    """

    __slots__ = ("_deliveries",)

    def __init__(self, delivery: Delivery) -> None:
        """Hold the first delivery."""
        self._deliveries = [delivery]

    def join(self, delivery: Delivery) -> None:
        """Settle another delivery together with the first.

        Args:
            delivery: The other one.
        """
        # To settle one that came over a connection that is gone does nothing; but nobody can tell
        # it from a second copy of the same message, which has to be settled too.
        self._deliveries.append(delivery)
        del self._deliveries[:-COPIES_MAX]

    def ack(self) -> None:
        """Tell the broker that the request is done with."""
        for delivery in self.take():
            delivery.ack()

    def requeue(self) -> None:
        """Give the request back, unless it was settled."""
        for delivery in self.take():
            delivery.requeue()

    def reject(self) -> None:
        """Send the request to where unusable messages go, unless it was settled."""
        for delivery in self.take():
            delivery.reject()

    def take(self) -> list[Delivery]:
        """Return what is not settled yet, for somebody else to settle."""
        deliveries, self._deliveries = self._deliveries, []
        return deliveries


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


class Attempt:
    """One run of a handler.

    Args:
        request: What is asked for.
        endpoint: What answers it.
        hand: How the request came.
        ports: What is needed of the machine.
        beat: Called on the event loop with the request and a heartbeat's body.
        once: Makes the effect of an endpoint that wants it happen exactly once.

    Attributes:
        request: What is asked for.
        hand: How the request came, and came again.
        name: The endpoint's name.
        scope: The block that `cancel` and the time end. The owner enters it around `run`.
        has_begun: Whether it waits for its turn no longer; set by the owner.
        is_acked: Whether its request was acked before it ended; set by the owner.
    """

    __slots__ = (
        "_beat",
        "_context",
        "_ending",
        "_handler",
        "_has_ended",
        "_is_late",
        "_loop",
        "_next_beat_s",
        "_once",
        "_ports",
        "_thread",
        "_timer",
        "_until",
        "hand",
        "has_begun",
        "is_acked",
        "name",
        "request",
        "scope",
    )

    def __init__(
        self,
        request: StepRequest,
        endpoint: Endpoint,
        hand: Hand,
        ports: WorkerPorts,
        beat: Callable[[StepRequest, bytes], None],
        once: Once | None = None,
    ) -> None:
        """Prepare the attempt; nothing runs yet."""
        self.request = request
        self.hand = hand
        self.name = endpoint.name
        self.scope = Scope(ports.clock)
        self.has_begun = False
        self.is_acked = False
        self._once = once if endpoint.exactly_once else None
        self._handler: Handler = endpoint.handler
        self._ports = ports
        self._beat = beat
        self._context: StepContext | None = None
        self._ending: Ending | None = None
        self._is_late = False
        self._has_ended = False
        self._timer: Timer | None = None
        self._until = 0.0
        self._next_beat_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    # ----------------------------------------------------------------------- the handler

    async def run(self) -> StepReply:
        """Run the handler, inside of `scope`, and return the reply.

        Raises:
            CancelledError: The scope or the task was cancelled.
        """
        try:
            if self._once is None:
                return await self._handle(None)
            return await self._handle_once(self._once)
        except GeneratorExit:
            raise
        except KeyboardInterrupt as error:
            if _is_pressed(error):
                raise
            # The handler raised it by itself: the next worker would die of it as well.
            return reply_of(error)
        except asyncio.CancelledError as error:
            if self.scope.is_cancelled or _is_being_cancelled():
                raise
            # The handler awaited something that somebody else has cancelled.
            return reply_of(error)
        except BaseException as error:  # noqa: BLE001 - even SystemExit is the step's own failure
            return too_late(self.request) if self._is_late else reply_of(error)
        finally:
            self._end()

    def result(self, reply: StepReply | None) -> StepReply | Ending:
        """Return how the attempt has ended, once its scope has.

        Args:
            reply: What `run` returned, or None if it was cut short.
        """
        if self._ending is not None:
            return self._ending
        if reply is None:
            return too_late(self.request)
        return reply

    def cancel(self) -> None:
        """Have the result not wanted any more."""
        self._cut_short(Ending.CANCELLED)

    def abandon(self) -> None:
        """Give the attempt up, for another worker to make."""
        self._cut_short(Ending.ABANDONED)

    def end(self, ending: Ending) -> None:
        """Have it end without a reply, before its handler has run.

        Args:
            ending: Why.
        """
        self._ending = self._ending or ending

    async def _handle_once(self, once: Once) -> StepReply:
        reply = await once.run(self.request.idempotency_key, self._handle)
        if reply is None:
            # Not at once: it is asked again as soon as it is given back.
            pause = INBOX_PAUSE_S * (0.5 + self._ports.chance.random())
            await sleep(self._ports.clock, pause)
            self.end(Ending.ABANDONED)
        return reply or StepReply(outcome=Outcome.SUCCESS)

    async def _handle(self, transaction: object) -> StepReply:
        handler, request = self._handler, self.request
        context = self._make_context(transaction) if handler.wants_context else None
        try:
            args, kwargs = handler.arguments(request.body, request.headers, context)
        except FlowError as error:
            return not_usable(error)
        if handler.is_async:
            self._until = self._deadline()
            body = handler.function(*args, **kwargs)
            # Most handlers of a busy flow wait for nothing, and a timer is dearer than they are.
            result = await run_until_waiting(body, self._set_timer)
        else:
            result = await self._ports.threads.run(lambda: self._call_in_thread(args, kwargs))
        try:
            reply, metadata = handler.encode(result)
        except FlowError as error:
            return not_usable(error)
        return StepReply(outcome=Outcome.SUCCESS, body=reply, headers=metadata)

    def _call_in_thread(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        # To wait for a thread is no work of the handler's: its time starts here.
        self._on_loop(self._start_time)
        return self._handler.function(*args, **kwargs)

    def _start_time(self) -> None:
        self._until = self._deadline()
        if not self._has_ended:
            self._set_timer()

    def _deadline(self) -> float:
        return self._ports.clock.monotonic() + self.request.timeout_ms / 1000

    def _set_timer(self) -> None:
        self._timer = self._ports.clock.call_at(self._until, self._expire)

    def _expire(self) -> None:
        self._is_late = True
        self._stop_handler()

    def _cut_short(self, ending: Ending) -> None:
        if not self._has_ended:
            self._ending = ending
            self._stop_handler()

    def _stop_handler(self) -> None:
        if self._context is not None:
            self._context.cancelled = True
        self.scope.cancel()

    def _end(self) -> None:
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._context is not None and _is_being_cancelled():
            self._context.cancelled = True

    # ----------------------------------------------------------------------- the context

    def _make_context(self, transaction: object) -> StepContext:
        request = self.request
        context = StepContext(
            endpoint=self.name,
            execution_id=request.execution,
            step_id=request.path.rpartition("/")[2],
            path=request.path,
            attempt=request.attempt,
            idempotency_key=request.idempotency_key,
            headers=request.headers,
            logger=StepLogger(request),
            transaction=transaction,
        )
        if request.execution and request.reply_to:
            context.beat = self._take_beat
        self._context = context
        return context

    def _take_beat(self, progress: object) -> None:
        """Pass a heartbeat on; called from any thread."""
        now = self._ports.clock.monotonic()
        if self._has_ended or now < self._next_beat_s:
            return
        self._next_beat_s = now + BEAT_EVERY_S
        try:
            body = codec.check_body(codec.dumps(progress), "the progress", BODY_LIMIT)
        except FlowError as error:
            # Progress is for people. What it looks like must not decide about the step.
            StepLogger(self.request).warning("the progress is not shown: %s", error)
            body = b"null"
        self._on_loop(lambda: self._beat(self.request, body))

    def _on_loop(self, callback: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            callback()
            return
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The event loop was closed while the thread went on: nobody is interested any more.
            return


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_pressed(error: KeyboardInterrupt) -> bool:
    """Return whether somebody pressed Ctrl-C, and no handler has raised the error itself.

    asyncio's runner raises it in a function of its own. Where Python's default handler of the
    signal is in place it may come from anywhere, and so it is taken for real.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return True
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_code.co_name == "_on_sigint"
