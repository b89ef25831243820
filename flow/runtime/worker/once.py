"""Once: an effect and the reply that tells of it, in one transaction of the inbox's database."""

import logging
from collections.abc import Awaitable, Callable

from flow.errors import StoreUnavailable
from flow.ports import Inbox, InboxAttempt
from flow.runtime.protocol import Outcome, StepReply

__all__ = ["Once"]

_log = logging.getLogger("flow.worker")

Handle = Callable[[object], Awaitable[StepReply]]
"""Runs a handler with the connection of a transaction."""


class Once:
    """Lets effects happen exactly once.

    Args:
        inbox: The inbox, open.
        namespace: The namespace; several may share a database.
    """

    def __init__(self, inbox: Inbox, namespace: str) -> None:
        """Keep the inbox."""
        self._inbox = inbox
        self._namespace = namespace
        self._is_away = False

    async def run(self, key: str, handle: Handle) -> StepReply | None:
        """Run a handler unless it has succeeded before; then return the reply of that time.

        Only a success is saved. Everything else undoes what the handler wrote.

        Args:
            key: The idempotency key.
            handle: Runs the handler.

        Returns:
            The reply, or None if nobody knows what became of it. The next attempt will find out.
        """
        raised = list[BaseException]()
        try:
            async with self._inbox.attempt(f"{self._namespace}/{key}") as attempt:
                reply = await self._run(attempt, handle, raised)
        except StoreUnavailable as error:
            if error in raised:
                # It is the handler's own.
                raise
            # The first of them says it all until that has changed.
            level = logging.DEBUG if self._is_away else logging.WARNING
            self._is_away = True
            _log.log(level, "the inbox cannot tell whether %s was done: %s", key, error)
            return None
        if self._is_away:
            self._is_away = False
            _log.warning("the inbox can be used again")
        return reply

    async def _run(
        self, attempt: InboxAttempt, handle: Handle, raised: list[BaseException]
    ) -> StepReply:
        if attempt.saved is not None:
            saved = attempt.saved
            return StepReply(outcome=Outcome.SUCCESS, body=saved.body, headers=saved.headers)
        try:
            reply = await handle(attempt.connection)
        except BaseException as error:
            raised.append(error)
            raise
        if reply.outcome is Outcome.SUCCESS:
            await attempt.save(reply.body, reply.headers)
        return reply
