"""Tasks of servers and of simulated adapters; their failures end the run.

This is the only place of the simulation that makes tasks besides the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any

from flow.testing.simulation.loop import SimulatedLoop
from flow.testing.simulation.processes import OUTSIDE

__all__ = ["Tasks", "Turns", "start_outside"]


class Tasks:
    """Runs tasks until they end, or are stopped.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        """Own nothing yet."""
        self._loop = loop
        self._tasks: dict[asyncio.Task[None], None] = {}

    def start(self, coroutine: Coroutine[Any, Any, None], name: str, context: Context) -> None:
        """Start a task. If it fails, the loop keeps the failure in its `errors`.

        Args:
            coroutine: What it runs.
            name: What it is called.
            context: Where it runs: of a process, or of the outside world.
        """
        _ = self.make(coroutine, name, context)

    def make(
        self, coroutine: Coroutine[Any, Any, None], name: str, context: Context
    ) -> asyncio.Task[None]:
        """Start a task as `start` does, and return it.

        Args:
            coroutine: What it runs.
            name: What it is called.
            context: Where it runs.
        """
        task = self._loop.create_task(coroutine, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._done, context=context)
        return task

    def stop(self) -> None:
        """Cancel all tasks but the one that asks. They end in the next steps."""
        current = asyncio.current_task(self._loop)
        for task in list(self._tasks):
            if task is not current:
                task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": error, "task": task}
            )


class Turns:
    """Has operations done one after the other, by a task that lives while there are any.

    Args:
        tasks: The owner of that task.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Begin with nothing to do."""
        self._tasks = tasks
        self._is_busy = False
        self._operations: deque[Callable[[], Awaitable[None]]] = deque()

    def add(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Have something done after all that was added before.

        Args:
            operation: What to do, in the outside world.
        """
        self._operations.append(operation)
        if not self._is_busy:
            self._is_busy = True
            self._tasks.start(self._work(), "broker: serve a connection", OUTSIDE.copy())

    def clear(self) -> None:
        """Forget what was not begun."""
        self._operations.clear()

    async def _work(self) -> None:
        while self._operations:
            await self._operations.popleft()()
        self._is_busy = False


def start_outside(loop: SimulatedLoop, coroutine: Coroutine[Any, Any, None], name: str) -> None:
    """Start a task in the outside world that nobody stops; its failure ends the run.

    Args:
        loop: The loop, which owns the task.
        coroutine: What it runs.
        name: What it is called.
    """
    _ = loop.create_task(coroutine, name=name, context=OUTSIDE.copy())
