"""A pulse: signs of life of a long attempt, given by its worker whatever the handler does."""

from collections.abc import Callable
from typing import Final

from flow.ports import Clock, Timer
from flow.runtime.protocol import StepRequest

__all__ = ["Pulse"]

BEATS: Final = 3
"""So many heartbeats are given in the time that the step calls its heartbeat."""


class Pulse:
    """The heartbeats of one attempt: those of its handler, and those in between.

    Args:
        clock: The time.
        request: The request of the attempt.
        send: Sends a heartbeat with a body. It must not wait.
    """

    def __init__(
        self, clock: Clock, request: StepRequest, send: Callable[[StepRequest, bytes], None]
    ) -> None:
        """Begin silent."""
        self._clock = clock
        self._request = request
        self._send = send
        self._body = b"null"
        self._timer: Timer | None = None

    def tell(self, request: StepRequest, body: bytes) -> None:
        """Pass a heartbeat of the handler on, and say the same from now on.

        Args:
            request: The request of the attempt.
            body: The progress (JSON).
        """
        self._body = body
        self._send(request, body)

    def start(self) -> None:
        """Give signs of life until `stop`, if the step is a long one."""
        beat_ms = self._request.heartbeat_ms
        if beat_ms is not None:
            when = self._clock.monotonic() + beat_ms / 1000 / BEATS
            self._timer = self._clock.call_at(when, self._beat)

    def stop(self) -> None:
        """Give no more signs of life."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._send(self._request, self._body)
        self.start()
