"""Dead letters and faults of our own: there are none."""

from __future__ import annotations

from flow.ports import Publication, Settlement
from tests.simulation.invariants.base import Evidence, Invariant

__all__ = ["NoDeadLetters", "NoFaultsOfOurOwn"]


class NoDeadLetters(Invariant):
    """Nothing goes to the dead letters: every message of a run is one that somebody can use."""

    name = "no dead letters"

    def published(self, publication: Publication, settlement: Settlement) -> None:
        """Look at what is published to the dead."""
        if not publication.exchange.endswith(".dead"):
            return
        envelope = publication.envelope
        reasons = {
            name: value
            for name, value in envelope.headers.items()
            if name.startswith(("flow-error", "flow-reason", "flow-death"))
        }
        about = f"{envelope.type!r} {envelope.correlation_id} ({publication.routing_key})"
        self.broken(f"{about} went to the dead: {reasons}")


class NoFaultsOfOurOwn(Invariant):
    """No process ends with an error, and no task fails without anybody taking note."""

    name = "no faults of our own"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no error."""
        super().__init__(evidence)
        self._seen = 0

    def now(self) -> None:
        """Look at what has failed since the last time."""
        errors = self.evidence.world.simulation.loop.errors
        for context in errors[self._seen :]:
            self._seen += 1
            error = context.get("exception")
            self.broken(f"{context.get('message')}: {error!r}")

    def end(self) -> None:
        """Look at what has failed."""
        self.now()
