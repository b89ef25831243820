"""The performer: makes the attempts that a worker takes on, and settles their requests.

A request that is being worked on is not worked on again: the second delivery is settled together
with the first. One that was answered a short while ago gets the same reply once more. All this is
memory of this process and spares work; correctness rests on whoever reads the replies.

A long step, which says so with `flow-heartbeat`, is another matter. The broker takes a request
back that is not settled for 30 minutes, so it is acked when it begins: as soon as the broker has
confirmed `step.started`. From then on nobody gives it out again but the orchestrator, when it
has heard nothing for a while. So the worker gives signs of life by itself, insists on its reply for
as long as it lives, and says so if it ends before the handler does.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from flow.clock import cancel_after, sleep
from flow.errors import listed
from flow.ports import Delivery, Envelope
from flow.runtime.addresses import Addresses
from flow.runtime.protocol import RELEASED, STARTED, StepReply, StepRequest
from flow.runtime.publisher import Publisher
from flow.runtime.service import Endpoint, WorkerPorts, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.answered import Answered, RequestKey
from flow.runtime.worker.attempts import Attempt, Ending, Hand
from flow.runtime.worker.cancellations import Cancellation
from flow.runtime.worker.farewells import Farewells
from flow.runtime.worker.news import News, note
from flow.runtime.worker.once import Once
from flow.runtime.worker.outcomes import cancelled
from flow.runtime.worker.permits import Permits
from flow.runtime.worker.pulse import Pulse
from flow.runtime.worker.replies import Replies
from flow.runtime.worker.turns import Turns
from flow.runtime.worker.watchdog import Watchdog

__all__ = ["Counters", "Performer"]

_log = logging.getLogger("flow.worker")


@dataclass(slots=True)
class Counters:
    """What a worker has done so far; see `WorkerSnapshot`."""

    answered: int = 0
    unanswered: int = 0
    joined: int = 0
    repeated: int = 0
    cancelled: int = 0
    refused: int = 0
    rejected: int = 0
    denied: int = 0
    released: int = 0


class Performer:
    """Makes attempts.

    Args:
        worker: The worker's id.
        namespace: The namespace.
        publisher: Publishes messages.
        ports: What is needed of the machine.
        settings: How much is taken on.

    Attributes:
        counters: What was done so far.
        on_settled: Called whenever a request is settled because its reply is confirmed.
        permits: Asks for permits.
        replies: Publishes replies.
        tasks: Where all of this is done; whoever runs the performer enters it.
        watchdog: Watches the event loop while handlers run.
    """

    def __init__(
        self,
        worker: str,
        namespace: str,
        publisher: Publisher,
        ports: WorkerPorts,
        settings: WorkerSettings,
    ) -> None:
        """Begin without an attempt."""
        clock, chance = ports.clock, ports.chance
        self.counters = Counters()
        self.tasks = TaskGroup()
        self.on_settled: Callable[[], None] = _do_nothing
        route = Addresses(namespace).route_to
        unroutable_s = settings.unroutable_s
        self.replies = Replies(publisher, clock, chance, self.tasks, unroutable_s, route)
        self.permits = Permits(self.replies, clock, chance, worker)
        self.watchdog = Watchdog(clock, settings.loop_lag_s)
        self._settings = settings
        self._ports = ports
        self._new_id = chance.new_id
        self._once = None if ports.inbox is None else Once(ports.inbox, namespace)
        self._news = News(publisher, chance, route)
        self._answered = Answered(settings.answered_items, settings.answered_bytes)
        self._turns = Turns(settings.concurrency)
        self._attempts: dict[object, Attempt] = {}
        self._replying: dict[Attempt, None] = {}
        self._farewells = Farewells(self._reply)

    @property
    def replying(self) -> int:
        """How many replies are not confirmed, or will be made by handlers that were cancelled."""
        return len(self._replying) + len(self._farewells)

    @property
    def running(self) -> int:
        """How many attempts have begun and are not settled."""
        return sum(attempt.has_begun for attempt in self._attempts.values())

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._attempts) - self.running

    def cancel(self, cancellation: Cancellation) -> None:
        """Cancel the attempts that are not wanted any more.

        Args:
            cancellation: Says which.
        """
        for attempt in list(self._attempts.values()):
            if cancellation.covers(attempt.request):
                attempt.cancel()

    def drop_waiting(self) -> None:
        """Give up what waits for its turn."""
        for attempt in list(self._attempts.values()):
            if not attempt.has_begun:
                attempt.abandon()

    def abandon(self) -> None:
        """Give up everything, for other workers to do."""
        if self._attempts:
            names = listed(dict.fromkeys(attempt.name for attempt in self._attempts.values()))
            _log.warning("gave back %d requests unanswered: %s", len(self._attempts), names)
        for attempt in list(self._attempts.values()):
            attempt.abandon()

    # ------------------------------------------------------------------------- requests

    async def answer(
        self, hand: Hand, request: StepRequest, endpoint: Endpoint | None, key: RequestKey | None
    ) -> None:
        """Answer a request, and settle it.

        Args:
            hand: How it came.
            request: The request.
            endpoint: What answers it, or None if it was cancelled before it came.
            key: What tells it from others, or None if nothing does.
        """
        running = self._attempts.get(key)
        if running is not None:
            self.counters.joined += 1
            _join(running, hand.take())
            return
        saved = self._answered.get(key) if key else None
        if saved is not None:
            self.counters.repeated += 1
            again = saved._replace(message_id=self._new_id())
            await self.replies.deliver(request.reply_to, again)
            hand.ack()
            return
        if endpoint is None:
            self.counters.cancelled += 1
            if hand.is_fresh and not request.is_again and key not in self._farewells:
                # No other copy of it runs here or elsewhere.
                word = cancelled(began=False).envelope(self._new_id(), request.correlation)
                await self.replies.deliver(request.reply_to, word)
            hand.ack()
            return
        attempt = self.attempt(request, endpoint, hand)
        attempt.key = key
        try:
            end = await self._make(attempt)
            if isinstance(end, StepReply):
                self._reply(attempt, end)
            else:
                await self._settle(attempt, end)
        finally:
            if attempt not in self._replying:
                self._let_go(attempt)

    async def run(self, attempt: Attempt, pause_s: float) -> StepReply | Ending:
        """Make an attempt whose reply nobody waits for. Its turn ends with it.

        Args:
            attempt: The attempt.
            pause_s: Seconds to wait before.
        """
        try:
            return await self._make(attempt, pause_s)
        finally:
            self._let_go(attempt)

    def give_back(self) -> None:
        """Give the requests back whose replies are not confirmed: nobody waits for that now."""
        self._farewells.close()
        replying, self._replying = self._replying, {}
        for attempt in replying:
            attempt.hand.requeue()
            self._let_go(attempt)

    def attempt(self, request: StepRequest, endpoint: Endpoint, hand: Hand) -> Attempt:
        """Return an attempt that has not begun.

        Args:
            request: What is to be done.
            endpoint: What does it.
            hand: How it came.
        """
        beat = self._news.heartbeat
        if request.heartbeat_ms is None:
            return Attempt(request, endpoint, hand, self._ports, beat, self._once)
        pulse = Pulse(self._ports.clock, request, beat)
        attempt = Attempt(request, endpoint, hand, self._ports, pulse.tell, self._once)
        attempt.pulse = pulse
        return attempt

    # ----------------------------------------------------------------------- privately

    async def _make(self, attempt: Attempt, pause_s: float = 0.0) -> StepReply | Ending:
        """Run a handler when it is its turn, and return how that ended."""
        self._attempts[attempt.key or attempt] = attempt
        reply: StepReply | None = None
        with attempt.scope:
            if pause_s:
                await sleep(self._ports.clock, pause_s)
            if await self._begin(attempt):
                if attempt.pulse is not None:
                    attempt.pulse.start()
                self.watchdog.enter(attempt.name)
                try:
                    reply = await attempt.run()
                finally:
                    self.watchdog.leave(attempt.name)
        return attempt.result(reply)

    def _let_go(self, attempt: Attempt) -> None:
        """Take note that an attempt is over. Does nothing the second time."""
        key = attempt.key or attempt
        if self._attempts.get(key) is not attempt:
            return
        del self._attempts[key]
        if attempt.pulse is not None:
            attempt.pulse.stop()
        if attempt.has_begun:
            self._turns.release()

    async def _begin(self, attempt: Attempt) -> bool:
        """Wait until the handler may run, and return whether it may."""
        if not self._turns.take() and not await self._get_turn():
            attempt.end(Ending.ABANDONED)
            return False
        attempt.has_begun = True
        request = attempt.request
        if not request.reply_to:
            return True
        if request.at_most_once:
            is_granted = await self.permits.ask(request)
            if not is_granted:
                attempt.end(Ending.ABANDONED if is_granted is None else Ending.DENIED)
                return False
            _ack(attempt)
        elif request.heartbeat_ms is not None:
            started = note(STARTED, request, self._new_id())
            if await self.replies.deliver(request.reply_to, started):
                _ack(attempt)
        elif request.tell_start:
            await self._news.started(request)
        return True

    async def _get_turn(self) -> bool:
        """Wait for a turn, but not until long attempts end: those may take any time."""
        while True:
            with cancel_after(self._ports.clock, self._settings.turn_patience_s) as patience:
                await self._turns.wait()
            if not patience.cancelled_caught:
                return True
            if any(attempt.is_acked for attempt in self._attempts.values()):
                return False

    async def _settle(self, attempt: Attempt, end: Ending) -> None:
        match end:
            case Ending.CANCELLED:
                self.counters.cancelled += 1
                self._farewells.part(attempt)
            case Ending.DENIED:
                self.counters.denied += 1
                attempt.hand.ack()
            case Ending.ABANDONED if attempt.is_acked:
                self.counters.released += 1
                released = note(RELEASED, attempt.request, self._new_id())
                await self.replies.deliver(attempt.request.reply_to, released)
            case Ending.ABANDONED:
                attempt.hand.requeue()

    def _reply(self, attempt: Attempt, reply: StepReply) -> None:
        """Publish the reply, and settle the request once it is confirmed. It never waits."""
        request = attempt.request
        envelope = reply.envelope(self._new_id(), request.correlation)
        self._replying[attempt] = None
        told = partial(self._replied, attempt, envelope)
        try:
            self.replies.post(request.reply_to, envelope, told, forever=attempt.is_acked)
        except BaseException:
            self._replying.pop(attempt, None)
            raise

    def _replied(self, attempt: Attempt, reply: Envelope, is_confirmed: bool) -> None:  # noqa: FBT001 - `Replies.post` tells it
        if attempt not in self._replying:
            # The worker has ended meanwhile, and given the request back.
            return
        del self._replying[attempt]
        if is_confirmed:
            self.counters.answered += 1
        else:
            self.counters.unanswered += 1
        if attempt.key:
            self._answered.put(attempt.key, reply)
        attempt.hand.ack()
        self._let_go(attempt)
        self.on_settled()

    async def decline(self, hand: Hand, envelope: Envelope, reply: Envelope, reason: str) -> None:
        """Tell whoever waits, and if nobody does the person who looks after the dead letters.

        Args:
            hand: How the request came.
            envelope: The request, which nobody here can answer.
            reply: What to tell.
            reason: Why, for the log.
        """
        if not envelope.reply_to:
            self.reject(hand, envelope, reason)
            return
        await self.replies.deliver(envelope.reply_to, reply)
        hand.ack()

    def reject(self, hand: Hand, envelope: Envelope, reason: str) -> None:
        """Send a message to the dead.

        Args:
            hand: How it came.
            envelope: The message.
            reason: Why, for the log.
        """
        _log.warning("dead-lettered the message %s: %s", envelope.message_id, reason)
        hand.reject()


def _do_nothing() -> None:
    """Do what is done when nobody wants to know."""


def _ack(attempt: Attempt) -> None:
    """Settle a request whose attempt goes on: the broker would not wait for it."""
    attempt.is_acked = True
    attempt.hand.ack()


def _join(running: Attempt, deliveries: Iterable[Delivery]) -> None:
    for delivery in deliveries:
        if running.is_acked:
            delivery.ack()
        else:
            running.hand.join(delivery)
