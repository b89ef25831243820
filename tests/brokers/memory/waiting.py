"""How these tests wait: for turns of the event loop, never for time to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

DEADLINE_S: Final = 20.0
"""Seconds after which what was expected is given up: long, for it is spent on failure only."""


async def turns(count: int = 5) -> None:
    """Let the event loop turn *count* times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until *condition* holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await turns(1)
