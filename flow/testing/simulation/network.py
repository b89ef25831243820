"""The network between one process and one server."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from flow.testing.simulation.faults import NetworkFaults
from flow.testing.simulation.loop import SimulatedLoop
from flow.testing.simulation.processes import OUTSIDE, SimulatedProcess

__all__ = ["HEARTBEAT_S", "Link", "Silence", "Stream"]

HEARTBEAT_S: Final = 10.0
"""Seconds of silence after which either side of a connection gives the other one up, about."""


class Link:
    """The way from a process to a server and back. Each direction may be cut by itself.

    What is sent by itself is lost if it is on its way when a direction is cut, or is sent into
    it. Nobody is told. What belongs to a `Stream` waits there instead.

    Args:
        loop: The loop.
        process: The process.
        faults: How long messages take.
        seed: What the delays follow from.

    Attributes:
        loop: As given.
        process: As given.
        faults: As given. It may be replaced at any time.
        is_open_there: Whether messages reach the server.
        is_open_back: Whether messages of the server reach the process.
    """

    def __init__(
        self, loop: SimulatedLoop, process: SimulatedProcess, faults: NetworkFaults, seed: str
    ) -> None:
        """Begin with both directions open."""
        self.loop = loop
        self.process = process
        self.faults = faults
        self.is_open_there = True
        self.is_open_back = True
        self._random = random.Random(seed)  # noqa: S311 - it has to repeat, not to be secret
        self._stalled: dict[_Lane, None] = {}

    @property
    def is_open(self) -> bool:
        """Whether both directions are open."""
        return self.is_open_there and self.is_open_back

    def cut(self, *, there: bool = True, back: bool = True) -> None:
        """Let nothing through any more.

        Args:
            there: Whether the direction to the server is cut.
            back: Whether the direction from the server is cut.
        """
        self.is_open_there = self.is_open_there and not there
        self.is_open_back = self.is_open_back and not back

    def heal(self) -> None:
        """Let everything through again. What waits in streams goes on."""
        self.is_open_there = self.is_open_back = True
        stalled, self._stalled = list(self._stalled), {}
        for lane in stalled:
            lane.go_on()

    def happens(self, probability: float) -> bool:
        """Return whether something happens this time.

        Args:
            probability: How often it does, from 0 to 1.
        """
        return probability > 0 and self._random.random() < probability

    def upto(self, longest: float) -> float:
        """Return a random number of seconds.

        Args:
            longest: At most so many.
        """
        return self._random.random() * longest

    def delay_s(self) -> float:
        """Return how long the next message takes."""
        faults = self.faults
        longest = faults.slow_s if self.happens(faults.slow) else faults.delay_s
        return self.upto(longest)

    def send(self, arrive: Callable[..., object], *args: Any) -> None:
        """Have something happen at the server, unless it gets lost on the way.

        It happens whatever becomes of the process meanwhile.

        Args:
            arrive: Called at the server, in the outside world.
            args: What it is called with.
        """

        def reach() -> None:
            if self.is_open_there:
                arrive(*args)

        self.loop.call_later(self.delay_s(), reach, context=OUTSIDE.copy())

    def answer(self, arrive: Callable[..., object], *args: Any, extra_s: float = 0.0) -> None:
        """Have something happen in the process, unless it gets lost on the way.

        While the process is paused it waits, and once it is dead it never happens.

        Args:
            arrive: Called in the process.
            args: What it is called with.
            extra_s: Seconds that it takes longer than usual.
        """
        context = self.process.context

        def reach() -> None:
            if self.is_open_back:
                self.loop.call_soon(arrive, *args, context=context)

        self.loop.call_later(self.delay_s() + extra_s, reach, context=OUTSIDE.copy())

    @property
    def is_gone(self) -> bool:
        """Whether the process does nothing any more: it is dead, or the simulation is over."""
        return self.process.is_dead or self.loop.is_burying

    def stall(self, lane: "_Lane") -> None:
        """Have a lane go on as soon as everything gets through again.

        Args:
            lane: One direction of a stream.
        """
        self._stalled[lane] = None


class _Lane:
    """One direction of a stream: what is put in first arrives first.

    Args:
        link: The way.
        is_back: Whether it leads to the process, and not to the server.
    """

    __slots__ = ("_due", "_is_back", "_link", "_stalled", "_waiting")

    def __init__(self, link: Link, *, is_back: bool) -> None:
        self._link = link
        self._is_back = is_back
        self._due = 0.0
        self._stalled = 0
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def put(self, arrive: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Send something after all that was sent before."""
        self._waiting.append((arrive, args))
        self._set_out()

    def go_on(self) -> None:
        """Send on what had to wait."""
        stalled, self._stalled = self._stalled, 0
        for _ in range(stalled):
            self._set_out()

    def drop(self) -> None:
        """Lose what is on its way."""
        self._waiting.clear()
        self._stalled = 0

    def _set_out(self) -> None:
        # The event loop keeps no order among what is due. So what a timer brings is not a certain
        # message but the next one.
        loop = self._link.loop
        self._due = max(self._due, loop.time() + self._link.delay_s())
        loop.call_at(self._due, self._reach, context=OUTSIDE.copy())

    def _reach(self) -> None:
        link = self._link
        if not (link.is_open_back if self._is_back else link.is_open_there):
            self._stalled += 1
            link.stall(self)
        elif self._is_back:
            link.loop.call_soon(self._land, context=link.process.context)
        else:
            self._land()

    def _land(self) -> None:
        if self._waiting:
            arrive, args = self._waiting.popleft()
            arrive(*args)


class Stream:
    """A conversation over a link, as TCP carries one: nothing is lost, nothing overtakes.

    What is sent into a direction that is cut waits until everything gets through again. Each side
    has to notice by itself that the other one is silent.

    Args:
        link: The way.
    """

    def __init__(self, link: Link) -> None:
        """Begin with nothing on its way."""
        self._there = _Lane(link, is_back=False)
        self._back = _Lane(link, is_back=True)

    def send(self, arrive: Callable[..., object], *args: Any) -> None:
        """Have something happen at the server. See `Link.send`.

        Args:
            arrive: Called at the server, in the outside world.
            args: What it is called with.
        """
        self._there.put(arrive, args)

    def answer(self, arrive: Callable[..., object], *args: Any) -> None:
        """Have something happen in the process. See `Link.answer`.

        Args:
            arrive: Called in the process.
            args: What it is called with.
        """
        self._back.put(arrive, args)

    def drop(self) -> None:
        """Lose what is on its way in either direction."""
        self._there.drop()
        self._back.drop()


class Silence:
    """Notices that the other side of a connection says nothing, not even by its heartbeats.

    It looks every now and then, and gives up if it was silent both times.

    Args:
        link: The way to the other side.
        context: Where this side is.
        is_silent: Whether nothing comes from the other side at the moment.
        give_up: Called once, when it was silent for too long.
    """

    def __init__(
        self,
        link: Link,
        context: Context,
        is_silent: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        """Begin without listening."""
        self._loop = link.loop
        self._context = context
        self._is_silent = is_silent
        self._give_up = give_up
        self._was_silent = False
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, first_s: float = HEARTBEAT_S) -> None:
        """Begin to listen.

        Args:
            first_s: Seconds until it looks for the first time.
        """
        self._timer = self._loop.call_later(first_s, self._look, context=self._context.copy())

    def stop(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        is_silent = self._is_silent()
        if is_silent and self._was_silent:
            self._give_up()
        else:
            self._was_silent = is_silent
            self.listen()
