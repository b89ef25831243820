"""The graph of a workflow's steps: sorting it, and finding what is wrong with it.

Steps are positions here: the number of a step in the order of its declaration. This is the only
module that knows networkx, and it imports it only when there is something to sort: that takes a
quarter of a second, which most commands of the command line need not spend.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

__all__ = ["circles", "generations", "not_ancestors", "reduced"]

Requires = Sequence[Sequence[int]]
"""For the step at each position: the positions of the steps that it waits for."""

Pair = tuple[int, int]
"""Two positions: an earlier step and a later one."""

# So many questions are answered in one walk over the graph, one bit for each. More bits mean
# fewer walks but longer integers: 4,096 bits of each of 100,000 steps are 50 MB.
_BITS: Final = 4_096


def generations(requires: Requires) -> list[list[int]]:
    """Return the steps level by level, where a level is the length of the longest path to it.

    It is Kahn's algorithm, as networkx has it.

    Args:
        requires: What each step waits for.

    Returns:
        The positions of each level, ascending; nothing at all if steps wait in a circle.
    """
    import networkx as nx

    graph = cast("nx.DiGraph[int]", _Waiting(requires))
    try:
        levels = nx.topological_generations(graph, backend="networkx")
        return [sorted(cast("list[int]", level)) for level in levels]
    except nx.NetworkXUnfeasible:
        return []


def circles(requires: Requires, limit: int) -> list[list[int]]:
    """Return circles of steps, so that every step of a knot is in one of them.

    All circles of a knot can be exponentially many. For each step that no circle has named yet,
    this looks for a shortest circle through it, inside its strongly connected component.

    Args:
        requires: What each step waits for.
        limit: How many circles are enough.

    Returns:
        Circles in which each step waits for the next, and the last for the first.
    """
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(requires)))
    graph.add_edges_from((first, step) for step, before in enumerate(requires) for first in before)
    components = nx.strongly_connected_components(graph)
    found: list[list[int]] = []
    for knot in sorted((group for group in components if len(group) > 1), key=min):
        named: set[int] = set()
        for start in sorted(knot):
            if len(found) == limit:
                return found
            if start not in named:
                found.append(_circle(requires, knot, start))
                named.update(found[-1])
    return found


def not_ancestors(requires: Requires, order: Sequence[int], pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs whose first step does not come before the second.

    Args:
        requires: What each step waits for.
        order: All positions in topological order.
        pairs: What to find out, each pair a possible ancestor and a step.
    """
    wrong: list[Pair] = []
    for asked in _batches(sorted(pairs)):
        bits = _bits(first for first, _ in asked)
        masks = _ancestors(requires, order, bits)
        wrong += [(first, step) for first, step in asked if not masks[step] & bits[first]]
    return wrong


def reduced(requires: Requires, order: Sequence[int]) -> list[Pair]:
    """Return the edges of the transitive reduction: those that no longer path replaces.

    An edge is not needed if its first step is an ancestor of another step that the second one
    waits for. The ancestors are sets of bits, because the general function of networkx walks the
    graph once for each step.

    Args:
        requires: What each step waits for.
        order: All positions in topological order.

    Returns:
        Pairs of a step and one that waits for it, ascending.
    """
    edges = sorted((first, step) for step, before in enumerate(requires) for first in before)
    kept: list[Pair] = []
    for asked in _batches(edges):
        bits = _bits(first for first, _ in asked)
        masks = _ancestors(requires, order, bits)
        longer = {step: _union(masks, requires[step]) for step in {step for _, step in asked}}
        kept += [(first, step) for first, step in asked if not longer[step] & bits[first]]
    return kept


class _Waiting:
    """What networkx asks a graph for when it sorts, answered from lists.

    A `DiGraph` of 100,000 steps has a few hundred thousand dictionaries, which take five times as
    long to build as the steps take to sort.

    Args:
        requires: What each step waits for.
    """

    def __init__(self, requires: Requires) -> None:
        self._requires = requires
        self._dependents: dict[int, list[int]] = {}
        for step, before in enumerate(requires):
            for first in before:
                self._dependents.setdefault(first, []).append(step)

    def __contains__(self, step: int) -> bool:
        return 0 <= step < len(self._requires)

    def is_directed(self) -> bool:
        return True

    def is_multigraph(self) -> bool:
        return False

    def in_degree(self) -> Iterator[Pair]:
        """Go through the steps, each with the number of those that it waits for."""
        return enumerate(map(len, self._requires))

    def neighbors(self, step: int) -> Sequence[int]:
        """Return the steps that wait for *step*."""
        return self._dependents.get(step, ())


def _circle(requires: Requires, knot: Collection[int], start: int) -> list[int]:
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while start not in came_from:
        step = waiting.popleft()
        for required in requires[step]:
            if required in knot and required not in came_from:
                came_from[required] = step
                waiting.append(required)
    circle = [start]
    while came_from[circle[-1]] != start:
        circle.append(came_from[circle[-1]])
    # It was followed back from the end.
    return [start, *reversed(circle[1:])]


def _batches(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    for begin in range(0, len(pairs), _BITS):
        yield pairs[begin : begin + _BITS]


def _bits(positions: Iterable[int]) -> dict[int, int]:
    return {position: 1 << bit for bit, position in enumerate(dict.fromkeys(positions))}


def _ancestors(requires: Requires, order: Sequence[int], bits: Mapping[int, int]) -> list[int]:
    masks = [0] * len(requires)
    for step in order:
        mask = 0
        for first in requires[step]:
            mask |= masks[first] | bits.get(first, 0)
        masks[step] = mask
    return masks


def _union(masks: Sequence[int], steps: Iterable[int]) -> int:
    union = 0
    for step in steps:
        union |= masks[step]
    return union
