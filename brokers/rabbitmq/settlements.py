"""What came in on a channel and is not settled yet, and how the broker is told of it. Pure.

Theory of operation
-------------------
The broker numbers deliveries, each number being higher than the one before. Whoever receives them
settles them in any order. What was settled since the broker was last told is told in as few frames
as possible: one acknowledgement for everything below the lowest delivery that is not settled, and
one for each that is above it. Never does an acknowledgement of many reach past a delivery that is
not settled, for that would lose it. What is given back or rejected is told first, so that it is no
longer the broker's to count when an acknowledgement of many passes it.
"""

from collections import deque

from brokers.rabbitmq.frames import BadFrame, ack_frame, reject_frame

__all__ = ["Settlements"]


class Settlements:
    """The deliveries of a channel.

    Args:
        channel: Its number.
    """

    __slots__ = ("_acked", "_channel", "_last", "_order", "_rejected", "_unsettled")

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._last = 0
        self._unsettled: set[int] = set()
        self._order: deque[int] = deque()
        self._acked: list[int] = []
        self._rejected: list[bytes] = []

    def __len__(self) -> int:
        """Return how many deliveries are not settled."""
        return len(self._unsettled)

    def add(self, tag: int) -> None:
        """Take note of a delivery.

        Args:
            tag: Its number.

        Raises:
            BadFrame: It is not higher than the one before.
        """
        if tag <= self._last:
            raise BadFrame("the server numbers deliveries out of order")
        self._last = tag
        self._unsettled.add(tag)
        self._order.append(tag)

    def ack(self, tag: int) -> bool:
        """Take note that a delivery is done with; return whether it was not settled before.

        Args:
            tag: Its number.
        """
        if tag not in self._unsettled:
            return False
        self._unsettled.remove(tag)
        self._acked.append(tag)
        return True

    def reject(self, tag: int, *, requeue: bool) -> bool:
        """Take note that a delivery goes back; return whether it was not settled before.

        Args:
            tag: Its number.
            requeue: Whether it is to be delivered again.
        """
        if tag not in self._unsettled:
            return False
        self._unsettled.remove(tag)
        self._rejected.append(reject_frame(self._channel, tag, requeue=requeue))
        return True

    def frames(self) -> list[bytes]:
        """Return what the broker has to be told since this was last asked for."""
        frames, self._rejected = self._rejected, []
        acked, self._acked = self._acked, []
        unsettled, order = self._unsettled, self._order
        while order and order[0] not in unsettled:
            order.popleft()
        if len(acked) > 1:
            covered = [tag for tag in acked if tag < order[0]] if order else acked
            if len(covered) > 1:
                frames.append(ack_frame(self._channel, max(covered), multiple=True))
                acked = [tag for tag in acked if tag > order[0]] if order else []
        frames += [ack_frame(self._channel, tag, multiple=False) for tag in acked]
        return frames

    def clear(self) -> None:
        """Forget everything: nothing that is settled from now on is told."""
        self._unsettled.clear()
        self._order.clear()
        self._acked.clear()
        self._rejected.clear()
