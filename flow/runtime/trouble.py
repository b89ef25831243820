"""Trouble: what is wrong with a peer, and since when; for health, and one line in the log."""

import logging
from dataclasses import dataclass
from typing import Final

from flow.errors import FlowError
from flow.ports import Clock

__all__ = ["STORE", "Trouble", "TroubleNote", "TroubleTexts"]


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


@dataclass(frozen=True, slots=True)
class TroubleTexts:
    """How trouble is told.

    Args:
        logger: The name of who tells it.
        over: What is said when it is over.
        patience_s: Seconds that it may last before anything is said.
    """

    logger: str
    over: str
    patience_s: float = 0.0


STORE: Final = TroubleTexts("flow.store", "the store can be used again")


class Trouble:
    """Remembers whether the last call of a peer went well, and logs when that changes.

    Args:
        clock: The time.
        texts: How it is told.
    """

    def __init__(self, clock: Clock, texts: TroubleTexts = STORE) -> None:
        """Begin without trouble."""
        self._clock = clock
        self._texts = texts
        self._log = logging.getLogger(texts.logger)
        self._error: FlowError | None = None
        self._since = 0.0
        self._failures = 0
        self._is_told = False

    def note(self, error: FlowError | None, since: float | None = None) -> None:
        """Take note of how a call went.

        Args:
            error: What went wrong, or None if it went well.
            since: From when on nothing went well, if that is earlier than now.
        """
        if error is None:
            if self._is_told:
                self._log.warning("%s, after %.1f s", self._texts.over, self._for_s)
            self._error, self._failures, self._is_told = None, 0, False
            return
        if self._error is None:
            self._since = self._clock.monotonic() if since is None else since
        self._error = error
        self._failures += 1
        if not self._is_told and self._for_s >= self._texts.patience_s:
            # What follows is the same trouble, and is not told again.
            self._is_told = True
            self._log.warning("%s", error)

    @property
    def present(self) -> TroubleNote:
        """What is wrong at the moment, and has lasted long enough to be told."""
        if self._error is None or not self._is_told:
            return TroubleNote()
        return TroubleNote(str(self._error), self._for_s, self._failures)

    @property
    def _for_s(self) -> float:
        return self._clock.monotonic() - self._since
