"""Pauses: which workflows are paused, as far as this orchestrator knows."""

import asyncio
from collections.abc import Mapping

from flow.ports import Store

__all__ = ["Pauses"]


class Pauses:
    """A copy of what the store says about pauses.

    It may be an old one. Whoever pauses a workflow makes sure of it partition by partition; see
    `flow.runtime.orchestrator.pausing`.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        """Begin without a pause; `load` reads them."""
        self._store = store
        self._present: Mapping[str, str] = {}
        # One after the other: an answer that was on its way for longer must not come last.
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read them again.

        Raises:
            StoreUnavailable: The store cannot be asked; the copy stays as it was.
        """
        async with self._lock:
            self._present = dict(await self._store.pauses())

    def command(self, workflow: str) -> str:
        """Return the id of the command that pauses a workflow, or an empty string.

        Args:
            workflow: The workflow's id.
        """
        return self._present.get(workflow, "")
