"""Replies that were sent a short while ago, for requests that come a second time."""

from collections import OrderedDict
from typing import Final

from flow.ports import Envelope

__all__ = ["Answered", "RequestKey", "key_of"]

RequestKey = tuple[str, str, str]
"""What makes two requests the same one."""

_OVERHEAD_BYTES: Final = 512
_Kept = Envelope | tuple[str, bytes, str, str, str]
"""A reply; of one without headers only what is before them, in a plain tuple: those are thousands,
and the garbage collector need not walk over them."""


def key_of(envelope: Envelope, endpoint: str) -> RequestKey | None:
    """Return what tells a request from others, or None if nothing does.

    Clients choose their correlation ids as they like; two that choose the same one still wait at
    different queues.

    Args:
        envelope: The request.
        endpoint: What it asks for.
    """
    name = envelope.correlation_id or envelope.message_id
    return (name, envelope.reply_to, endpoint) if name else None


class Answered:
    """Keeps the replies that were used last, within two bounds.

    Args:
        items_max: How many replies it keeps.
        bytes_max: How many bytes they may have together.
    """

    def __init__(self, items_max: int, bytes_max: int) -> None:
        """Begin without a reply."""
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._bytes = 0
        # A dict would walk over all places of those that left, in search of the oldest.
        self._replies: OrderedDict[RequestKey, _Kept] = OrderedDict()

    def __len__(self) -> int:
        """Return how many replies are kept."""
        return len(self._replies)

    def put(self, key: RequestKey, reply: Envelope) -> None:
        """Keep a reply, and forget those that were not used for the longest time.

        Args:
            key: The request.
            reply: The reply. One that is larger than all may be together is not kept.
        """
        if key in self._replies:
            self._bytes -= _weigh(self._replies.pop(key))
        kept: _Kept = reply if reply.headers else reply[:5]
        size = _weigh(kept)
        if size > self._bytes_max:
            return
        self._replies[key] = kept
        self._bytes += size
        while len(self._replies) > self._items_max or self._bytes > self._bytes_max:
            _, oldest = self._replies.popitem(last=False)
            self._bytes -= _weigh(oldest)

    def get(self, key: RequestKey) -> Envelope | None:
        """Return the reply to a request, if it is kept.

        Args:
            key: The request.
        """
        reply = self._replies.get(key)
        if reply is None:
            return None
        self._replies.move_to_end(key)
        return reply if isinstance(reply, Envelope) else Envelope(*reply)


def _weigh(kept: _Kept) -> int:
    size = len(kept[1]) + _OVERHEAD_BYTES
    return size + len("".join(kept.headers.values())) if isinstance(kept, Envelope) else size
