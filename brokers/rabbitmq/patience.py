"""How long a connection may confirm nothing before it is given up.

Theory of operation
-------------------
A connection may be up, with signs of life from both sides, and of no use: nothing that is
published on it is confirmed, call after call. Another connection is worth a try then. If all that
is published goes to a queue that never confirms, another connection is of no use either, so the
time doubles with each one, until something is confirmed.
"""

from typing import Final

__all__ = ["Patience"]

FIRST_S: Final = 20.0
"""Seconds that the first connection gets: two calls that ran into their deadline."""
LONGEST_S: Final = 640.0
"""Seconds that any connection gets at most."""


class Patience:
    """Outlives connections, and is told of their confirms."""

    def __init__(self) -> None:
        """Begin with the shortest time."""
        self._limit_s = FIRST_S
        self._silent_since: float | None = None

    def begin(self, now: float) -> None:
        """Take note that a call begins, which ought to be confirmed.

        Args:
            now: The time, in seconds.
        """
        if self._silent_since is None:
            self._silent_since = now

    def pardon(self) -> None:
        """Take note that the broker could not confirm anything so far, and count from anew."""
        self._silent_since = None

    def end(self) -> None:
        """Take note that something was confirmed."""
        self._silent_since = None
        self._limit_s = FIRST_S

    def is_over(self, now: float) -> bool:
        """Return whether a call that was not confirmed was one too many.

        If so, the next connection gets twice as long.

        Args:
            now: The time, in seconds.
        """
        since = self._silent_since
        if since is None or now - since < self._limit_s:
            return False
        self._silent_since = None
        self._limit_s = min(self._limit_s * 2, LONGEST_S)
        return True
