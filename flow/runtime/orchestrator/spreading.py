"""Spreading: how many partitions each orchestrator should have. Pure."""

from collections.abc import Sequence

__all__ = ["fair_share", "search_order", "surplus"]


def fair_share(owner: str, members: Sequence[str], partitions: int) -> int:
    """Return how many partitions an orchestrator should have.

    All who know the same members come to the same numbers, and these add up to all partitions.
    Nothing is said about which ones: whoever joins takes what the others give back, so that no
    partition moves without need.

    Args:
        owner: The orchestrator.
        members: Everybody who is there, in any order; the orchestrator counts as one of them.
        partitions: How many partitions there are.
    """
    everybody = sorted({owner, *members})
    share, rest = divmod(partitions, len(everybody))
    return share + (everybody.index(owner) < rest)


def surplus(held: Sequence[int], share: int) -> tuple[int, ...]:
    """Return the partitions to give back: the ones that were taken last.

    Args:
        held: The partitions that are held, in the order in which they were taken.
        share: How many it should be.
    """
    return tuple(held[share:])


def search_order(owner: str, members: Sequence[str], partitions: int) -> list[int]:
    """Return all partitions, each member's in another order, so that few want the same.

    Args:
        owner: The orchestrator.
        members: Everybody who is there.
        partitions: How many partitions there are.
    """
    everybody = sorted({owner, *members})
    first = everybody.index(owner) * partitions // len(everybody)
    return [(first + each) % partitions for each in range(partitions)]
