"""Mutants of the worker."""

from collections.abc import Sequence

from flow.runtime.worker.cancellations import Cancellations
from flow.runtime.worker.performer import Performer
from tests.simulation.mutants.patching import Change, edit

__all__ = ["MUTANTS"]


def cancellations_forgotten() -> Sequence[Change]:
    """A worker does not remember what was cancelled, and runs what comes later."""
    known = "until = self._until.get(request.correlation)"
    return [edit(Cancellations.cover, (known, f"return False\n        {known}"))]


def permit_not_awaited() -> Sequence[Change]:
    """A worker runs a step that runs at most once as soon as it gets it, whoever has the permit."""
    asked = "await self.permits.ask(request)"
    return [edit(Performer._begin, (asked, f"bool({asked}) or True"))]


MUTANTS = (cancellations_forgotten, permit_not_awaited)
