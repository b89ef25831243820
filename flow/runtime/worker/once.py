"""Once: an effect and the reply that tells of it, in one transaction of the inbox's database."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from flow import codec
from flow.errors import AlreadyUndone, InvalidInput, StoreUnavailable
from flow.message import user_headers
from flow.ports import Inbox, InboxAttempt
from flow.runtime.keeping import kept_of, with_kept
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.worker.outcomes import VALIDATE, not_usable

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

    async def run(
        self, request: StepRequest, handle: Handle, *, is_undo: bool = False
    ) -> StepReply | None:
        """Run a handler unless it has succeeded before; then return the reply of that time.

        Only a success is saved. Everything else undoes what the handler wrote. An undo leaves a
        tombstone under the key of the run, which a run that comes later finds.

        Args:
            request: The request; its idempotency key is taken.
            handle: Runs the handler.
            is_undo: Whether it takes back what another request has had done.

        Returns:
            The reply, or None if nobody knows what became of it. The next attempt will find out.
        """
        key, raised = request.idempotency_key, list[BaseException]()
        undone = _run_key(request) if is_undo else ""
        try:
            async with self._inbox.attempt(f"{self._namespace}/{key}") as attempt:
                if undone and attempt.saved is None:
                    # Before the undo begins: a run that is under way is waited for, and its effect
                    # is seen; a later one will be refused.
                    await attempt.bury(f"{self._namespace}/{undone}")
                if attempt.is_tombstone:
                    reply = not_usable(AlreadyUndone(request.endpoint, key), VALIDATE)
                else:
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
            headers = user_headers(saved.headers)
            return StepReply(Outcome.SUCCESS, saved.body, headers, kept=kept_of(saved.headers))
        try:
            reply = await handle(attempt.connection)
        except BaseException as error:
            raised.append(error)
            raise
        if reply.outcome is Outcome.SUCCESS:
            await attempt.save(reply.body, with_kept(reply.headers, reply.kept))
        return reply


def _run_key(request: StepRequest) -> str:
    """Return the idempotency key of the run that an undo is for; nothing if it does not say."""
    try:
        run = codec.loads(request.body, "the run that is to be undone")
    except InvalidInput:
        # The handler will say so, in full.
        return ""
    key: object = cast("dict[str, Any]", run).get("run_key") if isinstance(run, dict) else None
    return key if isinstance(key, str) else ""
