"""An ordered list of workflows that want attention: deeper ones first, then older ones.

The order follows from the tree, so that an execution that was loaded goes on like one that
stayed in memory. Deeper ones come first because they have begun already: what they send out next
matters more than beginning another sub-workflow beside them.
"""

from heapq import heappop, heappush

from flow.programs.scope import Scope

__all__ = ["Agenda"]


class Agenda:
    """Scopes in order, each at most once. Those that were closed meanwhile are left out.

    Attributes:
        entries: What is on the list, closed ones included; empty if there is nothing to `pop`.
    """

    __slots__ = ("_added", "_members", "entries")

    def __init__(self) -> None:
        """Begin with nothing."""
        # The third number keeps a closed scope and its successor from being compared.
        self.entries: list[tuple[int, int, int, Scope]] = []
        self._added = 0
        self._members: set[Scope] = set()

    def add(self, scope: Scope) -> None:
        """Put a scope on the list.

        Args:
            scope: The scope; nothing happens if it is on the list already.
        """
        if scope not in self._members:
            self._members.add(scope)
            self._added += 1
            heappush(self.entries, (-scope.depth, scope.owner.created, self._added, scope))

    def pop(self) -> Scope | None:
        """Take the first scope off the list, or return None if there is none left."""
        while self.entries:
            scope = heappop(self.entries)[3]
            self._members.discard(scope)
            if not scope.closed:
                return scope
        return None
