"""The catalogue as users hold it: the steps that services have announced."""

from collections.abc import Callable
from typing import Any

from flow.client import Client

__all__ = ["Catalogue"]

Clients = Callable[[], Client]


class Catalogue:
    """The steps that services have announced to the namespace.

    A step is described by an object: `id`, `service`, `endpoint`, `requires`, `policy` (an object:
    `timeout_ms`, `retry` and so on), `input` and `output` (JSON schemas, or None), `hash`, and
    `announced_ms` (since when it is what it is, in milliseconds since 1970).

    Args:
        clients: Gives the client to ask with.
    """

    def __init__(self, clients: Clients) -> None:
        """Prepare; nothing is asked yet."""
        self._clients = clients

    async def list(self) -> list[dict[str, Any]]:
        """Return all steps, by id."""
        rows: list[dict[str, Any]] = []
        while True:
            after = rows[-1]["id"] if rows else ""
            page: list[dict[str, Any]] = await self._clients().ask("steps", {"after": after})
            if not page:
                return rows
            rows += page

    async def get(self, id: str) -> dict[str, Any]:
        """Return one step.

        Args:
            id: Its id.

        Raises:
            UnknownStep: No service has announced it.
        """
        row: dict[str, Any] = await self._clients().ask("step.get", {"step": id})
        return row

    async def forget(self, id: str) -> None:
        """Forget a step, so that another service can announce one of this id.

        Workflows keep what they were made of. A service that still has the step announces it again
        when it is started again.

        Args:
            id: Its id.

        Raises:
            UnknownStep: No service has announced it.
        """
        await self._clients().ask("step.forget", {"step": id})
