"""The ports of time, chance and threads."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Timer(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """Do not call it any more."""
        ...


class Clock(Protocol):
    """Time. Injected everywhere, so that tests can own it."""

    def now_ms(self) -> int:
        """Return the wall time in milliseconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow, from an arbitrary beginning."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* once `monotonic()` has reached *when*."""
        ...


class Chance(Protocol):
    """Ids and randomness. Injected everywhere, so that tests can own them."""

    def new_id(self) -> str:
        """Return an id that nobody else has: 32 hexadecimal digits, ordered by time."""
        ...

    def random(self) -> float:
        """Return a random number, 0 <= random < 1."""
        ...


class Threads(Protocol):
    """Where synchronous handlers run."""

    def run(self, function: Callable[[], _T]) -> Awaitable[_T]:
        """Run *function* in a worker thread with a copy of the context variables."""
        ...
