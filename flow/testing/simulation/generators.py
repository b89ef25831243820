"""Asynchronous generators that somebody has begun and not read to their end."""

import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["OpenGenerators"]

_Generator = AsyncGenerator[Any, Any]


class OpenGenerators:
    """Has generators closed that are dropped, as every event loop does, in a repeatable order.

    Args:
        start: Starts a task that runs a coroutine.
        is_running: Tells whether there is still a loop that runs it.
    """

    def __init__(
        self, start: Callable[[Coroutine[Any, Any, None]], object], is_running: Callable[[], bool]
    ) -> None:
        """Begin with none."""
        self._start = start
        self._is_running = is_running
        self._number = 0
        # Numbered, because a set would hand them out by their addresses.
        self._open: weakref.WeakValueDictionary[int, _Generator] = weakref.WeakValueDictionary()

    @contextmanager
    def watched(self) -> Generator[None]:
        """Hear of every generator that this thread begins in the block."""
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._begun, finalizer=self._dropped)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*before)

    def close_all(self) -> bool:
        """Start to close those that are still open; return whether there are any."""
        left = list(self._open.values())
        self._open.clear()
        for generator in left:
            self._start(_close(generator))
        return bool(left)

    def _begun(self, generator: _Generator) -> None:
        self._number += 1
        self._open[self._number] = generator

    def _dropped(self, generator: _Generator) -> None:
        if self._is_running():
            self._start(_close(generator))


async def _close(generator: _Generator) -> None:
    await generator.aclose()
