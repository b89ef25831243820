"""What a simulated process has of a machine: a clock that may be wrong, ids, jitter, threads."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Final, TypeVar

from flow.ports import Timer

__all__ = ["SimulatedChance", "SimulatedClock", "SimulatedThreads"]

T = TypeVar("T")

START_MS: Final = 1_700_000_000_000
"""When simulated time begins: in November 2023."""
_TICK_S: Final = 0.000_001


class SimulatedClock:
    """A machine's clock on the time of a simulated loop; satisfies `flow.ports.Clock`.

    Args:
        loop: The loop.
        began_s: What the monotonic time is when the simulation begins. Machines differ in it.

    Attributes:
        skew_ms: By how many milliseconds the wall time is wrong. It may be set at any time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, began_s: float = 0.0) -> None:
        """Begin with the right wall time."""
        self.skew_ms = 0
        self._loop = loop
        self._began_s = began_s

    def now_ms(self) -> int:
        """Return the wall time that the machine believes in, in milliseconds since 1970."""
        return START_MS + int(self._loop.time() * 1000) + self.skew_ms

    def monotonic(self) -> float:
        """Return seconds that only grow, whatever the wall time does."""
        return self._began_s + self._loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* once `monotonic()` has reached *when*.

        Args:
            when: Seconds, on the scale of `monotonic`.
            callback: What to call.
        """
        # Numbers that were added and subtracted are not quite what they were; never ring early.
        return self._loop.call_at(when - self._began_s + _TICK_S, callback)


class SimulatedChance:
    """Ids and random numbers that follow from a seed; satisfies `flow.ports.Chance`.

    Args:
        seed: Where the sequence begins. Two processes need two seeds.
    """

    def __init__(self, seed: str) -> None:
        """Begin the sequence."""
        self._random = random.Random(seed)  # noqa: S311 - it has to repeat, not to be secret

    def new_id(self) -> str:
        """Return 32 hexadecimal digits."""
        return f"{self._random.getrandbits(128):032x}"

    def random(self) -> float:
        """Return a random number, 0 <= random < 1."""
        return self._random.random()


class SimulatedThreads:
    """Runs functions in the loop's thread, and lets time pass; `flow.ports.Threads`.

    As with real threads, whoever waits for a function may be cancelled, and the function cannot
    be: once it has begun it goes on, and what it returns is dropped. Unlike there, all of it is
    done at once, at its end.

    Args:
        chance: How long a function seems to take.
        longest_s: How many virtual seconds that is at most.
    """

    def __init__(self, chance: SimulatedChance, longest_s: float = 0.1) -> None:
        """Keep the chance."""
        self._chance = chance
        self._longest_s = longest_s

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function.

        Args:
            function: What to run.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()
        seconds = self._chance.random() * self._longest_s
        loop.call_later(seconds, _run, contextvars.copy_context(), function, ended)
        return await ended


def _run(context: contextvars.Context, function: Callable[[], T], ended: asyncio.Future[T]) -> None:
    try:
        result = context.run(function)
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        if not ended.done():
            ended.set_exception(error)
    else:
        if not ended.done():
            ended.set_result(result)
