"""Tasks of a simulated loop: numbered, and known to belong to a process."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

from flow.testing.simulation.cancelling import CancelOrder, is_of_a_scope
from flow.testing.simulation.processes import PROCESS, SimulatedProcess, present_process

__all__ = ["SimulatedTask", "end_by_force", "waiting_tasks"]

T = TypeVar("T")

_CLOSINGS: Final = 10
_DEEPEST: Final = 100
_WRAPPER: Final = "Simulation.run."


class SimulatedTask(asyncio.Task[T]):
    """A task with a number, which is its hash too.

    Sets of tasks are everywhere, in asyncio and in anyio, and whoever goes through one meets its
    members by their hashes. The usual hash is an address, which differs from run to run.

    Args:
        coro: What it runs.
        loop: The loop that it belongs to.
        number: Its number in the loop.
        order: Where the cancellations of anyio find their order; that of asyncio if it is None.
        name: What it is called.
        context: What it runs in; a copy of the present context if it is None.

    Attributes:
        number: As given.
        order: As given.
        process: The simulated process that it belongs to, or None for the outside world.
    """

    __slots__ = ("number", "order", "process")

    number: int
    order: CancelOrder | None
    process: SimulatedProcess | None

    def __init__(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        loop: asyncio.AbstractEventLoop,
        number: int,
        order: CancelOrder | None = None,
        name: str | None = None,
        context: Context | None = None,
    ) -> None:
        """Have it begin with one of the next steps."""
        # asyncio takes it into a set at once, so that the hash is needed first.
        self.number = number
        self.order = order
        self.process = present_process() if context is None else context.get(PROCESS)
        # The names that asyncio gives count through all loops, and differ from run to run.
        super().__init__(coro, loop=loop, name=name or f"task {number}", context=context)

    def __hash__(self) -> int:
        """Return the number."""
        return self.number

    def cancel(self, msg: Any = None) -> bool:
        """Cancel it. See `asyncio.Task.cancel`."""
        if self.order is None or not is_of_a_scope(msg):
            return super().cancel(msg)
        return self.order.run(self.number, partial(super().cancel, msg))

    @property
    def is_unnoticed(self) -> bool:
        """Whether it has failed, outside of killed processes, and nobody has looked yet."""
        if not self.done() or self.cancelled():
            return False
        is_there = self.process is None or not self.process.is_dead
        return is_there and bool(getattr(self, "_log_traceback", False))

    def describe(self) -> str:
        """Return its name, its process and where it waits, for people."""
        where = f"{self.process.name}: " if self.process is not None else ""
        paused = " (paused)" if self.process is not None and not self.process.is_running else ""
        names = [name for name in _places(self.get_coro()) if not name.startswith(_WRAPPER)]
        at = f" in {names[0]}" if names else ""
        awaits = f", awaiting {names[-1]}" if len(names) > 1 else ""
        return f"{where}{self.get_name()}{at}{awaits}{paused}"


def waiting_tasks(tasks: list[SimulatedTask[Any]]) -> list[str]:
    """Describe those that are not done, except those of killed processes, which wait for nothing.

    Args:
        tasks: Some tasks.
    """
    return [
        task.describe()
        for task in tasks
        if not task.done() and (task.process is None or not task.process.is_dead)
    ]


def end_by_force(task: asyncio.Task[Any]) -> None:
    """End a task that does not let itself be cancelled; its loop has to have stopped.

    Args:
        task: The task. It stays pending, and nobody will hear of that.
    """
    setattr(task, "_log_destroy_pending", False)  # noqa: B010 - the stubs hide it
    coroutine = task.get_coro()
    if not isinstance(coroutine, types.CoroutineType):
        return
    for _ in range(_CLOSINGS):
        # It says so when it ignores that it has to end; then it is told once more.
        with suppress(RuntimeError):
            coroutine.close()
            return


def _places(awaitable: object) -> Generator[str]:
    """Yield where a suspended coroutine stands, then where the one stands that it awaits."""
    for _ in range(_DEEPEST):
        frame: types.FrameType | None = getattr(awaitable, "cr_frame", None)
        if frame is None:
            return
        yield f"{frame.f_code.co_qualname} line {frame.f_lineno}"
        awaitable = getattr(awaitable, "cr_await", None)
