"""Cancellations: which attempts are not wanted any more, on the wire and in a worker's memory."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from flow.errors import CorruptRecord
from flow.ports import Clock, Envelope
from flow.runtime.protocol import CANCEL, StepRequest, parse_correlation

__all__ = ["Cancellation", "Cancellations"]

_EXECUTION: Final = "flow-execution"
_EPOCH: Final = "flow-epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The body-less message `step.cancel`: about one attempt, or about all of a run epoch.

    Args:
        correlation: The correlation id of the attempt; then the rest does not matter.
        execution: The execution.
        epoch: Attempts of this run epoch and of all before it are cancelled.
    """

    correlation: str = ""
    execution: str = ""
    epoch: int = 0

    def envelope(self, message_id: str) -> Envelope:
        """Return the cancellation as it travels.

        Args:
            message_id: Fresh for this publication.
        """
        headers: dict[str, str] = {}
        if self.execution:
            headers[_EXECUTION] = self.execution
        if not self.correlation:
            headers[_EPOCH] = str(self.epoch)
        return Envelope(CANCEL, b"null", message_id, self.correlation, "", headers)

    @classmethod
    def read(cls, envelope: Envelope) -> Self:
        """Return the cancellation that arrived.

        Args:
            envelope: What arrived.

        Raises:
            CorruptRecord: It does not say what is cancelled.
        """
        headers = envelope.headers
        execution = headers.get(_EXECUTION, "")
        if envelope.type != CANCEL:
            raise CorruptRecord("the cancellation", f"its type is {envelope.type[:100]!r}")
        if envelope.correlation_id:
            return cls(correlation=envelope.correlation_id, execution=execution)
        try:
            epoch = int(headers[_EPOCH])
        except (KeyError, ValueError) as error:
            raise CorruptRecord("the cancellation", f"no {_EPOCH}: {error}") from error
        if not execution:
            raise CorruptRecord("the cancellation", "it names no attempt and no execution")
        return cls(execution=execution, epoch=epoch)

    def covers(self, request: StepRequest) -> bool:
        """Return whether a request is not wanted any more.

        Args:
            request: The request.
        """
        if self.correlation:
            return request.correlation == self.correlation
        return request.execution == self.execution and _is_up_to(request, self.epoch)


class Cancellations:
    """Remembers cancellations for a while, so that requests that come later are dropped.

    Args:
        clock: The time.
        items_max: How many of each kind are remembered; the oldest are forgotten first.
        for_s: Seconds that each is remembered for.
    """

    def __init__(self, clock: Clock, items_max: int, for_s: float) -> None:
        """Begin without a memory."""
        self._clock = clock
        self._items_max = items_max
        self._for_s = for_s
        # A dict would walk over all places of those that left, in search of the oldest.
        self._until: OrderedDict[str, float] = OrderedDict()
        self._epochs: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many cancellations are remembered."""
        return len(self._until) + len(self._epochs)

    def remember(self, cancellation: Cancellation) -> None:
        """Drop what the cancellation covers from now on.

        Args:
            cancellation: What arrived.
        """
        now = self._clock.monotonic()
        until = now + self._for_s
        if cancellation.correlation:
            self._until.pop(cancellation.correlation, None)
            self._until[cancellation.correlation] = until
        else:
            _, known = self._epochs.pop(cancellation.execution, (until, cancellation.epoch))
            self._epochs[cancellation.execution] = until, max(known, cancellation.epoch)
        self._forget(now)

    def cover(self, request: StepRequest) -> bool:
        """Return whether a request was cancelled.

        Args:
            request: The request.
        """
        if not self._until and not self._epochs:
            return False
        until = self._until.get(request.correlation)
        if until is not None and self._clock.monotonic() < until:
            return True
        if not self._epochs or not request.execution:
            return False
        found = self._epochs.get(request.execution)
        return (
            found is not None
            and self._clock.monotonic() < found[0]
            and _is_up_to(request, found[1])
        )

    def _forget(self, now: float) -> None:
        # Both are in the order of their ends, because whatever is renewed goes to the end.
        for key in _stale(((key, until) for key, until in self._until.items()), now):
            del self._until[key]
        for key in _stale(((key, until) for key, (until, _) in self._epochs.items()), now):
            del self._epochs[key]
        while len(self._until) > self._items_max:
            self._until.popitem(last=False)
        while len(self._epochs) > self._items_max:
            self._epochs.popitem(last=False)


def _stale(ends: Iterable[tuple[str, float]], now: float) -> list[str]:
    found: list[str] = []
    for key, until in ends:
        if until > now:
            break
        found.append(key)
    return found


def _is_up_to(request: StepRequest, epoch: int) -> bool:
    try:
        return parse_correlation(request.correlation)[1].epoch <= epoch
    except CorruptRecord:
        # Nobody but an orchestrator numbers run epochs, and this is not from one.
        return False
