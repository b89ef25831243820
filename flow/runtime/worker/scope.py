"""A block that can be cancelled from outside, while the task goes on after it.

A handler is cancelled as asyncio does it: once, so that it can await while it cleans up. A cancel
scope of anyio would interrupt every await of that cleaning up, which is not what most libraries
are written for. But whoever swallows the cancellation is cancelled again after a while.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from flow.ports import Clock, Timer

__all__ = ["Scope"]

AGAIN_S: Final = 10.0
"""Seconds that a block has to clean up before it is cancelled again."""


class Scope:
    """A block that `cancel` ends. Enter it once.

    Args:
        clock: The time.

    Attributes:
        is_cancelled: Whether it was cancelled.
    """

    __slots__ = ("_cancels", "_clock", "_has_ended", "_task", "_timer", "is_cancelled")

    def __init__(self, clock: Clock) -> None:
        """Prepare the block. It may be cancelled before it begins."""
        self._clock = clock
        self._task: asyncio.Task[object] | None = None
        self._timer: Timer | None = None
        self._cancels = 0
        self._has_ended = False
        self.is_cancelled = False

    def __enter__(self) -> Self:
        """Begin the block, in a task."""
        self._task = asyncio.current_task()
        if self.is_cancelled:
            self._deliver_soon()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the block, and the cancellation with it unless the task was cancelled as well."""
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._cancels or self._task is None:
            return False
        remaining = 0
        for _ in range(self._cancels):
            remaining = self._task.uncancel()
        return remaining == 0 and isinstance(error, asyncio.CancelledError)

    def cancel(self) -> None:
        """End the block wherever it waits. Does nothing if it has ended or was cancelled."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if self._task is not None:
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        # A task that cancels itself might leave the block before the cancellation arrives.
        if self._task is asyncio.current_task():
            asyncio.get_running_loop().call_soon(self._deliver)
        else:
            self._deliver()

    def _deliver(self) -> None:
        if self._has_ended or self._task is None:
            return
        self._cancels += 1
        self._task.cancel()
        self._timer = self._clock.call_at(self._clock.monotonic() + AGAIN_S, self._deliver)
