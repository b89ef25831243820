"""What the runtime needs from a broker, a store, a clock and chance: the ports.

An adapter (`brokers/…`, `store/…`) is a class with these methods. It earns its place by passing
the suites in `tests/conformance`; nothing here is inherited. All values are frozen, so that an
adapter can keep them and the runtime can hand them to several places.

Times are integers in milliseconds since 1970 in UTC and end in `_ms`. Where a method waits on a
peer, the adapter bounds the wait and raises `BrokerUnavailable` or `StoreUnavailable`.
"""

from flow.ports.broker import (
    Binding,
    Broker,
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Envelope,
    Exchange,
    PartlyPublished,
    Publication,
    Queue,
    Settlement,
    Subscription,
    Topology,
)
from flow.ports.health import Finding, Level
from flow.ports.inbox import Inbox, InboxAttempt, SavedReply
from flow.ports.limits import check_publication
from flow.ports.store import (
    Store,
)
from flow.ports.system import (
    Chance,
    Clock,
    Threads,
    Timer,
)
from flow.ports.values import (
    Commit,
    CommitResult,
    DefinitionRecord,
    Due,
    ExecutionQuery,
    ExecutionSummary,
    ExecutionWrite,
    JournalRecord,
    Lease,
    Namespace,
    OutboxRow,
    Pruned,
    Renewal,
    StepRecord,
    StoredExecution,
    Tombstone,
)

__all__ = [
    "Binding",
    "Broker",
    "BrokerEvent",
    "BrokerHealth",
    "Chance",
    "Clock",
    "Commit",
    "CommitResult",
    "DefinitionRecord",
    "Delivery",
    "Due",
    "Envelope",
    "Exchange",
    "ExecutionQuery",
    "ExecutionSummary",
    "ExecutionWrite",
    "Finding",
    "Inbox",
    "InboxAttempt",
    "JournalRecord",
    "Lease",
    "Level",
    "Namespace",
    "OutboxRow",
    "PartlyPublished",
    "Pruned",
    "Publication",
    "Queue",
    "Renewal",
    "SavedReply",
    "Settlement",
    "StepRecord",
    "Store",
    "StoredExecution",
    "Subscription",
    "Threads",
    "Timer",
    "Tombstone",
    "Topology",
    "check_publication",
]
