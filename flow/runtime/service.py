"""What a worker serves, what it needs, and how much it takes on: values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flow.context import StepContext
from flow.errors import DuplicateDefinition, InvalidOption
from flow.names import check_endpoint
from flow.ports import Chance, Clock, Inbox, Threads
from flow.retry import RetryPolicy

__all__ = [
    "SUBSCRIBER_RETRY",
    "Endpoint",
    "Handler",
    "WorkerPorts",
    "WorkerSettings",
    "endpoints_of",
]


SUBSCRIBER_RETRY: Final = RetryPolicy(max_attempts=3)


class Handler(Protocol):
    """What `flow.handler.bind` makes: a function that is called with a body."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether what it returns has to be awaited."""
        ...

    @property
    def wants_context(self) -> bool:
        """Whether a parameter takes the context."""
        ...

    def arguments(
        self, body: bytes, headers: Mapping[str, str], context: StepContext | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to call the function with: by position, and by name."""
        ...

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of the response."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that can be asked for over the broker.

    Args:
        name: `service.method`.
        handler: What is called.
        exactly_once: Whether its effect and its reply are one transaction, in the inbox.
        topics: Patterns of topics. An endpoint with some is asked for by nobody: it gets what is
            published.
        retry: How often and how soon a message from a topic is tried again.
        timeout_ms: How long the handler of such a message may run.
        prepare: What is called in front of the handler, with the same input; or None.
        is_undo: Whether it takes back what another endpoint has done.
    """

    name: str
    handler: Handler
    exactly_once: bool = False
    topics: tuple[str, ...] = ()
    retry: RetryPolicy = SUBSCRIBER_RETRY
    timeout_ms: int = 60_000
    prepare: Handler | None = None
    is_undo: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that is not an endpoint."""
        check_endpoint(self.name)


def endpoints_of(endpoints: Iterable[Endpoint]) -> dict[str, Endpoint]:
    """Return endpoints by their names.

    Args:
        endpoints: The endpoints of all services of a worker.

    Raises:
        DuplicateDefinition: Some have the same name.
    """
    found: dict[str, Endpoint] = {}
    twice: list[str] = []
    for endpoint in endpoints:
        if endpoint.name in found:
            twice.append(endpoint.name)
        found[endpoint.name] = endpoint
    if twice:
        raise DuplicateDefinition("endpoints", twice, "the worker")
    return found


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    """What a worker needs of the machine.

    Args:
        clock: Time.
        chance: Ids and jitter.
        threads: Where synchronous handlers run. At least as many as `concurrency`.
        inbox: Where effects and replies are one transaction, or None if there is none.
    """

    clock: Clock
    chance: Chance
    threads: Threads
    inbox: Inbox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How much a worker takes on, and how long it waits and remembers.

    Args:
        concurrency: Attempts that run at the same time, and requests that are received ahead
            from each service's queue.
        drain_s: Seconds that running handlers have to end once the worker is to stop.
        answered_items: Replies that are kept, to be sent again when asked for again.
        answered_bytes: Bytes of these replies.
        cancelled_items: Cancellations that are remembered.
        cancelled_for_s: Seconds that a cancellation is remembered for.
        unroutable_s: Seconds after which nobody is expected any more at a queue that does not
            exist. The reply is kept for whoever asks again.
        loop_lag_s: Seconds that a handler may block the event loop before a warning.
        turn_patience_s: Seconds that a request waits for its turn while long attempts have all of
            them. Then it goes back, for another worker.
    """

    concurrency: int = 100
    drain_s: float = 30.0
    answered_items: int = 10_000
    answered_bytes: int = 64 * 1024 * 1024
    cancelled_items: int = 100_000
    cancelled_for_s: float = 3600.0
    unroutable_s: float = 30.0
    loop_lag_s: float = 1.0
    turn_patience_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a worker that could not take on anything."""
        if self.concurrency < 1:
            rule = "at least 1 attempt has to be able to run"
            raise InvalidOption("the worker", "concurrency", str(self.concurrency), rule)
