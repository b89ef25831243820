"""Health: what is well and what is not in one process, for health endpoints and people."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flow.ports import BrokerHealth
from flow.runtime.trouble import TroubleNote

__all__ = ["HostHealth", "OrchestratorHealth", "WorkerHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorHealth:
    """How the orchestrator of a process is.

    Args:
        owner: Whose leases they are.
        store: Where the store is, without secrets.
        trouble: What is wrong with the store.
        held: The partitions whose leases are held.
        opened: Those of them that were recovered and are decided about.
        partitions: How many there are in the namespace.
        members: The orchestrators of the namespace at the last renewal, this one included; empty
            with a store that only one process can have.
        is_sweeping: Whether everything is being sent again, after the broker had lost it.
        residents: Executions in memory.
        parked: Executions that cannot be loaded and need a person.
        unsettled: Commands that are on their way to the broker.
        inbox: Items that wait to be decided.
    """

    owner: str
    store: str
    trouble: TroubleNote = field(default_factory=TroubleNote)
    held: tuple[int, ...] = ()
    opened: tuple[int, ...] = ()
    partitions: int = 0
    members: tuple[str, ...] = ()
    is_sweeping: bool = False
    residents: int = 0
    parked: int = 0
    unsettled: int = 0
    inbox: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHealth:
    """How the worker of a process is.

    Args:
        is_open: Whether it receives requests.
        running: Attempts that run.
        waiting: Requests that wait for their turn.
    """

    is_open: bool
    running: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHealth:
    """How a process is at a moment.

    It is *live* while its parts run: whoever watches over processes should end and restart one
    that is not. It is *ready* while it can do its work. A broker or a store that is away makes a
    process unready and never dead, because it goes on by itself when they are back.

    Args:
        parts: Whether each of the parts runs that have to, by name.
        broker: How the connection to the broker is.
        broker_url: Where the broker is, without secrets.
        publishing: What is wrong with publishing, although there may be a connection.
        orchestrator: How its orchestrator is, or None if it has none.
        worker: How its worker is, or None if it has none.
    """

    parts: Mapping[str, bool] = field(default_factory=dict[str, bool])
    broker: BrokerHealth
    broker_url: str
    publishing: TroubleNote = field(default_factory=TroubleNote)
    orchestrator: OrchestratorHealth | None = None
    worker: WorkerHealth | None = None

    @property
    def is_live(self) -> bool:
        """Whether all parts run."""
        return all(self.parts.values())

    @property
    def is_ready(self) -> bool:
        """Whether it can do its work."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not ready."""
        reasons = [f"the {name} has ended" for name, runs in self.parts.items() if not runs]
        if not self.broker.is_connected:
            reasons.append(f"the broker {self.broker_url} is away: {self.broker.trouble}")
        elif self.broker.blocked:
            reasons.append(f"the broker {self.broker_url} takes no messages: {self.broker.blocked}")
        elif self.broker.trouble:
            reasons.append(f"the broker {self.broker_url}: {self.broker.trouble}")
        elif self.publishing.reason:
            since = _since(self.publishing)
            reasons.append(f"publishing has failed for {since}: {self.publishing.reason}")
        if self.orchestrator is not None:
            reasons += _of_orchestrator(self.orchestrator)
        if self.worker is not None and not self.worker.is_open:
            reasons.append("the worker does not receive requests")
        return tuple(reasons)


def _of_orchestrator(health: OrchestratorHealth) -> list[str]:
    trouble, waiting = health.trouble, len(health.held) - len(health.opened)
    reasons: list[str] = []
    if trouble.reason:
        reasons.append(f"the store has been away for {_since(trouble)}: {trouble.reason}")
    if waiting:
        reasons.append(f"{waiting} partitions are not recovered yet")
    return reasons


def _since(trouble: TroubleNote) -> str:
    return f"{trouble.for_s:.0f} s, {trouble.failures} failures"
