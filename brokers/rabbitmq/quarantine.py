"""Keeps queues that cost a connection away from the one that all others use.

Theory of operation
-------------------
A quorum queue may have no leader: for as long as most of its nodes are down; or for ever, if the
node of a single RabbitMQ 3.10 was killed within half a second after the declaration. It can be
declared as if nothing were wrong, but consuming it is not answered, or ends the whole connection
with 541, INTERNAL_ERROR.

So a queue whose consuming went wrong that way is a suspect. It is consumed again only after it was
tried out on a connection of its own, which is closed at once; whatever it takes meanwhile goes
back. Between two trials there is a pause that doubles up to `LONGEST_S`. Only a suspect that fails
its trial is spoken of: where several consumers start at once, the innocent are acquitted.
"""

import logging
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelClosed

from brokers.rabbitmq.link import Dial, Link, connect
from flow.errors import BrokerUnavailable
from flow.ports import Chance, Clock, Finding, Level

__all__ = ["Quarantine"]

_log = logging.getLogger("flow.rabbitmq")

FIRST_S: Final = 1.0
"""Seconds until the first trial, give or take a half."""
LONGEST_S: Final = 60.0
"""Seconds between two trials at most."""
DOUBLINGS_MAX: Final = 10
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
LAST_RANK: Final = -100
"""The priority of a trial among consumers: it takes only what nobody else can take now."""


@dataclass(slots=True)
class _Case:
    """What is held against a queue.

    Args:
        due: When it may be tried next, on the clock's monotonic scale.
        failures: How many trials it has failed.
        reason: What happened last.
    """

    due: float
    failures: int = 0
    reason: str = ""


class Quarantine:
    """Knows which queues must not be consumed on the connection that all others use.

    Args:
        dial: How a connection for trials is made.
        clock: Time.
        chance: Jitter.
        discard: Closes a link in the background.
    """

    def __init__(
        self, dial: Dial, clock: Clock, chance: Chance, discard: Callable[[Link], None]
    ) -> None:
        self._dial = dial
        self._url = str(dial.address)
        self._clock = clock
        self._chance = chance
        self._discard = discard
        self._cases: dict[str, _Case] = {}

    @property
    def trouble(self) -> str:
        """Which queues have failed their trials, in words; an empty string if none has."""
        return "; ".join(case.reason for case in self._cases.values() if case.failures)

    @property
    def findings(self) -> list[Finding]:
        """What a person should know about each queue that has failed its trials."""
        return [
            Finding(Level.PROBLEM, f"queue {queue!r}", case.reason, self._advice(queue))
            for queue, case in self._cases.items()
            if case.failures
        ]

    def holds(self, queue: str) -> bool:
        """Return whether a queue is a suspect.

        Args:
            queue: Its name.
        """
        return queue in self._cases

    def wait_s(self, queue: str) -> float:
        """Return in how many seconds a queue may be tried; 0 for one that is free.

        Args:
            queue: Its name.
        """
        case = self._cases.get(queue)
        return 0.0 if case is None else max(0.0, case.due - self._clock.monotonic())

    def doubt(self, queue: str) -> None:
        """Make a queue a suspect that may be tried at once.

        Args:
            queue: Its name.
        """
        self._cases.setdefault(queue, _Case(self._clock.monotonic()))

    def suspect(self, queue: str, link: Link) -> None:
        """Take note that consuming a queue went wrong, if that may be the queue's own fault.

        Args:
            queue: Its name.
            link: The connection, as it is afterwards.
        """
        if link.is_up or INTERNAL_ERROR in link.last_words:
            self._cases.setdefault(queue, _Case(self._clock.monotonic() + self._pause_s(0)))

    def forget(self) -> None:
        """Suspect no queue any more."""
        self._cases.clear()

    async def admit(self, queue: str) -> None:
        """Make sure that a queue may be consumed on the connection that all others use.

        Args:
            queue: Its name.

        Raises:
            BrokerUnavailable: It has failed its trial, or it is too early for another one; or
                there is no connection.
        """
        case = self._cases.get(queue)
        if case is None:
            return
        if self.wait_s(queue):
            raise BrokerUnavailable(self._url, case.reason or f"queue {queue!r} is not tried yet")
        link = await connect(self._dial)
        try:
            await _try(link, queue)
        except BrokerUnavailable as error:
            self._convict(queue, case, link, error)
            raise BrokerUnavailable(self._url, case.reason or error.reason) from error
        finally:
            self._discard(link)
        if self._cases.pop(queue, None) is not None and case.failures:
            _log.info("queue %r can be consumed again", queue)

    def _convict(self, queue: str, case: _Case, link: Link, error: BrokerUnavailable) -> None:
        """Take note of a trial that went wrong."""
        if not link.is_up and INTERNAL_ERROR not in link.last_words:
            return
        case.failures += 1
        case.due = self._clock.monotonic() + self._pause_s(case.failures)
        why = link.last_words or error.reason
        case.reason = f"queue {queue!r} cannot be consumed, for it has no leader ({why})"
        if case.failures == 1:
            _log.warning("%s: %s. %s", self._url, case.reason, self._advice(queue))

    def _advice(self, queue: str) -> str:
        vhost, name = shlex.quote(self._dial.address.vhost), shlex.quote(queue)
        return (
            "If all nodes of the broker are up, delete it with"
            f" `rabbitmqctl delete_queue -p {vhost} {name}`: it is declared anew, and nothing is"
            " lost, because everything is in the store and is sent again"
        )

    def _pause_s(self, failures: int) -> float:
        longest = min(LONGEST_S, FIRST_S * 2.0 ** min(failures, DOUBLINGS_MAX))
        return longest * (0.5 + 0.5 * self._chance.random())


async def _try(link: Link, queue: str) -> None:
    """Consume a queue, and settle nothing of what comes.

    Raises:
        BrokerUnavailable: That ended the connection, or was not answered.
    """
    channel = await link.channel()
    questions: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: channel.basic_qos(prefetch_count=1),
        lambda: channel.basic_consume(queue, _ignore, arguments={"x-priority": LAST_RANK}),
    )
    try:
        for question in questions:
            await link.ask(question(), f"to consume {queue!r}")
    except ChannelClosed:
        # It is not there, or somebody's own: whatever that is, it hurts nobody.
        return


async def _ignore(message: DeliveredMessage) -> None:
    """Leave a message unsettled, so that it goes back when the connection is closed."""
