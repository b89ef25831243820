"""The announcer: tells the orchestrators which steps this process declares.

Theory of operation
-------------------
A worker that has no store announces its steps when it starts, one after the other, while it serves
already. Each is told again until an orchestrator has answered that the store has it, for as long
as that takes: services may be up before the first orchestrator is.

If another service has announced a different step of the same id, this process would do something
else than the workflows mean. So it does not go on: the error leaves `run`, and the host fails
with it. Any other refusal is logged, and the worker serves.
"""

import logging
from collections.abc import Sequence
from typing import Final

from flow import codec
from flow.catalogue import Announcement
from flow.clock import sleep
from flow.errors import FlowError, StepConflict, UnavailableError
from flow.ports import Broker, Chance, Clock, Envelope, Publication, Subscription
from flow.runtime import protocol
from flow.runtime.addresses import Addresses
from flow.runtime.asking import Asker
from flow.runtime.protocol import Answer
from flow.runtime.publisher import Publisher

__all__ = ["Announcer"]

_log = logging.getLogger("flow.announcer")

PREFETCH: Final = 100
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0


class Announcer:
    """Announces the steps of one process.

    Args:
        broker: The connection, open.
        publisher: Publishes on it.
        addresses: The names of the namespace.
        clock: The time.
        chance: Ids and jitter.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: Publisher,
        addresses: Addresses,
        clock: Clock,
        chance: Chance,
    ) -> None:
        """Prepare; nothing is announced before `run`."""
        self._broker = broker
        self._addresses = addresses
        self._clock = clock
        self._chance = chance
        self._id = chance.new_id()
        self._asker = Asker(publisher, clock, chance, addresses.reply_queue(self._id))
        self._tries = 0

    async def run(self, announcements: Sequence[Announcement]) -> None:
        """Announce steps, and return once all are answered.

        Args:
            announcements: The steps.

        Raises:
            StepConflict: Another service has announced another step of the same id.
        """
        if not announcements:
            return
        unwatch = self._broker.watch(self._asker.hear)
        try:
            subscription = await self._open()
            for each in announcements:
                await self._announce(each)
            await subscription.cancel()
        finally:
            unwatch()
        _log.info("%d steps are announced", len(announcements))

    async def _open(self) -> Subscription:
        """Receive answers, as soon as there is a connection."""
        while True:
            try:
                await self._broker.declare(self._addresses.client(self._id))
                return await self._broker.consume(
                    self._asker.reply_to, PREFETCH, self._asker.receive
                )
            except UnavailableError as error:
                await self._rest("answers cannot be received yet", error)

    async def _announce(self, announcement: Announcement) -> None:
        while True:
            try:
                await self._ask(announcement)
            except UnavailableError as error:
                await self._rest(f"step {announcement.step.id!r} is not announced yet", error)
            except StepConflict:
                raise
            except FlowError as error:
                _log.error("step %r is not in the catalogue: %s", announcement.step.id, error)
                return
            else:
                self._tries = 0
                return

    async def _ask(self, announcement: Announcement) -> None:
        addresses, body = self._addresses, codec.encode_announcement(announcement)

        def publication(correlation: str) -> Publication:
            message, reply_to = self._chance.new_id(), self._asker.reply_to
            envelope = Envelope(protocol.ANNOUNCE, body, message, correlation, reply_to)
            return Publication(addresses.announce, "", envelope)

        what = f"the announcement of step {announcement.step.id!r}"
        delivery = await self._asker.ask_until_answered(publication, what, None)
        error = Answer.read(delivery.envelope).error
        if error is not None:
            raise error

    async def _rest(self, what: str, error: FlowError) -> None:
        limit = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._tries, 10))
        # The first of them says it all until that has changed.
        _log.log(logging.DEBUG if self._tries else logging.WARNING, "%s: %s", what, error)
        self._tries += 1
        await sleep(self._clock, limit * (0.5 + 0.5 * self._chance.random()))
