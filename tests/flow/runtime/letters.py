"""A message that arrived, and what was done with it; several of them in a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

from flow.ports import Envelope, Publication
from flow.runtime.bundles import Bundler
from tests.flow.runtime.clocks import CountingChance


@dataclass
class Letter:
    """A delivery that notes how it is settled.

    Args:
        envelope: The message.
        routing_key: The key that it was published with.
        redelivered: Whether it may have been delivered before.
        settled: What it was told, in a word each.
    """

    envelope: Envelope
    routing_key: str = ""
    redelivered: bool = False
    settled: list[str] = field(default_factory=list[str])

    def ack(self) -> None:
        """Note it."""
        self.settled.append("ack")

    def requeue(self) -> None:
        """Note it."""
        self.settled.append("requeue")

    def reject(self) -> None:
        """Note it."""
        self.settled.append("reject")


def bundler() -> Bundler:
    """Return what puts all that it can into bundles."""
    return Bundler(_reads_bundles, CountingChance().new_id)


def bundle_of(*envelopes: Envelope) -> Envelope:
    """Return messages as one."""
    packed = bundler().pack([Publication("x", "y", each) for each in envelopes])
    assert packed is not None
    (publication,) = packed.publications
    return publication.envelope


def _reads_bundles(_exchange: str, _key: str) -> bool:
    return True
