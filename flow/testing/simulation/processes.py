"""Processes that live in one simulation: each can be paused, go on, and be killed.

A simulated process is nothing but a context variable. Whatever a coroutine starts inherits it:
tasks, timers and callbacks. The event loop looks at it before it runs anything, which is exactly
what an operating system does: of a process that is paused nothing runs until it goes on, and of
one that was killed nothing runs any more, no `finally` and no handler of a cancellation either.
"""

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Final, Protocol

__all__ = ["OUTSIDE", "PROCESS", "Scheduled", "SimulatedProcess", "present_process"]


class Scheduled(Protocol):
    """A callback of an event loop that waits for its turn."""

    def cancelled(self) -> bool:
        """Return whether it will never be called."""
        ...


class SimulatedProcess:
    """Everything that runs in the context of one process.

    Args:
        name: What traces call it.
        wake: Called with what was held up, when the process goes on.

    Attributes:
        name: As given.
        is_running: Whether its code runs. Only the methods below change it.
        is_dead: Whether its code never runs again.
    """

    def __init__(self, name: str, wake: Callable[[list[Scheduled]], None]) -> None:
        """Begin running, with nothing to run."""
        self.name = name
        # Plain attributes: the event loop looks at them before every callback.
        self.is_running = True
        self.is_dead = False
        self._wake = wake
        self._held: list[Scheduled] = []
        self._context = copy_context()
        self._context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        """Return its name and its state."""
        state = "running" if self.is_running else "dead" if self.is_dead else "paused"
        return f"<process {self.name}, {state}>"

    @property
    def context(self) -> Context:
        """A context of its own for something that is started in the process."""
        return self._context.copy()

    def pause(self) -> None:
        """Stop everything, as SIGSTOP does. Nobody else notices but by its silence."""
        self.is_running = False

    def resume(self) -> None:
        """Go on where it stopped; what became due meanwhile is due at once."""
        if not self.is_running and not self.is_dead:
            self.is_running = True
            self._wake(self.release())

    def kill(self) -> None:
        """End everything at once, as SIGKILL does: the callback that runs is its last one."""
        self.is_running = False
        self.is_dead = True

    def hold(self, handle: Scheduled) -> None:
        """Keep a callback whose turn it is until the process goes on.

        Of a dead process it is kept too: if it were freed, the garbage collector would run the
        `finally` blocks of its coroutines.

        Args:
            handle: The callback.
        """
        self._held.append(handle)

    def release(self) -> list[Scheduled]:
        """Return what was held up, in the order in which it came, and hold it no longer."""
        held, self._held = self._held, []
        return held


PROCESS: Final[ContextVar[SimulatedProcess | None]] = ContextVar(
    "flow.testing.process", default=None
)
"""The process that code runs in; None for the outside world, which is never paused or killed."""

OUTSIDE: Final = Context()
"""The context of the outside world: of networks and of servers. Run things in copies of it."""


def present_process() -> SimulatedProcess | None:
    """Return the process that the calling code runs in, or None in the outside world."""
    return PROCESS.get()
