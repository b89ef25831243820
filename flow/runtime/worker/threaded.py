"""A call in a thread: whoever awaits it may leave, and be told of its end all the same.

A thread cannot be cancelled. It goes on, and what it does counts; so whoever has to know what
became of it waits for its end, however long that takes.

Two sides may come first: the thread at the function's beginning, or the one that leaves; and again
at its end. To take the one item out of a list is atomic, and tells each side which it was.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from flow.ports import Threads

__all__ = ["End", "ThreadCall"]


class End(NamedTuple):
    """How a function has ended.

    Args:
        result: What it returned.
        error: What it raised, or None.
    """

    result: object = None
    error: BaseException | None = None


_NOT_YET: Final = End()


class ThreadCall:
    """One call of a function in a thread.

    Args:
        function: The function.
        on_loop: Has something called on the event loop, from any thread.
        on_begin: Is called on the event loop when the function begins.

    Attributes:
        has_begun: Whether the function has begun although nobody awaits it any more. Then it
            perhaps goes on.
    """

    __slots__ = (
        "_end",
        "_entry",
        "_exit",
        "_function",
        "_on_begin",
        "_on_loop",
        "_told",
        "has_begun",
    )

    def __init__(
        self,
        function: Callable[[], object],
        on_loop: Callable[[Callable[[], None]], None],
        on_begin: Callable[[], None],
    ) -> None:
        """Prepare the call."""
        self.has_begun = False
        self._function = function
        self._on_loop = on_loop
        self._on_begin = on_begin
        self._entry = [None]
        self._exit = [None]
        self._end = _NOT_YET
        self._told: Callable[[End], None] | None = None

    async def run(self, threads: Threads) -> object:
        """Call the function in a thread, and return what it returns.

        Args:
            threads: Where it runs.

        Raises:
            CancelledError: Whoever awaits it was cancelled, or the function raised it.
        """
        try:
            return await threads.run(self._call)
        except asyncio.CancelledError:
            # If it has not begun by now it never will.
            self.has_begun = not _is_first(self._entry)
            raise

    def when_ended(self, told: Callable[[End], None]) -> None:
        """Have somebody told of the end of a function that has begun and that nobody awaits.

        Args:
            told: Is called on the event loop, perhaps at once. Never if the loop is closed before.
        """
        self._told = told
        if not _is_first(self._exit):
            told(self._end)

    def _call(self) -> object:
        if not _is_first(self._entry):
            raise RuntimeError("nobody waits for it any more")
        self._on_loop(self._on_begin)
        try:
            result = self._function()
        except BaseException as error:
            self._leave(End(None, error))
            raise
        self._leave(End(result))
        return result

    def _leave(self, end: End) -> None:
        self._end = end
        if not _is_first(self._exit):
            self._on_loop(self._tell)

    def _tell(self) -> None:
        if self._told is not None:
            self._told(self._end)


def _is_first(marker: list[None]) -> bool:
    try:
        marker.pop()
    except IndexError:
        return False
    return True
