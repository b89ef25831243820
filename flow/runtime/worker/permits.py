"""Permits: a handler that runs at most once begins only when the store says that it may.

A permit belongs to one taking of a request, and not to a worker or an attempt: whoever takes the
same request again has another name for it, and is denied. So a request that comes twice needs no
memory here, and a worker that dies between permit and handler leaves an attempt that never runs.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from flow.clock import cancel_after
from flow.ports import Chance, Clock, Envelope
from flow.runtime.protocol import PERMIT_HEADER, STARTED, WORKER_HEADER, StepRequest
from flow.runtime.worker.news import note
from flow.runtime.worker.replies import Replies

__all__ = ["Permits"]

_log = logging.getLogger("flow.worker")

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0
PATIENCE_S: Final = 600.0
"""Seconds after which a request goes back whose permit nobody has granted or denied. The broker
does not let a worker keep one for much longer."""


@dataclass(slots=True)
class _Asked:
    """Somebody who waits for an answer."""

    is_answered: asyncio.Event = field(default_factory=asyncio.Event)
    is_granted: bool = False


class Permits:
    """Asks orchestrators for permits.

    Args:
        replies: Publishes messages until they are confirmed.
        clock: Time.
        chance: Ids, and jitter.
        worker: The worker's id; the answers come to its queue of cancellations.
    """

    def __init__(self, replies: Replies, clock: Clock, chance: Chance, worker: str) -> None:
        """Begin without having asked."""
        self._replies = replies
        self._clock = clock
        self._chance = chance
        self._worker = worker
        self._asked: dict[str, _Asked] = {}

    def __len__(self) -> int:
        """Return how many wait for an answer."""
        return len(self._asked)

    async def ask(self, request: StepRequest) -> bool | None:
        """Ask for the permit of an attempt, again and again.

        Args:
            request: The request of the attempt. To call this twice for the same one is to ask
                for two permits, of which at most one is granted.

        Returns:
            Whether the handler may run, or None if nobody says so for too long. Then it must
            not, and the name under which was asked is never used again.
        """
        permit, asked = self._chance.new_id(), _Asked()
        self._asked[permit] = asked
        end, pause = self._clock.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        try:
            while self._clock.monotonic() < end:
                await self._replies.deliver(request.reply_to, self._question(request, permit))
                with cancel_after(self._clock, pause * (0.5 + 0.5 * self._chance.random())):
                    await asked.is_answered.wait()
                if asked.is_answered.is_set():
                    return asked.is_granted
                pause = min(2 * pause, LONGEST_PAUSE_S)
        finally:
            del self._asked[permit]
        _log.warning("%s: nobody says whether it may run", request.correlation)
        return None

    def answer(self, envelope: Envelope, *, is_granted: bool) -> None:
        """Take an answer; nobody waits for one that comes twice.

        Args:
            envelope: The message.
            is_granted: Whether it is the permit.
        """
        asked = self._asked.get(envelope.headers.get(PERMIT_HEADER, ""))
        if asked is not None and not asked.is_answered.is_set():
            asked.is_granted = is_granted
            asked.is_answered.set()

    def _question(self, request: StepRequest, permit: str) -> Envelope:
        headers = {PERMIT_HEADER: permit, WORKER_HEADER: self._worker}
        return note(STARTED, request, self._chance.new_id())._replace(headers=headers)
