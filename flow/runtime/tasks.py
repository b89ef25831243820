"""A task group that keeps the order in which its tasks were started.

`asyncio.TaskGroup` keeps its tasks in a set and anyio cancels in the order of addresses: both
differ from one process to the next. The runtime's order of events has to be reproducible, so it
starts and cancels its tasks here. This is the only place that makes tasks.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

__all__ = ["TaskGroup"]


class TaskGroup:
    """Runs tasks until the block ends, and cancels them in the order of their start.

    The first task that fails cancels the others and the block, and its error leaves the block;
    further errors are attached to it as notes.
    """

    def __init__(self) -> None:
        """Make an empty group; enter it before you start tasks."""
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._host: asyncio.Task[Any] | None = None
        self._failure: BaseException | None = None
        self._closing = False
        self._host_cancelled = False

    async def __aenter__(self) -> Self:
        """Open the group for tasks."""
        self._host = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel what still runs, wait for it, and raise what a task failed with."""
        await self.stop()
        if self._failure is None:
            return
        if self._host_cancelled and self._host is not None:
            self._host.uncancel()
        if error is not None and error is not self._failure and kind is not asyncio.CancelledError:
            self._failure.add_note(f"the block failed as well: {error!r}")
        raise self._failure

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task.

        Args:
            coroutine: What it runs.
            name: What it is called in logs.
        """
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Cancel all tasks in the order of their start."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """Cancel all tasks in the order of their start, and wait until they have ended."""
        self.cancel()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
            self.cancel()

    @property
    def has_failed(self) -> bool:
        """Whether a task has failed."""
        return self._failure is not None

    def __len__(self) -> int:
        """Return how many tasks run."""
        return len(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if self._failure is not None:
            self._failure.add_note(f"{task.get_name()} failed as well: {error!r}")
            return
        self._failure = error
        for other in self._tasks:
            other.cancel()
        if not self._closing and self._host is not None and not self._host.done():
            self._host_cancelled = True
            self._host.cancel()
