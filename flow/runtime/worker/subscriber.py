"""The subscriber: gives handlers what is published to the topics that they want.

Nobody waits for an answer, and nobody sends a message again but the broker. So it is acked when
its handler has succeeded, and what fails is tried again here, with its place in the queue kept.
When all tries are used up, or another one cannot help, the message goes to the dead letters.
"""

from typing import Final

from flow.ports import Envelope
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.service import Endpoint, WorkerPorts
from flow.runtime.worker.attempts import Ending, Hand
from flow.runtime.worker.performer import Performer

__all__ = ["Subscriber"]

KEY: Final = "flow-key"


class Subscriber:
    """Has messages from topics handled.

    Args:
        performer: Makes the attempts.
        ports: What is needed of the machine.
    """

    def __init__(self, performer: Performer, ports: WorkerPorts) -> None:
        """Begin without a message."""
        self._performer = performer
        self._ports = ports

    async def take(self, hand: Hand, envelope: Envelope, endpoint: Endpoint) -> None:
        """Handle a message, and settle it.

        Args:
            hand: How it came.
            envelope: The message.
            endpoint: What handles it.
        """
        number, pause_ms = 0, 0
        while True:
            number += 1
            request = _request(envelope, endpoint, number)
            attempt = self._performer.attempt(request, endpoint, hand)
            end = await self._performer.run(attempt, pause_ms / 1000)
            if not isinstance(end, StepReply):
                _give_up(hand, end)
                return
            if end.outcome is not Outcome.FAILURE:
                self._performer.counters.answered += 1
                hand.ack()
                return
            next_ms = self._pause_ms(end, endpoint, number)
            if next_ms is None:
                self._performer.counters.rejected += 1
                self._performer.reject(hand, envelope, f"{endpoint.name} failed: {end.failure}")
                return
            pause_ms = next_ms

    def _pause_ms(self, reply: StepReply, endpoint: Endpoint, number: int) -> int | None:
        """Return how long to wait for the next try, or None if there is none."""
        policy, kind = endpoint.retry, "" if reply.failure is None else reply.failure.type
        if not reply.retryable or not policy.allows(number, kind):
            return None
        if reply.retry_after_ms is not None:
            return reply.retry_after_ms
        return policy.delay_ms(number, self._ports.chance.random())


def _give_up(hand: Hand, end: Ending) -> None:
    if end is Ending.ABANDONED:
        hand.requeue()
    else:
        hand.ack()


def _request(envelope: Envelope, endpoint: Endpoint, number: int) -> StepRequest:
    key = envelope.headers.get(KEY) or envelope.correlation_id or envelope.message_id
    read = StepRequest.read(envelope, endpoint.name)
    return StepRequest(
        endpoint=endpoint.name,
        body=read.body,
        correlation=key,
        reply_to="",
        headers=read.headers,
        attempt=number,
        timeout_ms=endpoint.timeout_ms,
    )
