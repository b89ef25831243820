"""Tests of `orchestrator.spreading`: how many partitions each orchestrator should have."""

from __future__ import annotations

from hypothesis import given, strategies as st

from flow.runtime.orchestrator.spreading import fair_share, search_order, surplus

NAMES = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=12, unique=True)


@given(members=NAMES, partitions=st.integers(0, 200))
def test_shares_are_fair_and_add_up(members: list[str], partitions: int) -> None:
    """All shares together are all partitions, and no two of them differ by more than one."""
    shares = [fair_share(owner, members, partitions) for owner in members]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


@given(members=NAMES, partitions=st.integers(0, 200), data=st.data())
def test_the_order_of_members_does_not_matter(
    members: list[str], partitions: int, data: st.DataObject
) -> None:
    """Everybody comes to the same shares, in whichever order it has heard of the others."""
    other = data.draw(st.permutations(members))
    owner = members[0]
    assert fair_share(owner, members, partitions) == fair_share(owner, other, partitions)


def test_whoever_asks_is_one_of_them() -> None:
    """An orchestrator that no renewal has named yet counts itself."""
    assert fair_share("a", [], 8) == 8
    assert fair_share("b", ["a"], 8) == 4


def test_the_last_ones_are_given_back_first() -> None:
    """What was taken last goes, and whoever has no more than its share gives nothing."""
    assert surplus([5, 1, 3], 2) == (3,)
    assert surplus([5, 1], 2) == ()


@given(members=NAMES, partitions=st.integers(1, 200))
def test_everybody_looks_for_all(members: list[str], partitions: int) -> None:
    """Each member's order has all partitions once, and begins where its share would."""
    for owner in members:
        order = search_order(owner, members, partitions)
        assert sorted(order) == list(range(partitions))
    if len(members) <= partitions:
        first = {search_order(owner, members, partitions)[0] for owner in members}
        assert len(first) == len(members)
