"""What goes wrong between a process and its broker or store, and how often."""

import math
from dataclasses import dataclass, field, fields

from flow.errors import ConfigurationError

__all__ = ["BrokerFaults", "Faults", "NetworkFaults", "StoreFaults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFaults:
    """How long messages between a process and a server take.

    Args:
        delay_s: Virtual seconds that a message usually takes at most, one way.
        slow: How often it takes far longer, from 0 to 1.
        slow_s: Virtual seconds that it then takes at most.
    """

    delay_s: float = 0.005
    slow: float = 0.0
    slow_s: float = 0.0

    def __post_init__(self) -> None:
        """Look at the numbers."""
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFaults:
    """How often something goes wrong with a message; each from 0 to 1.

    Args:
        lost: The connection breaks while a call is on its way to the broker: it is not done, or,
            of several messages, only the first ones are published. Publishers have a connection
            of their own: what goes over the other one meanwhile, such as an acknowledgement, is
            done.
        unconfirmed: The broker has done it, and the connection breaks before it says so.
        refused: The broker says that it does not take a message, as it does when a queue is full.
        duplicated: A message is published twice.
        reordered: The messages of one call are published in another order.
        redelivered: A delivery gets lost and comes again: the broker counts that as a return.
        delayed: A delivery takes far longer than those after it.
        delayed_s: Virtual seconds that it then takes at most.
        cancelled: The broker ends a consumer. It is consumed again, after a while.
    """

    lost: float = 0.0
    unconfirmed: float = 0.0
    refused: float = 0.0
    duplicated: float = 0.0
    reordered: float = 0.0
    redelivered: float = 0.0
    delayed: float = 0.0
    delayed_s: float = 0.0
    cancelled: float = 0.0

    def __post_init__(self) -> None:
        """Look at the numbers."""
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFaults:
    """How often something goes wrong with a call of the store; each from 0 to 1.

    A store is opened or it is not: of these, only `failed` and `lost` happen to that.

    Args:
        failed: The call fails before anything was done.
        unknown: It is done, and the answer is an error: commit-unknown, if it is a commit.
        late: The caller is told that it has failed, and it is done afterwards: mostly within
            seconds, a minute later at most.
        lost: The connection breaks: every call that is under way fails, done or not.
    """

    failed: float = 0.0
    unknown: float = 0.0
    late: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        """Look at the numbers."""
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Everything that may go wrong by itself. By default nothing does.

    Args:
        network: Of the network.
        broker: Of the broker.
        store: Of the store.
    """

    network: NetworkFaults = field(default_factory=NetworkFaults)
    broker: BrokerFaults = field(default_factory=BrokerFaults)
    store: StoreFaults = field(default_factory=StoreFaults)


def _check(faults: NetworkFaults | BrokerFaults | StoreFaults) -> None:
    for each in fields(faults):
        value = getattr(faults, each.name)
        is_time = each.name.endswith("_s")
        if not 0 <= value <= (math.inf if is_time else 1):
            what = "it must not be negative" if is_time else "it is how often: from 0 to 1"
            raise ConfigurationError(f"{type(faults).__name__}({each.name}={value!r})", what)
