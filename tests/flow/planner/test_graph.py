"""Tests of `flow.planner.graph`."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, strategies as st

from flow.planner import graph


@st.composite
def acyclic(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Return what each of some steps requires, without circles, in a shuffled numbering."""
    size = draw(st.integers(1, 12))
    names = draw(st.permutations(range(size)))
    requires: list[tuple[int, ...]] = [()] * size
    for position in range(1, size):
        before = draw(st.sets(st.integers(0, position - 1), max_size=4))
        requires[names[position]] = tuple(names[each] for each in sorted(before))
    return requires


@st.composite
def tangled(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Return what each of some steps requires, circles welcome, but nothing requires itself."""
    size = draw(st.integers(1, 9))
    before = [draw(st.sets(st.integers(0, size - 1))) for _ in range(size)]
    return [tuple(sorted(each - {step})) for step, each in enumerate(before)]


def digraph(requires: list[tuple[int, ...]]) -> nx.DiGraph[int]:
    """Return the same graph for networkx."""
    made: nx.DiGraph[int] = nx.DiGraph()
    made.add_nodes_from(range(len(requires)))
    made.add_edges_from((first, step) for step, before in enumerate(requires) for first in before)
    return made


def order_of(requires: list[tuple[int, ...]]) -> list[int]:
    """Return the positions in topological order."""
    return [step for level in graph.generations(requires) for step in level]


@given(acyclic())
def test_a_level_is_the_longest_path(requires: list[tuple[int, ...]]) -> None:
    """A step's level is one more than the highest level of what it requires."""

    def longest(step: int) -> int:
        return 1 + max(map(longest, requires[step]), default=-1)

    levels = graph.generations(requires)
    assert [[longest(step) for step in level] for level in levels] == [
        [number] * len(level) for number, level in enumerate(levels)
    ]
    assert sorted(order_of(requires)) == list(range(len(requires)))


@given(tangled())
def test_circles_name_every_step_of_every_knot(requires: list[tuple[int, ...]]) -> None:
    """Every circle is real, and every step that is in one is named, the same each time."""
    found = graph.circles(requires, limit=100)
    for circle in found:
        assert all(
            then in requires[step]
            for step, then in zip(circle, [*circle[1:], circle[0]], strict=True)
        )
        assert len(set(circle)) == len(circle)
    knots = [each for each in nx.strongly_connected_components(digraph(requires)) if len(each) > 1]
    assert {step for circle in found for step in circle} == set().union(*knots)
    assert bool(found) == (graph.generations(requires) == [])
    assert found == graph.circles(requires, limit=100)


def test_circles_are_shortest_and_bounded() -> None:
    """A circle is a shortest one through its first step, and there are as many as asked for."""
    ring = [((step + 1) % 6,) for step in range(6)]
    assert graph.circles(ring, limit=20) == [[0, 1, 2, 3, 4, 5]]
    shortcut = [(1, 5), (2,), (3,), (4,), (5,), (0,)]
    assert graph.circles(shortcut, limit=20) == [[0, 5], [1, 2, 3, 4, 5, 0]]
    pairs = [(step ^ 1,) for step in range(100)]
    assert graph.circles(pairs, limit=20) == [[step, step + 1] for step in range(0, 40, 2)]


def test_a_complete_knot_is_cheap() -> None:
    """A knot with exponentially many circles is told in as few as name all its steps."""
    size = 60
    complete = [tuple(other for other in range(size) if other != step) for step in range(size)]
    found = graph.circles(complete, limit=20)
    assert len(found) == 20
    assert all(len(circle) == 2 for circle in found)


@pytest.mark.parametrize("bits", [1, 2, 4096])
@given(requires=acyclic(), data=st.data())
def test_ancestors_are_those_of_networkx(
    bits: int, requires: list[tuple[int, ...]], data: st.DataObject
) -> None:
    """The pairs that are no ancestor and descendant are found, in batches of any size."""
    positions = st.integers(0, len(requires) - 1)
    pairs = data.draw(st.lists(st.tuples(positions, positions), max_size=10))
    closed = nx.transitive_closure_dag(digraph(requires))
    expected = sorted(pair for pair in pairs if not closed.has_edge(*pair))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_BITS", bits)
        assert graph.not_ancestors(requires, order_of(requires), pairs) == expected


@pytest.mark.parametrize("bits", [1, 3, 4096])
@given(requires=acyclic())
def test_the_reduction_is_that_of_networkx(bits: int, requires: list[tuple[int, ...]]) -> None:
    """The same edges remain as in the transitive reduction of networkx."""
    expected = sorted(nx.transitive_reduction(digraph(requires)).edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_BITS", bits)
        assert graph.reduced(requires, order_of(requires)) == expected
