"""An ordered list of workflows that want attention: deeper ones first, then older ones.

The order follows from the tree, so that an execution that was loaded goes on like one that
stayed in memory. Deeper ones come first because they have begun already: what they send out next
matters more than beginning another sub-workflow beside them.
"""

from heapq import heappop, heappush

from flow.programs.scope import Scope

__all__ = ["Agenda"]


class Agenda(list[tuple[tuple[int, int], Scope]]):
    """Scopes in order, each at most once. Those that were closed meanwhile are left out.

    It is a heap of scopes with their ranks, closed ones included; empty, there is nothing to take.

    Args:
        bit: The bit of `Scope.listed` that says whether a scope is on the list: one for each list.
    """

    # Not a list beside it: that would be one more object for the garbage collector.
    __slots__ = ("_bit",)

    def __init__(self, bit: int = 1) -> None:
        """Begin with nothing."""
        super().__init__()
        self._bit = bit

    def add(self, scope: Scope) -> None:
        """Put a scope on the list.

        Args:
            scope: The scope; nothing happens if it is on the list already.
        """
        if not scope.listed & self._bit:
            scope.listed |= self._bit
            heappush(self, (scope.rank, scope))

    def take(self) -> Scope | None:
        """Take the first scope off the list, or return None if there is none left."""
        while self:
            scope = heappop(self)[1]
            scope.listed ^= self._bit
            if not scope.closed:
                return scope
        return None
