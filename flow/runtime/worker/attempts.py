"""An attempt: one run of a handler for one request, within its time.

An attempt ends in exactly one of these ways, and the worker acts accordingly:

    reply        the handler returned, raised, or ran out of time     reply, then ack
    CANCELLED    its result is not wanted any more                     say so, then ack
    ABANDONED    the worker cannot wait for it                         requeue
    DENIED       it must not run: somebody else has its permit         ack
    (cancelled)  the worker stops: CancelledError leaves the block     requeue

An attempt that was cancelled and has a result all the same ends with that. Whoever wants to undo
its step has to know what became of it; so of a handler in a thread, which cannot be cancelled, the
end is waited for, after the attempt has given up its turn.

All deliveries of the same request are settled together, after the one that was first. A long
attempt is acked when it begins, because the broker does not wait that long: if it is abandoned
its sender is told instead.
"""

import asyncio
import signal
from collections.abc import Callable
from enum import Enum
from functools import partial
from traceback import walk_tb
from typing import Any, Final

from flow.clock import sleep
from flow.errors import FlowError
from flow.ports import Delivery, Timer
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.service import Endpoint, Handler, WorkerPorts
from flow.runtime.worker.answered import RequestKey
from flow.runtime.worker.contexts import Surroundings
from flow.runtime.worker.once import Once
from flow.runtime.worker.outcomes import (
    PREPARE,
    RUN,
    VALIDATE,
    cancelled,
    not_usable,
    reply_of,
    too_late,
)
from flow.runtime.worker.pulse import Pulse
from flow.runtime.worker.scope import Scope
from flow.runtime.worker.stepping import run_until_waiting
from flow.runtime.worker.threaded import End, ThreadCall

__all__ = ["COPIES_MAX", "Attempt", "Ending", "Hand"]

INBOX_PAUSE_S: Final = 5.0
"""Seconds, roughly, after which a request is given back whose inbox could not be reached."""

COPIES_MAX: Final = 100
"""So many deliveries of one request are kept; the oldest came over connections that are gone."""


class Ending(Enum):
    """Why an attempt has no reply."""

    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    DENIED = "denied"


class Hand:
    """The deliveries of one request, which are settled together, and only once.

    Args:
        delivery: The first.

    Attributes:
        is_fresh: Whether the first one surely was not delivered before.
    """

    __slots__ = ("_first", "_others", "is_fresh")

    def __init__(self, delivery: Delivery) -> None:
        """Hold the first delivery."""
        self.is_fresh = not delivery.redelivered
        self._first: Delivery | None = delivery
        self._others: list[Delivery] | None = None

    def join(self, delivery: Delivery) -> None:
        """Settle another delivery together with the first.

        Args:
            delivery: The other one.
        """
        # To settle one that came over a connection that is gone does nothing; but nobody can tell
        # it from a second copy of the same message, which has to be settled too.
        self._others = [*self.take(), delivery][-COPIES_MAX:]

    def ack(self) -> None:
        """Tell the broker that the request is done with."""
        if self._others is None and self._first is not None:
            # Nearly always there is one, and no list need be made of it.
            first, self._first = self._first, None
            first.ack()
            return
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
        deliveries = [] if self._first is None else [self._first]
        deliveries += self._others or ()
        self._first = self._others = None
        return deliveries


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
        key: What tells its request from others, or None; set by the owner.
        pulse: Says that it goes on, if it is a long one; set by the owner.
    """

    __slots__ = (
        "_around",
        "_beat",
        "_ending",
        "_endpoint",
        "_has_ended",
        "_has_started",
        "_is_late",
        "_once",
        "_phase",
        "_ports",
        "_thread",
        "_timer",
        "_until",
        "hand",
        "has_begun",
        "is_acked",
        "key",
        "name",
        "pulse",
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
        self.key: RequestKey | None = None
        self.pulse: Pulse | None = None
        self._once = once if endpoint.exactly_once else None
        self._endpoint = endpoint
        self._ports = ports
        self._beat = beat
        self._around: Surroundings | None = None
        self._ending: Ending | None = None
        self._phase = VALIDATE
        self._is_late = False
        self._has_started = False
        self._has_ended = False
        self._thread: ThreadCall | None = None
        self._timer: Timer | None = None
        self._until = 0.0

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
            return self._failed(error)
        except asyncio.CancelledError as error:
            if self.scope.is_cancelled or _is_being_cancelled():
                raise
            # The handler awaited something that somebody else has cancelled.
            return self._failed(error)
        except BaseException as error:  # noqa: BLE001 - even SystemExit is the step's own failure
            return self._failed(error)
        finally:
            self._end()

    def result(self, reply: StepReply | None) -> StepReply | Ending:
        """Return how the attempt has ended, once its scope has.

        Args:
            reply: What `run` returned, or None if it was cut short.
        """
        if self._ending is Ending.CANCELLED and reply is not None and _counts(reply):
            return reply
        if self._ending is not None:
            return self._ending
        if reply is None:
            return self._keep(too_late(self.request, self._phase))
        return reply

    def part(self, told: Callable[[StepReply | None], None]) -> bool:
        """Have somebody told how an attempt has ended that was cancelled, once it has.

        Another copy of a request that was sent or delivered more than once may run elsewhere, so
        that nobody here knows what became of it unless the handler has started here.

        Args:
            told: Is called on the event loop, perhaps at once: with what to reply, or None for
                nothing.

        Returns:
            Whether it has ended. If not, its handler goes on in a thread.
        """
        if self._thread is not None and self._thread.has_begun:
            self._thread.when_ended(lambda end: told(self._late(end)))
            return False
        if self._has_started:
            told(self._keep(cancelled(began=True)))
        else:
            is_only_copy = self.hand.is_fresh and not self.request.is_again
            told(cancelled(began=False) if is_only_copy else None)
        return True

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
        reply = await once.run(self.request, self._handle, is_undo=self._endpoint.is_undo)
        if reply is None:
            # Not at once: it is asked again as soon as it is given back.
            pause = INBOX_PAUSE_S * (0.5 + self._ports.chance.random())
            await sleep(self._ports.clock, pause)
            self.end(Ending.ABANDONED)
        return reply or StepReply(outcome=Outcome.SUCCESS)

    async def _handle(self, transaction: object) -> StepReply:
        handler, hook, request = self._endpoint.handler, self._endpoint.prepare, self.request
        wants_context = handler.wants_context or (hook is not None and hook.wants_context)
        context = None
        try:
            if wants_context:
                self._around = Surroundings(request, self._ports.clock, self._beat)
                context = self._around.make_context(self._endpoint, transaction)
            given = handler.arguments(request.body, request.headers, context)
            before = None
            if hook is not None:
                before = hook.arguments(request.body, request.headers, context)
        except FlowError as error:
            return not_usable(error, VALIDATE)
        if hook is not None and before is not None:
            self._phase = PREPARE
            await self._call(hook, *before)
            if self.scope.is_cancelled:
                # The hook has swallowed it. The handler must not begin.
                return self._keep(too_late(request, PREPARE))
        self._phase = RUN
        return self._succeeded(await self._call(handler, *given))

    async def _call(
        self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        if handler.is_async:
            self._has_started = True
            if not self._until:
                self._until = self._ports.clock.monotonic() + self.request.timeout_ms / 1000
            body = handler.function(*args, **kwargs)
            # Most handlers of a busy flow wait for nothing, and a timer is dearer than they are.
            return await run_until_waiting(body, self._set_timer)
        around = self._around or Surroundings(self.request, self._ports.clock, self._beat)
        function = partial(handler.function, *args, **kwargs)
        # To wait for a thread is no work of the handler's: its time starts when it begins.
        self._thread = ThreadCall(function, around.on_loop, self._start_time)
        result = await self._thread.run(self._ports.threads)
        self._has_started = True
        return result

    def _succeeded(self, result: object) -> StepReply:
        try:
            body, headers = self._endpoint.handler.encode(result)
        except FlowError as error:
            return self._keep(not_usable(error))
        return self._keep(StepReply(Outcome.SUCCESS, body, headers))

    def _failed(self, error: BaseException) -> StepReply:
        if self._is_late:
            return self._keep(too_late(self.request, self._phase))
        return self._keep(reply_of(error, self._phase))

    def _late(self, end: End) -> StepReply:
        """Return the reply for a handler that was cancelled, and went on until its end."""
        if self._phase == RUN:
            error = end.error
            told = self._succeeded(end.result) if error is None else self._keep(reply_of(error))
            if _counts(told):
                return told
        return self._keep(cancelled(began=True))

    def _keep(self, reply: StepReply) -> StepReply:
        return reply if self._around is None else self._around.keeping(reply)

    def _start_time(self) -> None:
        if not self._until:
            self._until = self._ports.clock.monotonic() + self.request.timeout_ms / 1000
        if not self._has_ended:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            # That of the hook, whose time and the handler's are one.
            return
        self._timer = self._ports.clock.call_at(self._until, self._expire)

    def _expire(self) -> None:
        self._is_late = True
        self._stop_handler()

    def _cut_short(self, ending: Ending) -> None:
        if not self._has_ended:
            self._ending = ending
            self._stop_handler()

    def _stop_handler(self) -> None:
        if self._around is not None:
            self._around.cancel()
        self.scope.cancel()

    def _end(self) -> None:
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._around is not None:
            self._around.end()
            if _is_being_cancelled():
                self._around.cancel()


def _counts(reply: StepReply) -> bool:
    """Return whether a reply counts although its attempt was cancelled."""
    return reply.outcome in {Outcome.SUCCESS, Outcome.SKIP}


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
