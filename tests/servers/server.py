"""What servers of all kinds have in common: they can be stopped, killed, paused and watched."""

import signal
from abc import ABC, abstractmethod

from tests.servers.daemon import Daemon, ServerFailed

__all__ = ["Server"]


class Server(ABC):
    """A server of one's own, which keeps its ports and its data until it is closed.

    Args:
        daemon: Its process.
        end: The signal that asks it to end in order.
    """

    def __init__(self, daemon: Daemon, end: signal.Signals) -> None:
        self._daemon = daemon
        self._end = end

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self._daemon.runs

    @property
    def pid(self) -> int:
        """The id of its first process."""
        return self._daemon.pid

    @property
    def log(self) -> str:
        """The end of its log."""
        return self._daemon.printed

    @abstractmethod
    async def start(self) -> None:
        """Start it on its ports with the data it has, and wait until it answers.

        Raises:
            ServerFailed: It ended, or did not answer in time.
        """

    @abstractmethod
    def wipe(self) -> None:
        """Delete everything that it knew, while it does not run."""

    async def stop(self) -> None:
        """Ask it to end, and wait for that.

        Raises:
            ServerFailed: It did not end in time.
        """
        if self.runs:
            self._daemon.signal(self._end, everyone=False)
            if not await self._daemon.ended():
                raise ServerFailed(f"it did not stop:\n{self.log}")

    async def kill(self) -> None:
        """End it with SIGKILL, in the middle of whatever it does."""
        await self._daemon.kill()

    async def restart(self) -> None:
        """Stop it, then start it again with its data."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Stop it with SIGSTOP: its connections stay open, but nobody is there."""
        self._daemon.signal(signal.SIGSTOP, everyone=True)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._daemon.signal(signal.SIGCONT, everyone=True)

    @abstractmethod
    def close(self) -> None:
        """End it at once, and remove all that it leaves behind."""
