"""Errors of peers, data and set-up."""

from collections.abc import Sequence
from dataclasses import dataclass

from flow.errors.base import FlowError, listed


class UnavailableError(FlowError):
    """A peer is away or too slow. Asking again may help."""


@dataclass(eq=False)
class BrokerUnavailable(UnavailableError):
    """The broker cannot be reached."""

    url: str
    reason: str

    def __str__(self) -> str:
        """Name the broker (its URL without secrets) and the reason."""
        return f"the broker {self.url} cannot be reached: {self.reason}"


@dataclass(eq=False)
class StoreUnavailable(UnavailableError):
    """The store cannot be reached, read or written."""

    url: str
    reason: str

    def __str__(self) -> str:
        """Name the store (its URL without secrets) and the reason."""
        return f"the store {self.url} cannot be used: {self.reason}"


@dataclass(eq=False)
class StoreLocked(UnavailableError):
    """Another process owns the store's file and cannot be joined."""

    path: str
    owner: str
    hint: str

    def __str__(self) -> str:
        """Name the file, its owner and what to do."""
        return f"the store {self.path} is in use by {self.owner}; {self.hint}"


@dataclass(eq=False)
class Overloaded(UnavailableError):
    """A bounded queue is full."""

    what: str
    limit: int

    def __str__(self) -> str:
        """Name the queue and its bound."""
        return f"{self.what} is full (at most {self.limit:,}); try again later"


@dataclass(eq=False)
class DeadlineExceeded(UnavailableError):
    """No answer came in time. What was asked for may still happen."""

    what: str
    seconds: float
    hint: str = ""

    def __str__(self) -> str:
        """Name what was waited for and for how long."""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.what}: no answer within {self.seconds:g} s{hint}"


class DataError(FlowError):
    """Stored or received data cannot be used."""


@dataclass(eq=False)
class MappingFailed(DataError):
    """An input or output mapping looks for a field that is not there."""

    owner: str
    reference: str
    reason: str

    def __str__(self) -> str:
        """Name the mapping's owner, the reference and what is missing."""
        return f"{self.owner}: cannot take {self.reference}: {self.reason}"


@dataclass(eq=False)
class StateConflict(DataError):
    """Two steps of which neither depends on the other have shared different values."""

    key: str
    steps: Sequence[str]

    def __str__(self) -> str:
        """Name the key and the steps."""
        return (
            f"{listed(self.steps)} share different values as {self.key!r}, and neither depends on "
            "the other: let one require the other, or use two keys"
        )


@dataclass(eq=False)
class CorruptRecord(DataError):
    """A stored record or a received message cannot be decoded."""

    what: str
    reason: str

    def __str__(self) -> str:
        """Name the record and what is wrong with it."""
        return f"{self.what} cannot be decoded: {self.reason}"


@dataclass(eq=False)
class UnsupportedVersion(DataError):
    """Stored data comes from a newer version than this program understands."""

    what: str
    found: int
    supported: int

    def __str__(self) -> str:
        """Name the data, its version and the newest that is understood."""
        return (
            f"{self.what} has version {self.found}; this program understands versions up to "
            f"{self.supported}. Use a newer flowmq"
        )


@dataclass(eq=False)
class ConfigurationError(FlowError):
    """A URL, a file name or a set-up is wrong."""

    what: str
    reason: str

    def __str__(self) -> str:
        """Name the setting and what would be right."""
        return f"{self.what}: {self.reason}"


class SimulationError(FlowError):
    """A simulation cannot go on."""


@dataclass(eq=False)
class SimulationFailed(SimulationError):
    """A task or a callback has failed, and nobody took note of it."""

    what: str

    def __str__(self) -> str:
        """Name what has failed."""
        return f"in the simulation something failed unnoticed: {self.what}"


@dataclass(eq=False)
class SimulationRefused(SimulationError):
    """Something was tried in or with a simulation that could not be repeated."""

    what: str
    reason: str

    def __str__(self) -> str:
        """Name what was tried and why it is refused."""
        return f"a simulation refuses {self.what}: {self.reason}"


@dataclass(eq=False)
class SimulationStuck(SimulationError):
    """A simulation waits for what never happens, or does not end."""

    what: str
    waiting: Sequence[str]

    def __str__(self) -> str:
        """Tell why, and name the tasks that wait."""
        waiting = "".join(f"\n  {each}" for each in self.waiting) or " nobody"
        return f"the simulation is stuck: {self.what}; waiting:{waiting}"
