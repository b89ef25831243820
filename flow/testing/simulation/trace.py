"""What happened in a simulation, in order, and a hash by which two runs are compared."""

import hashlib
from collections import deque
from typing import Final, NamedTuple

__all__ = ["Trace", "TraceLine"]

KEPT: Final = 200_000


class TraceLine(NamedTuple):
    """One thing that happened."""

    at_s: float
    """When, in virtual seconds since the simulation began."""
    process: str
    """Where: the name of the process, or an empty string for the outside world."""
    what: str
    """Which kind of thing, such as `publish` or `commit`."""
    detail: str
    """The rest, for people."""

    def __str__(self) -> str:
        """Return the line as it is printed."""
        return f"{self.at_s:12.6f}  {self.process or '-':<16} {self.what:<20} {self.detail}"


class Trace:
    """The lines of one run. Only the last ones are kept; the hash is of all of them.

    Args:
        kept: How many lines are kept.

    Attributes:
        count: How many lines there were.
    """

    def __init__(self, kept: int = KEPT) -> None:
        """Begin empty."""
        self.count = 0
        self._lines: deque[TraceLine] = deque(maxlen=kept)
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, at_s: float, process: str, what: str, detail: str = "") -> None:
        """Add a line.

        Args:
            at_s: When.
            process: Where.
            what: Which kind of thing.
            detail: The rest. It must not hold addresses of objects or anything else that
                differs from run to run.
        """
        self.count += 1
        self._lines.append(TraceLine(at_s, process, what, detail))
        self._hash.update(f"{at_s!r}|{process}|{what}|{detail}\n".encode())

    @property
    def lines(self) -> list[TraceLine]:
        """The last lines, oldest first."""
        return list(self._lines)

    @property
    def hash(self) -> str:
        """The hash of all lines so far, as 32 hexadecimal digits."""
        return self._hash.hexdigest()
