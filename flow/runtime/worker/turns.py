"""Turns: so many attempts run at a time; who comes first is served first."""

import asyncio
from collections import deque

__all__ = ["Turns"]


class Turns:
    """Gives out turns. A free one costs a call, and no future.

    Args:
        count: How many there are.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, count: int) -> None:
        """Begin with all of them free."""
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a turn if one is free, which it only is if nobody waits; return whether."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Wait until it is one's turn, and take it."""
        if self.take():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It came at the same moment, for somebody who does not wait any more.
                self.release()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a turn back: to whoever waits the longest, if anybody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
