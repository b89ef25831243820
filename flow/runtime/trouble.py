"""Trouble: what is wrong with the store, and since when; for health, and one line in the log."""

import logging
from dataclasses import dataclass

from flow.errors import FlowError
from flow.ports import Clock

__all__ = ["Trouble", "TroubleNote"]

_log = logging.getLogger("flow.store")


@dataclass(frozen=True, slots=True)
class TroubleNote:
    """What is wrong at a moment.

    Args:
        reason: What went wrong last; an empty string if all is well.
        for_s: For how many seconds nothing has gone well.
        failures: How often it went wrong in this time.
    """

    reason: str = ""
    for_s: float = 0.0
    failures: int = 0


class Trouble:
    """Remembers whether the last call of the store went well, and logs when that changes.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin without trouble."""
        self._clock = clock
        self._error: FlowError | None = None
        self._since = 0.0
        self._failures = 0

    def note(self, error: FlowError | None) -> None:
        """Take note of how a call went.

        Args:
            error: What went wrong, or None if it went well.
        """
        if error is None:
            if self._error is not None:
                _log.warning("the store can be used again, after %.1f s", self._for_s)
            self._failures = 0
        elif self._error is None:
            # What follows is the same trouble, and is not told again.
            _log.warning("%s", error)
            self._since = self._clock.monotonic()
        self._error = error
        self._failures += error is not None

    @property
    def present(self) -> TroubleNote:
        """What is wrong at the moment."""
        if self._error is None:
            return TroubleNote()
        return TroubleNote(str(self._error), self._for_s, self._failures)

    @property
    def _for_s(self) -> float:
        return self._clock.monotonic() - self._since
