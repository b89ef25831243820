"""An exchange: which queues a message goes to.

Theory of operation
-------------------
Finding the queues of a key may take a walk over all patterns, but keys repeat. So what was found
is kept in `routes`, which a publisher looks into first, and which is emptied when a binding
changes. It is bounded, because users choose keys.

A pattern is matched word by word and never as a regular expression, so that no pattern of a user
takes more than (words of the pattern × words of the key) steps.
"""

from collections.abc import Sequence
from typing import Final

from brokers.memory.queues import MemoryQueue
from flow.ports import Exchange

__all__ = ["Router", "matches", "words_of"]

ROUTES_MAX: Final = 10_000
"""Keys whose queues are remembered, for each exchange."""


def words_of(key: str) -> tuple[str, ...]:
    """Return the words of a routing key or pattern. An empty key has none."""
    return tuple(key.split(".")) if key else ()


def matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Return whether a pattern covers a key.

    Args:
        pattern: Its words, of which `*` covers one word and `#` any number of them.
        words: The words of the key.
    """
    at = word = 0
    # Where to go on after the last `#`, should its shortest match not lead to the end.
    retry_at = retry_word = -1
    while word < len(words):
        if at < len(pattern) and pattern[at] == "#":
            at += 1
            retry_at, retry_word = at, word
        elif at < len(pattern) and pattern[at] in ("*", words[word]):
            at += 1
            word += 1
        elif retry_at >= 0:
            retry_word += 1
            at, word = retry_at, retry_word
        else:
            return False
    return all(part == "#" for part in pattern[at:])


class Router:
    """The state of one exchange.

    Args:
        declared: What was declared.
    """

    __slots__ = ("_bound", "_patterns", "declared", "routes")

    def __init__(self, declared: Exchange) -> None:
        self.declared = declared
        self.routes: dict[str, tuple[MemoryQueue, ...]] = {}
        # Dictionaries as ordered sets: queues get a message in the order of their bindings.
        self._bound: dict[str, dict[MemoryQueue, None]] = {}
        self._patterns: dict[str, tuple[str, ...]] = {}

    def bind(self, key: str, queue: MemoryQueue) -> None:
        """Put messages with this key (or pattern, in a topic exchange) into *queue*."""
        self._bound.setdefault(key, {})[queue] = None
        words = words_of(key)
        if self.declared.kind == "topic" and ("*" in words or "#" in words):
            self._patterns[key] = words
        self.routes.clear()

    def unbind(self, queue: MemoryQueue) -> None:
        """Put nothing more into *queue*."""
        for key in [key for key, queues in self._bound.items() if queue in queues]:
            del self._bound[key][queue]
            if not self._bound[key]:
                del self._bound[key]
                self._patterns.pop(key, None)
        self.routes.clear()

    def find(self, key: str) -> tuple[MemoryQueue, ...]:
        """Return the queues that a message with *key* goes to, each once, and remember them."""
        if len(self.routes) >= ROUTES_MAX:
            self.routes.clear()
        found = self.routes[key] = tuple(self._search(key))
        return found

    def _search(self, key: str) -> dict[MemoryQueue, None]:
        if self.declared.kind == "fanout":
            return {queue: None for queues in self._bound.values() for queue in queues}
        # What is bound to a pattern does not get the messages whose key reads like it.
        found = {} if key in self._patterns else dict(self._bound.get(key, {}))
        words = words_of(key)
        for pattern, parts in self._patterns.items():
            if matches(parts, words):
                found.update(self._bound[pattern])
        return found
