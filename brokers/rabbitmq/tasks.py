"""The owner of the adapter's tasks, which live as long as the connection does.

A connection is opened by one task and closed by another, so that no block of code can enclose
what runs in between; and the task group of the runtime is above the adapters. This is the
adapter's only place that makes tasks.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["Tasks"]


class Tasks:
    """Runs tasks until it is stopped, and cancels them in the order of their start."""

    def __init__(self) -> None:
        """Own nothing yet."""
        self._tasks: dict[asyncio.Task[None], None] = {}

    def __len__(self) -> int:
        """Return how many tasks run."""
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task. If it fails, the event loop's handler of exceptions is told.

        Args:
            coroutine: What it runs.
            name: What it is called in logs.
        """
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    async def stop(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        current = asyncio.current_task()
        while others := [task for task in self._tasks if task is not current]:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    async def join(self) -> None:
        """Wait until all tasks have ended by themselves."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            task.get_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": error, "task": task}
            )
