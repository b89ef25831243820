"""Answering: what is said to whoever asked, and where goes what nobody can use.

Every message that asks for something names the queue that the answer goes to. That name is not
trusted: an answer goes only to a queue that is made for answers.
"""

import logging
from functools import partial
from typing import Final

from flow.errors import (
    BrokerUnavailable,
    FlowError,
    InvalidInput,
    Overloaded,
    UnavailableError,
)
from flow.ports import Chance, Clock, Delivery, Publication, Settlement
from flow.runtime.addresses import Addresses
from flow.runtime.protocol import ERROR_HEADER, REASON_HEADER, Answer
from flow.runtime.publisher import Publisher

__all__ = ["Answering"]

_log = logging.getLogger("flow.answering")

REASON_LIMIT: Final = 1_000
"""Characters of a reason that a dead letter carries."""
PAUSE_S: Final = 1.0
"""Seconds until a message is given back that could not be passed on."""
_ROUTING_HEADERS: Final = ("cc", "bcc")
"""RabbitMQ would send copies to the queues that they name."""


class Answering:
    """Answers messages, passes them on, and buries them.

    Args:
        publisher: Publishes.
        addresses: The names of the namespace.
        clock: The time.
        chance: Message ids.
    """

    def __init__(
        self,
        publisher: Publisher,
        addresses: Addresses,
        clock: Clock,
        chance: Chance,
    ) -> None:
        """Share what is needed to publish."""
        self._publisher = publisher
        self._addresses = addresses
        self._clock = clock
        self._chance = chance

    def check(self, reply_to: str) -> None:
        """Make sure that an answer may be published to a queue.

        Args:
            reply_to: The queue's name, or an empty string if nobody wants an answer.

        Raises:
            InvalidInput: It is not a queue for answers.
        """
        if reply_to and not self.can_answer(reply_to):
            rule = (
                f"{reply_to[:200]!r} is not a queue for answers: name it "
                f"{self._addresses.reply_queue('<anything>')}, or let the broker name it"
            )
            raise InvalidInput("reply_to", rule)

    def can_answer(self, reply_to: str) -> bool:
        """Return whether somebody wants an answer, in a queue that is made for answers.

        Args:
            reply_to: The queue's name, or an empty string if nobody wants an answer.
        """
        return bool(reply_to) and self._addresses.may_answer(reply_to)

    def answer(self, reply_to: str, correlation: str, answer: Answer) -> None:
        """Send an answer that nobody waits for here; whoever misses it asks again.

        Args:
            reply_to: The queue that it goes to; nothing is sent if nobody wants it.
            correlation: The question's.
            answer: What to say.
        """
        if not reply_to:
            return
        envelope = answer.envelope(self._chance.new_id(), correlation)
        publication = Publication("", reply_to, envelope, mandatory=False)
        try:
            self._publisher.post(publication, _note_failure)
        except Overloaded as error:
            _log.warning("an answer was not sent: %s", error)

    def refuse(self, delivery: Delivery, error: FlowError) -> None:
        """Settle a message that asks for what cannot be done: answer it, or bury it.

        Args:
            delivery: The message.
            error: Why not.
        """
        envelope = delivery.envelope
        if not self.can_answer(envelope.reply_to):
            self.bury(delivery, error)
            return
        answer = Answer(error=error).envelope(self._chance.new_id(), envelope.correlation_id)
        self.pass_on(delivery, Publication("", envelope.reply_to, answer, mandatory=False))

    def bury(self, delivery: Delivery, error: FlowError) -> None:
        """Settle a message that nobody can use: it goes to the dead, with the reason.

        Args:
            delivery: The message.
            error: What is wrong with it.
        """
        envelope = delivery.envelope
        kind = f"of type {envelope.type!r}" if envelope.type else "without a type"
        _log.warning("message %r %s goes to the dead: %s", envelope.message_id, kind, error)
        reason = {ERROR_HEADER: type(error).__name__, REASON_HEADER: str(error)[:REASON_LIMIT]}
        headers = {
            name: value
            for name, value in envelope.headers.items()
            if name.lower() not in _ROUTING_HEADERS
        }
        envelope = envelope._replace(
            message_id=envelope.message_id or self._chance.new_id(),
            headers={**headers, **reason},
        )
        key = delivery.routing_key
        self.pass_on(delivery, Publication(self._addresses.dead, key, envelope))

    def pass_on(self, delivery: Delivery, publication: Publication) -> None:
        """Publish something in place of a message, which is acknowledged once that is confirmed.

        Args:
            delivery: The message. It is given back after a while if that fails.
            publication: What to publish.
        """
        try:
            self._publisher.post(publication, partial(self._passed_on, delivery, publication))
        except Overloaded:
            self._give_back(delivery)

    def _passed_on(
        self,
        delivery: Delivery,
        publication: Publication,
        outcome: Settlement | None,
        error: Exception | None,
    ) -> None:
        if isinstance(error, FlowError) and not isinstance(error, UnavailableError):
            # No broker takes it, now or later: its headers are too large, for example.
            _log.error("a message of type %r goes to the dead: %s", delivery.envelope.type, error)
            delivery.reject()
        elif outcome is Settlement.CONFIRMED:
            delivery.ack()
        elif outcome is Settlement.UNROUTABLE and not publication.mandatory:
            # Whoever should have got it is gone.
            delivery.ack()
        else:
            self._give_back(delivery)

    def _give_back(self, delivery: Delivery) -> None:
        # After a pause, because it comes back at once.
        self._clock.call_at(self._clock.monotonic() + PAUSE_S, delivery.requeue)


def _note_failure(_: Settlement | None, error: Exception | None) -> None:
    if error is not None:
        # That the broker is away is told once, and not for each message.
        level = logging.DEBUG if isinstance(error, BrokerUnavailable) else logging.WARNING
        _log.log(level, "an answer was not sent: %s", error)
