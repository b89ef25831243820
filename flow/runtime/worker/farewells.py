"""Farewells: how attempts ended that were cancelled, told once they have ended.

Whoever wants to undo a step has to know whether it has run. A handler in a thread goes on although
its attempt was cancelled and has given up its turn; its end is told when it comes.
"""

from collections.abc import Callable
from functools import partial

from flow.runtime.protocol import StepReply
from flow.runtime.worker.attempts import Attempt

__all__ = ["Farewells"]


class Farewells:
    """Tells of attempts that were cancelled, and settles their requests.

    Args:
        reply: Publishes a reply, and settles the request of its attempt once it is confirmed.
    """

    def __init__(self, reply: Callable[[Attempt, StepReply], None]) -> None:
        """Begin with none that goes on."""
        self._reply = reply
        self._going_on: dict[object, Attempt] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """Return how many handlers go on."""
        return len(self._going_on)

    def __contains__(self, key: object) -> bool:
        """Return whether the handler of a request goes on.

        Args:
            key: What tells the request from others.
        """
        return key in self._going_on

    def part(self, attempt: Attempt) -> None:
        """Tell of an attempt, at once or later.

        Args:
            attempt: It was cancelled, and nobody awaits it any more.
        """
        self._going_on[attempt.key or attempt] = attempt
        if not attempt.part(partial(self._told, attempt)):
            # A thread may take any time, and nobody wants the request to come again.
            attempt.hand.ack()

    def close(self) -> None:
        """Tell nothing any more: the worker has ended."""
        self._is_closed = True

    def _told(self, attempt: Attempt, reply: StepReply | None) -> None:
        self._going_on.pop(attempt.key or attempt, None)
        if reply is None:
            attempt.hand.ack()
        elif not self._is_closed:
            self._reply(attempt, reply)
